import type { INestApplication } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import request from 'supertest';
import { DataSource } from 'typeorm';
import { AppModule, configure } from '../src/app.module.js';

describe('The guest book, on a real database', () => {
  let app: INestApplication;

  beforeAll(async () => {
    const module = await Test.createTestingModule({ imports: [AppModule] }).compile();
    app = configure(module.createNestApplication());
    await app.init();
    await app.get(DataSource).runMigrations();
  });

  afterAll(() => app.close());

  it('is healthy', async () => {
    const { body } = await request(app.getHttpServer()).get('/health').expect(200);
    expect(body.details.database.status).toBe('up');
  });

  it('keeps the guests', async () => {
    await request(app.getHttpServer()).post('/guests').send({ name: 'Ada' }).expect(201);
    const { body } = await request(app.getHttpServer()).get('/guests').expect(200);
    expect(body.map(({ name }) => name)).toContain('Ada');
  });

  it('refuses a guest without a name', () =>
    request(app.getHttpServer()).post('/guests').send({ name: '' }).expect(400));
});
