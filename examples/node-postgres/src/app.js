import { connect } from "./database.js";

const client = await connect();
const { rows } = await client.query("SELECT name FROM product");
console.log(`the products: ${rows.map(({ name }) => name).join(", ")}`);
await client.end();
