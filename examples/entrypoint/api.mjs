import { createServer } from 'node:http';
import { setTimeout } from 'node:timers/promises';

let ready = false;
await setTimeout(1000);
createServer((_, response) => response.writeHead(ready ? 200 : 503).end('here I am\n')).listen(8080);
await setTimeout(2000);
ready = true;
