"""Networks measured: clean, attacked, doubted; every number in a record."""
