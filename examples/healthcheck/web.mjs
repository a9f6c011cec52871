// Not healthy for its first three seconds.
import { createServer } from 'node:http';

createServer((_, response) => response.writeHead(process.uptime() > 3 ? 200 : 503).end()).listen(3000);
