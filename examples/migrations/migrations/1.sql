CREATE TABLE migration (version INT PRIMARY KEY);
CREATE TABLE product (title VARCHAR(100));
INSERT INTO migration VALUES (1);
