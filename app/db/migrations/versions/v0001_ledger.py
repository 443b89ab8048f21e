"""The ledger: tenants, keys, buckets, reservations, usage."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "tenants",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("budget", sa.BigInteger),
        sa.Column("spent", sa.BigInteger, nullable=False),
        sa.Column("reserved", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("tenant", sa.String, sa.ForeignKey("tenants.id"), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
        sa.Column("prefix", sa.String, nullable=False),
        sa.Column("scopes", sa.String, nullable=False),
        sa.Column("rpm", sa.BigInteger, nullable=False),
        sa.Column("tpm", sa.BigInteger, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("expires", sa.Double),
        sa.Column("created", sa.Double, nullable=False),
    )
    op.create_table(
        "buckets",
        sa.Column("key_id", sa.String, primary_key=True),
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("level", sa.Double, nullable=False),
        sa.Column("updated", sa.Double, nullable=False),
    )
    op.create_table(
        "reservations",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("key_id", sa.String, nullable=False),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("cost", sa.BigInteger, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
    )
    op.create_index("reservations_by_tenant", "reservations", ["tenant", "expires"])
    _create_usage()


def _create_usage() -> None:
    op.create_table(
        "usage",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("key_id", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("tier", sa.String),
        sa.Column("pool", sa.String),
        sa.Column("region", sa.String),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("refused_by", sa.String),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost", sa.BigInteger, nullable=False),
        sa.Column("price_list", sa.String, nullable=False),
        sa.Column("ttft", sa.Double),
        sa.Column("latency", sa.Double, nullable=False),
        sa.Column("trail", sa.JSON, nullable=False),
    )
    op.create_index("usage_by_tenant", "usage", ["tenant", "created"])
    op.create_index("usage_by_time", "usage", ["created"])


def downgrade() -> None:
    """Drop the tables, with everything in them."""
    for table in ("usage", "reservations", "buckets", "keys", "tenants"):
        op.drop_table(table)
