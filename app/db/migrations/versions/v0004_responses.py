"""Kept responses."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "responses",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("responses_by_tenant", "responses", ["tenant", "created"])
    op.create_index("responses_by_expiry", "responses", ["expires"])


def downgrade() -> None:
    """Drop it, with everything in it."""
    op.drop_table("responses")
