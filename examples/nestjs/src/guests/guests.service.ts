import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import type { CreateGuest } from './create-guest.dto.js';
import { Guest } from './guest.entity.js';

@Injectable()
export class GuestsService {
  constructor(@InjectRepository(Guest) private readonly guests: Repository<Guest>) {}

  add({ name }: CreateGuest): Promise<Guest> {
    return this.guests.save({ name: name.trim() } as Guest);
  }

  /** All guests, the first one first. */
  all(): Promise<Guest[]> {
    return this.guests.find({ order: { id: 'ASC' } });
  }
}
