"""Files, batches and their lines."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the three tables."""
    _files()
    _batches()
    _lines()


def _text(name: str, *, key: bool = False, optional: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.String, primary_key=key, nullable=optional)


def _number(name: str, *, key: bool = False, optional: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger, primary_key=key, nullable=optional, autoincrement=False)


def _time(name: str, *, optional: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Double, nullable=optional)


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON, nullable=False)


def _files() -> None:
    names = ("tenant", "project", "filename", "purpose")
    op.create_table(
        "files",
        _text("id", key=True),
        *(_text(name) for name in names),
        _number("bytes"),
        _text("blob"),
        _time("created"),
        _time("expires", optional=True),
    )
    op.create_index("files_by_owner", "files", ["tenant", "project", "created"])
    op.create_index("files_by_expiry", "files", ["expires"])


def _batches() -> None:
    names = ("tenant", "project", "key_id", "endpoint", "input_file", "blob")
    op.create_table(
        "batches",
        _text("id", key=True),
        *(_text(name) for name in names),
        _json("meta"),
        _text("status"),
        _text("ending", optional=True),
        _time("created"),
        _time("expires"),
        _json("moments"),
        _json("errors"),
        _text("output_file", optional=True),
        _text("error_file", optional=True),
        _number("output_lives", optional=True),
        *(_number(name) for name in ("total", "completed", "failed")),
        _time("due"),
        _time("served"),
        _text("worker", optional=True),
        _time("lease", optional=True),
    )
    op.create_index("batches_by_owner", "batches", ["tenant", "project", "created"])
    op.create_index("batches_by_status", "batches", ["status", "created"])


def _lines() -> None:
    op.create_table(
        "batch_lines",
        _text("batch", key=True),
        _number("number", key=True),
        _text("custom_id"),
        _number("start"),
        _number("size"),
        _text("state"),
        _number("attempt"),
        _text("worker", optional=True),
        _time("lease", optional=True),
        _number("status_code", optional=True),
        _text("request_id", optional=True),
        sa.Column("response", sa.LargeBinary),
    )
    op.create_index("batch_lines_by_state", "batch_lines", ["batch", "state", "number"])
    op.create_index("batch_lines_by_lease", "batch_lines", ["state", "lease"])
