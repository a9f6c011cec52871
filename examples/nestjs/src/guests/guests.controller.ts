import { Body, Controller, Get, Inject, Post } from '@nestjs/common';
import { CreateGuest } from './create-guest.dto.js';
import type { Guest } from './guest.entity.js';
import { GuestsService } from './guests.service.js';

@Controller('guests')
export class GuestsController {
  constructor(@Inject(GuestsService) private readonly guests: GuestsService) {}

  @Post()
  add(@Body() guest: CreateGuest): Promise<Guest> {
    return this.guests.add(guest);
  }

  @Get()
  all(): Promise<Guest[]> {
    return this.guests.all();
  }
}
