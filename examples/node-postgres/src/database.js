import { readFileSync } from "node:fs";
import pg from "pg";

/** One connection, and no second try: `/wait` starts this when the database is there. */
export async function connect() {
  const password = readFileSync(process.env.DB_PASSWORD_FILE, "utf8").trimEnd();
  const client = new pg.Client({ password }); // the rest is from PGHOST, PGUSER and PGDATABASE
  await client.connect();
  return client;
}
