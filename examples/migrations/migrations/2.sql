ALTER TABLE product RENAME COLUMN title TO name;
INSERT INTO product VALUES ('lamp');
INSERT INTO migration VALUES (2);
