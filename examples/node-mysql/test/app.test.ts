import assert from "node:assert/strict";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";
import { createApp } from "../src/app.js";
import type { Entry, GuestBook } from "../src/guest-book.js";

class PaperGuestBook implements GuestBook {
  entries: Entry[] = [];
  isLost = false;

  async check(): Promise<void> {
    if (this.isLost) throw new Error("lost");
  }
  async add(entry: Entry): Promise<void> {
    this.entries.push(entry);
  }
  async list(): Promise<Entry[]> {
    return this.entries;
  }
}

const book = new PaperGuestBook();
const server = createApp(book);
let url: string;

before(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
after(() => server.close());

function sign(body: string): Promise<Response> {
  return fetch(`${url}/guests`, { method: "POST", body });
}

test("who signs is in the book", async () => {
  assert.equal((await sign('{"name":"Ada"}')).status, 201);
  assert.deepEqual(await (await fetch(`${url}/guests`)).json(), [{ name: "Ada" }]);
});

test("what is not a name is refused", async () => {
  for (const body of ["", "{", "{}", '{"name":""}', '{"name":7}']) {
    assert.equal((await sign(body)).status, 400, body);
  }
  assert.equal((await fetch(`${url}/nowhere`)).status, 404);
});

test("the service is healthy as long as its database is", async () => {
  assert.equal((await fetch(`${url}/healthcheck`)).status, 200);
  book.isLost = true;
  assert.equal((await fetch(`${url}/healthcheck`)).status, 503);
});
