import assert from 'node:assert/strict';
import test from 'node:test';
import { createConnection } from 'mysql2/promise';

test('the database takes what it is given', async () => {
  const { DB_HOST: host, DB_PORT: port, DB_PASSWORD: password } = process.env;
  const shop = await createConnection({ host, port: Number(port), user: 'root', password, database: 'shop' });
  await shop.query("CREATE TEMPORARY TABLE product SELECT 'lamp' AS name");
  const [products] = await shop.query('SELECT name FROM product');
  await shop.end();
  assert.deepEqual(products.map(({ name }) => name), ['lamp']);
});
