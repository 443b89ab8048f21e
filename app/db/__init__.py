"""One SQL schema on SQLite or PostgreSQL: engines, migrations, transactions, errors."""
