CREATE TABLE orders (number TEXT PRIMARY KEY, status TEXT NOT NULL, shipped TEXT);
INSERT INTO orders VALUES ('1001', 'S', '20261117'), ('1002', 'P', NULL);
