import { readFileSync } from "node:fs";
import { MySqlGuestBook } from "./guest-book.js";
import { createApp } from "./app.js";

function required(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

// One connection, and no second try: `/wait` starts this when the database is there.
const book = await MySqlGuestBook.open({
  host: required("DB_HOST"),
  user: required("DB_USER"),
  password: readFileSync(required("DB_PASSWORD_FILE"), "utf8").trimEnd(),
  database: required("DB_NAME"),
});

const server = createApp(book).listen(Number(process.env.PORT ?? 3000), () => {
  console.log(`listening on ${JSON.stringify(server.address())}`);
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    server.close(() => book.close());
    server.closeIdleConnections();
  });
}
