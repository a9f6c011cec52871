import { createServer, type IncomingMessage, type Server } from "node:http";
import type { GuestBook } from "./guest-book.js";

const MAX_BODY = 10_000;

async function body(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += chunk;
    if (text.length > MAX_BODY) throw new SyntaxError("too long");
  }
  return text;
}

/** `GET /healthcheck`, and `POST` and `GET /guests`. */
export function createApp(book: GuestBook): Server {
  return createServer(async (request, response) => {
    const reply = (status: number, value: unknown): void => {
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
    };
    try {
      switch (`${request.method} ${request.url}`) {
        case "GET /healthcheck":
          await book.check();
          return reply(200, { status: "ok" });
        case "GET /guests":
          return reply(200, await book.list());
        case "POST /guests": {
          const { name } = JSON.parse(await body(request));
          if (typeof name !== "string" || name.length < 1 || name.length > 100) {
            return reply(400, { error: "name: expected 1 to 100 characters" });
          }
          await book.add({ name });
          return reply(201, { name });
        }
        default:
          return reply(404, { error: "not found" });
      }
    } catch (error) {
      if (error instanceof SyntaxError) return reply(400, { error: "expected JSON" });
      console.error(error);
      reply(503, { error: "the database does not answer" });
    }
  });
}
