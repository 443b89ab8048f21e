"""The tables of the ledger, and money as the database holds it. Used by every module of this package.

Money is an integer of 1e-9 currency units (nano): exact in SQLite and PostgreSQL alike. Times are Unix seconds.
A change here needs a migration in `migrations/versions`; a test compares the two.
"""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, ForeignKey, Index, MetaData, String, Table

from app.rules.pricing import NANO

metadata = MetaData()

tenants = Table(
    "tenants",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("budget", BigInteger),  # nano; null: no budget
    Column("spent", BigInteger, nullable=False),  # nano, always sum(usage.cost)
    Column("reserved", BigInteger, nullable=False),  # nano, always sum(reservations.cost)
)

keys = Table(
    "keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", ForeignKey("tenants.id"), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),  # sha256 of the key, hex; the key itself is nowhere
    Column("prefix", String, nullable=False),
    Column("scopes", String, nullable=False),  # separated by spaces
    Column("rpm", BigInteger, nullable=False),  # 0: unlimited
    Column("tpm", BigInteger, nullable=False),  # 0: unlimited
    Column("disabled", Boolean, nullable=False),
    Column("expires", Double),
    Column("created", Double, nullable=False),
)

buckets = Table(
    "buckets",
    metadata,
    Column("key_id", String, primary_key=True),
    Column("kind", String, primary_key=True),  # requests | tokens
    Column("level", Double, nullable=False),
    Column("updated", Double, nullable=False),
)

reservations = Table(
    "reservations",
    metadata,
    Column("id", String, primary_key=True),
    Column("key_id", String, nullable=False),
    Column("tenant", String, nullable=False),
    Column("cost", BigInteger, nullable=False),  # nano
    Column("tokens", BigInteger, nullable=False),
    Column("expires", Double, nullable=False),
    Index("reservations_by_tenant", "tenant", "expires"),
)

usage = Table(
    "usage",
    metadata,
    Column("id", String, primary_key=True),
    Column("created", Double, nullable=False),
    Column("tenant", String, nullable=False),
    Column("key_id", String, nullable=False),
    Column("model", String, nullable=False),
    Column("tier", String),
    Column("pool", String),
    Column("region", String),
    Column("outcome", String, nullable=False),
    Column("refused_by", String),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cost", BigInteger, nullable=False),  # nano
    Column("price_list", String, nullable=False),
    Column("ttft", Double),
    Column("latency", Double, nullable=False),
    Column("trail", JSON, nullable=False),
    Index("usage_by_tenant", "tenant", "created"),
    Index("usage_by_time", "created"),
)


def to_nano(money: Decimal) -> int:
    """Return money as the database holds it, rounded half to even below 1e-9."""
    return int((money / NANO).to_integral_value())


def from_nano(nano: int) -> Decimal:
    """Return the database's money as a Decimal with nine places."""
    return Decimal(nano).scaleb(-9)
