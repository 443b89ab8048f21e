"""How a call's tokens were counted, and what was lost on its way."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Of the rows before, nothing was cut or estimated that is known of."""
    op.add_column("usage", sa.Column("lost", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("usage", sa.Column("estimated", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("usage", sa.Column("cut", sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Drop the columns."""
    for name in ("lost", "estimated", "cut"):
        op.drop_column("usage", name)
