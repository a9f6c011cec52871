import { NestFactory } from '@nestjs/core';
import { AppModule, configure } from './app.module.js';

const app = configure(await NestFactory.create(AppModule));
await app.listen(process.env.PORT ?? 3000);
