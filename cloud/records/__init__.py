"""SQL only: rows in, rows out. Every question about somebody's rows carries their user id."""
