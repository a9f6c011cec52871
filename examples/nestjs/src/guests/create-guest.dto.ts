import { IsString, Length } from 'class-validator';

export class CreateGuest {
  @IsString()
  @Length(1, 100)
  name: string;
}
