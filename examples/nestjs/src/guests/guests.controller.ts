import { Body, Controller, Get, Post } from '@nestjs/common';
import { CreateGuest } from './create-guest.dto.js';
import type { Guest } from './guest.entity.js';
import { GuestsService } from './guests.service.js';

@Controller('guests')
export class GuestsController {
  constructor(private readonly guests: GuestsService) {}

  @Post()
  add(@Body() guest: CreateGuest): Promise<Guest> {
    return this.guests.add(guest);
  }

  @Get()
  all(): Promise<Guest[]> {
    return this.guests.all();
  }
}
