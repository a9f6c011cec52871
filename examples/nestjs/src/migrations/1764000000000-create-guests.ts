import type { MigrationInterface, QueryRunner } from 'typeorm';

export class CreateGuests1764000000000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(
      'CREATE TABLE guests (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(100) NOT NULL)',
    );
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('DROP TABLE guests');
  }
}
