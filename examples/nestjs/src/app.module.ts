import { type INestApplication, Module, ValidationPipe } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { databaseOptions } from './database.js';
import { GuestsModule } from './guests/guests.module.js';
import { HealthModule } from './health/health.module.js';

@Module({
  imports: [
    TypeOrmModule.forRootAsync({
      // One attempt: /wait has seen the database ready, and a start too early has to be seen.
      useFactory: () => ({ ...databaseOptions(), retryAttempts: 0 }),
    }),
    GuestsModule,
    HealthModule,
  ],
})
export class AppModule {}

/** Also for the end-to-end tests. */
export function configure<T extends INestApplication>(app: T): T {
  app.useGlobalPipes(new ValidationPipe({ whitelist: true }));
  app.enableShutdownHooks();
  return app;
}
