import { DataSource } from 'typeorm';
import { databaseOptions } from './database.js';

/** For the migrations, which TypeORM's own command runs. */
export default new DataSource(databaseOptions());
