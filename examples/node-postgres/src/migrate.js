import { setTimeout } from "node:timers/promises";
import { connect } from "./database.js";

const MIGRATIONS = [
  "CREATE TABLE product (id int PRIMARY KEY, name text NOT NULL)",
  "INSERT INTO product VALUES (1, 'lamp')",
];

const client = await connect();
await client.query("CREATE TABLE migrations (version int PRIMARY KEY)");
for (const [index, statement] of MIGRATIONS.entries()) {
  await setTimeout(1000); // so that the log shows that they are waited for
  await client.query("BEGIN");
  await client.query(statement);
  await client.query("INSERT INTO migrations VALUES ($1)", [index + 1]);
  await client.query("COMMIT");
}
await client.end();
