"""Kept responses belong to a project, as files and batches do.

Whose an older one is stands in its call's usage row, which has the same number.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column and fill it."""
    op.add_column("responses", sa.Column("project", sa.String, nullable=False, server_default=""))
    op.execute(
        "UPDATE responses SET project = COALESCE((SELECT usage.project FROM usage "
        "WHERE usage.id = 'chatcmpl-' || substr(responses.id, 6) AND usage.tenant = responses.tenant), '')"
    )


def downgrade() -> None:
    """Drop it: responses are the tenant's again."""
    op.drop_column("responses", "project")
