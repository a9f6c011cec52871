import mysql, { type Connection, type ConnectionOptions, type RowDataPacket } from "mysql2/promise";

export interface Entry {
  name: string;
}

/** Where the guests sign. */
export interface GuestBook {
  /** Fails if the book cannot be reached. */
  check(): Promise<void>;
  add(entry: Entry): Promise<void>;
  /** All entries, the oldest first. */
  list(): Promise<Entry[]>;
}

export class MySqlGuestBook implements GuestBook {
  private constructor(private readonly connection: Connection) {}

  /** Connects once, and makes the table if there is none. */
  static async open(options: ConnectionOptions): Promise<MySqlGuestBook> {
    const connection = await mysql.createConnection(options);
    await connection.query(
      "CREATE TABLE IF NOT EXISTS guests (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(100) NOT NULL)",
    );
    return new MySqlGuestBook(connection);
  }

  async check(): Promise<void> {
    await this.connection.ping();
  }

  async add(entry: Entry): Promise<void> {
    await this.connection.execute("INSERT INTO guests (name) VALUES (?)", [entry.name]);
  }

  async list(): Promise<Entry[]> {
    const [rows] = await this.connection.query<(Entry & RowDataPacket)[]>(
      "SELECT name FROM guests ORDER BY id",
    );
    return rows.map(({ name }) => ({ name }));
  }

  async close(): Promise<void> {
    await this.connection.end();
  }
}
