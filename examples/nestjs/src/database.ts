import { readFileSync } from 'node:fs';
import type { DataSourceOptions } from 'typeorm';
import { Guest } from './guests/guest.entity.js';
import { CreateGuests1764000000000 } from './migrations/1764000000000-create-guests.js';

/** The database of this environment; the password is in a file, as secrets are mounted. */
export function databaseOptions(): DataSourceOptions {
  const { DB_HOST, DB_USER, DB_NAME, DB_PASSWORD_FILE } = process.env;
  return {
    type: 'mysql',
    host: DB_HOST ?? 'localhost',
    username: DB_USER,
    database: DB_NAME,
    password: DB_PASSWORD_FILE && readFileSync(DB_PASSWORD_FILE, 'utf8').trimEnd(),
    entities: [Guest],
    migrations: [CreateGuests1764000000000],
  };
}
