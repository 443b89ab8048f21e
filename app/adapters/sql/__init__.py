"""The ledger on SQL: tenants, keys, limits, reservations and usage, in SQLite or PostgreSQL."""

from app.adapters.sql.errors import LedgerError
from app.adapters.sql.ledger import SqlLedger

__all__ = ["LedgerError", "SqlLedger"]
