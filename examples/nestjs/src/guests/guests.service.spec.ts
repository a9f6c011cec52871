import { Test } from '@nestjs/testing';
import { getRepositoryToken } from '@nestjs/typeorm';
import { Guest } from './guest.entity.js';
import { GuestsService } from './guests.service.js';

describe('GuestsService', () => {
  it('saves a name without the blanks around it', async () => {
    const saved: Guest[] = [];
    const repository = { save: async (guest: Guest) => saved.push(guest) };
    const module = await Test.createTestingModule({
      providers: [GuestsService, { provide: getRepositoryToken(Guest), useValue: repository }],
    }).compile();
    await module.get(GuestsService).add({ name: ' Ada ' });
    expect(saved).toEqual([{ name: 'Ada' }]);
  });
});
