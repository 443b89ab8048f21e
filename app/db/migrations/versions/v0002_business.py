"""Projects, plans, accounts for every level, the audit chain, notices and webhooks, idempotency.

Reservations and buckets start anew: a gateway that is stopped for the step holds none.
"""

import time
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

REFUSED = "rows of this table are never changed"


def upgrade() -> None:
    """Alter what is there, create what is new, carry the money over."""
    _who()
    _money()
    _usage()
    _proof()
    _telling()
    op.create_table("settings", _text("name", key=True), _text("value"))
    now = time.time()
    op.execute(sa.text("INSERT INTO settings (name, value) VALUES ('audit.since', :now)").bindparams(now=str(now)))
    _immutable("usage", "UPDATE")
    _immutable("usage", "DELETE")
    _immutable("audit", "UPDATE")


def _text(name: str, *, key: bool = False, optional: bool = False, length: int | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length), primary_key=key, nullable=optional)


def _number(name: str, *, optional: bool = False, key: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger, nullable=optional, primary_key=key, autoincrement=False)


def _time(name: str, *, optional: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Double, nullable=optional)


def _who() -> None:
    op.create_table("plans", _text("id", key=True), sa.Column("terms", sa.JSON, nullable=False), _time("created"))
    for column in (
        sa.Column("plan", sa.String, nullable=False, server_default="unlimited"),
        sa.Column("terms", sa.JSON, nullable=False, server_default="{}"),
        _time("paused_until", optional=True),
        _text("paused_why", optional=True),
        sa.Column("keeps_content", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("data_key", sa.LargeBinary),
        _time("erased", optional=True),
        sa.Column("created", sa.Double, nullable=False, server_default="0"),
    ):
        op.add_column("tenants", column)
    op.create_table(
        "projects",
        _text("id", key=True),
        sa.Column("tenant", sa.String, sa.ForeignKey("tenants.id"), nullable=False),
        _text("name"),
        sa.Column("terms", sa.JSON, nullable=False),
        sa.Column("archived", sa.Boolean, nullable=False),
        _time("created"),
    )
    op.create_index("projects_by_tenant", "projects", ["tenant"])
    for column in (
        sa.Column("project", sa.String, nullable=False, server_default=""),
        sa.Column("name", sa.String, nullable=False, server_default=""),
        sa.Column("terms", sa.JSON, nullable=False, server_default="{}"),
        _text("suspended", optional=True),
        _time("throttled_until", optional=True),
        _number("throttle_rpm", optional=True),
        sa.Column("forgiven", sa.Double, nullable=False, server_default="0"),
    ):
        op.add_column("keys", column)
    _carry_limits()
    op.drop_column("keys", "rpm")
    op.drop_column("keys", "tpm")


def _carry_limits() -> None:
    keys = sa.table("keys", sa.column("id"), sa.column("rpm"), sa.column("tpm"), sa.column("terms", sa.JSON))
    connection = op.get_bind()
    for row in connection.execute(sa.select(keys.c.id, keys.c.rpm, keys.c.tpm)).all():
        given = {"requests_per_minute": row.rpm, "tokens_per_minute": row.tpm}
        terms = {name: limit for name, limit in given.items() if limit}
        connection.execute(keys.update().where(keys.c.id == row.id).values(terms=terms))


def _money() -> None:
    op.create_table(
        "accounts",
        _text("id", key=True),
        _text("tenant"),
        _number("budget", optional=True),
        _text("period"),
        _time("since"),
        _number("period_spent"),
        _number("spent"),
        _number("reserved"),
        _number("alerted"),
        _time("fast"),
        _time("norm"),
        _time("rated"),
    )
    op.create_index("accounts_by_tenant", "accounts", ["tenant"])
    columns = "id, tenant, budget, period, since, period_spent, spent, reserved, alerted, fast, norm, rated"
    op.execute(
        f"INSERT INTO accounts ({columns}) "  # noqa: S608 - our own constants
        "SELECT 'tenant:' || id, id, budget, 'total', 0, spent, spent, 0, 0, 0, 0, 0 FROM tenants"
    )
    op.execute(
        f"INSERT INTO accounts ({columns}) "  # noqa: S608 - our own constants
        "SELECT 'key:' || k.id, k.tenant, NULL, 'total', 0, COALESCE(SUM(u.cost), 0), COALESCE(SUM(u.cost), 0), "
        "0, 0, 0, 0, 0 FROM keys k LEFT JOIN usage u ON u.key_id = k.id GROUP BY k.id, k.tenant"
    )
    for column in ("budget", "spent", "reserved"):
        op.drop_column("tenants", column)
    op.drop_table("buckets")
    op.create_table("buckets", _text("owner", key=True), _text("name", key=True), _time("level"), _time("updated"))
    op.drop_table("reservations")
    op.create_table(
        "reservations",
        _text("id", key=True),
        _text("key_id"),
        _text("project"),
        _text("tenant"),
        _text("names"),
        _number("cost"),
        _number("tokens"),
        sa.Column("taken", sa.Text, nullable=False),
        _time("created"),
        _time("expires"),
    )
    op.create_index("reservations_by_tenant", "reservations", ["tenant", "expires"])
    op.create_index("reservations_by_expiry", "reservations", ["expires"])


def _usage() -> None:
    for column in (
        sa.Column("project", sa.String, nullable=False, server_default=""),
        _text("model_id", optional=True),
        sa.Column("batch", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("input_cost", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("cached_cost", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("output_cost", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("goods", sa.BigInteger, nullable=False, server_default="0"),
    ):
        op.add_column("usage", column)
    op.execute("UPDATE usage SET output_cost = cost")  # what is known of the rows before: only the sum
    op.drop_column("usage", "trail")
    op.create_index("usage_by_key", "usage", ["key_id", "created"])


def _proof() -> None:
    op.create_table(
        "audit",
        _text("chain", key=True),
        _number("seq", key=True),
        _time("at"),
        _text("kind"),
        _text("actor"),
        _text("subject"),
        sa.Column("data", sa.Text, nullable=False),
        _text("mac", length=64),
    )
    op.create_index("audit_by_subject", "audit", ["subject"])
    op.create_index("audit_by_time", "audit", ["at"])
    op.create_table(
        "chains",
        _text("id", key=True),
        _number("seq"),
        _text("mac", length=64),
        _number("base_seq"),
        _text("base_mac", length=64),
        _text("base_seal", length=64),
    )
    op.create_table(
        "contents",
        _text("call_id", key=True),
        _text("tenant"),
        _time("created"),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("contents_by_tenant", "contents", ["tenant", "created"])


def _telling() -> None:
    op.create_table(
        "webhooks",
        _text("id", key=True),
        _text("tenant", optional=True),
        _text("url"),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        _text("events"),
        sa.Column("disabled", sa.Boolean, nullable=False),
        _time("created"),
    )
    op.create_table(
        "notices",
        _text("id", key=True),
        _time("at"),
        _text("kind"),
        _text("tenant"),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("spread", sa.Boolean, nullable=False),
    )
    op.create_index("notices_by_spread", "notices", ["spread", "at"])
    op.create_table(
        "deliveries",
        _text("notice", key=True),
        _text("webhook", key=True),
        _number("attempts"),
        _time("due", optional=True),
        _time("delivered", optional=True),
        _text("error", optional=True),
    )
    op.create_index("deliveries_by_due", "deliveries", ["due"])
    op.create_table(
        "idempotency",
        _text("key_id", key=True),
        _text("token", key=True, length=64),
        _text("digest", length=64),
        _text("claim"),
        sa.Column("response", sa.LargeBinary),
        _time("expires"),
    )
    op.create_index("idempotency_by_expiry", "idempotency", ["expires"])


def _immutable(table: str, what: str) -> None:
    name = f"{table}_no_{what.lower()}"
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {what} ON {table} BEGIN SELECT RAISE(ABORT, '{table}: {REFUSED}'); END"
        )
        return
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{table}: {REFUSED}'; END $$"
    )
    op.execute(f"CREATE TRIGGER {name} BEFORE {what} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {name}()")


def downgrade() -> None:
    """The step carries money into another shape and audits it: there is no way back but a backup."""
    msg = "restore a backup made before the upgrade"
    raise NotImplementedError(msg)
