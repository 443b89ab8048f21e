"""The tables of the ledger, and money as the database holds it. Used by every module of this package.

Money is an integer of 1e-9 currency units (nano): exact in SQLite and PostgreSQL alike. Times are Unix seconds.
A change here needs a migration in `migrations/versions`; a test compares the two.
"""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

from app.core.money import NANO

metadata = MetaData()

# -- who ---------------------------------------------------------------------------------------

plans = Table(
    "plans",
    metadata,
    Column("id", String, primary_key=True),  # its name
    Column("terms", JSON, nullable=False),  # rules.terms.Terms
    Column("created", Double, nullable=False),
)

tenants = Table(
    "tenants",  # organisations
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("plan", String, nullable=False),  # plans.id; `unlimited` needs no row
    Column("terms", JSON, nullable=False),  # over the plan's
    Column("paused_until", Double),  # null: not paused
    Column("paused_why", String),
    Column("keeps_content", Boolean, nullable=False),  # whether calls' texts are stored, encrypted
    Column("data_key", LargeBinary),  # sealed by the master key; without it the tenant's contents are noise
    Column("erased", Double),
    Column("created", Double, nullable=False),
)

projects = Table(
    "projects",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", ForeignKey("tenants.id"), nullable=False),
    Column("name", String, nullable=False),
    Column("terms", JSON, nullable=False),
    Column("archived", Boolean, nullable=False),
    Column("created", Double, nullable=False),
    Index("projects_by_tenant", "tenant"),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", ForeignKey("tenants.id"), nullable=False),
    Column("project", String, nullable=False),  # projects.id; empty: the tenant's own
    Column("name", String, nullable=False),
    Column("hash", String(64), nullable=False, unique=True),  # sha256 of the key, hex; the key itself is nowhere
    Column("prefix", String, nullable=False),
    Column("scopes", String, nullable=False),  # separated by spaces; empty: all
    Column("terms", JSON, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("suspended", String),  # why; null: not suspended
    Column("throttled_until", Double),
    Column("throttle_rpm", BigInteger),
    Column("forgiven", Double, nullable=False),  # strikes before this moment no longer count
    Column("expires", Double),
    Column("created", Double, nullable=False),
)

# -- money and limits: change only under the tenant's lock ------------------------------------------

accounts = Table(
    "accounts",  # of a tenant, a project or a key
    metadata,
    Column("id", String, primary_key=True),  # tenant:ID | project:ID | key:ID
    Column("tenant", String, nullable=False),
    Column("budget", BigInteger),  # nano in each period; null: no budget
    Column("period", String, nullable=False),  # total | month | day
    Column("since", Double, nullable=False),  # when the current period began
    Column("period_spent", BigInteger, nullable=False),  # nano since then
    Column("spent", BigInteger, nullable=False),  # nano of all time, always sum(usage.cost)
    Column("reserved", BigInteger, nullable=False),  # nano, always sum(reservations.cost)
    Column("alerted", BigInteger, nullable=False),  # highest percent of the budget told of in this period
    Column("fast", Double, nullable=False),  # nano, decaying: what the breaker calls now ...
    Column("norm", Double, nullable=False),  # ... and the norm
    Column("rated", Double, nullable=False),  # when the two were brought up to date
    Index("accounts_by_tenant", "tenant"),
)

buckets = Table(
    "buckets",
    metadata,
    Column("owner", String, primary_key=True),  # as accounts.id
    Column("name", String, primary_key=True),  # ports.Limit.name
    Column("level", Double, nullable=False),
    Column("updated", Double, nullable=False),
)

reservations = Table(
    "reservations",
    metadata,
    Column("id", String, primary_key=True),
    Column("key_id", String, nullable=False),
    Column("project", String, nullable=False),
    Column("tenant", String, nullable=False),
    Column("names", String, nullable=False),  # what was asked for, separated by tabs
    Column("cost", BigInteger, nullable=False),  # nano
    Column("tokens", BigInteger, nullable=False),
    Column("taken", Text, nullable=False),  # JSON: what to give back, and to which bucket
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Index("reservations_by_tenant", "tenant", "expires"),
    Index("reservations_by_expiry", "expires"),
)

# -- proof -------------------------------------------------------------------------------------------

usage = Table(
    "usage",  # triggers refuse every UPDATE and DELETE
    metadata,
    Column("id", String, primary_key=True),
    Column("created", Double, nullable=False),
    Column("tenant", String, nullable=False),
    Column("project", String, nullable=False),
    Column("key_id", String, nullable=False),
    Column("model", String, nullable=False),  # as asked
    Column("model_id", String),  # as answered
    Column("tier", String),
    Column("pool", String),
    Column("region", String),
    Column("outcome", String, nullable=False),
    Column("refused_by", String),
    Column("batch", Boolean, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cost", BigInteger, nullable=False),  # nano, the sum of the next three
    Column("input_cost", BigInteger, nullable=False),
    Column("cached_cost", BigInteger, nullable=False),
    Column("output_cost", BigInteger, nullable=False),
    Column("goods", BigInteger, nullable=False),  # nano: what it cost us
    Column("lost", BigInteger, nullable=False),  # nano: what engines cost us that were given up
    Column("estimated", Boolean, nullable=False),  # whether some of the tokens are our own count
    Column("cut", Boolean, nullable=False),  # whether the engine told of more than can be, or than was reserved
    Column("price_list", String, nullable=False),
    Column("ttft", Double),
    Column("latency", Double, nullable=False),
    Index("usage_by_tenant", "tenant", "created"),
    Index("usage_by_key", "key_id", "created"),
    Index("usage_by_time", "created"),
)

audit = Table(
    "audit",
    metadata,
    Column("chain", String, primary_key=True),  # a tenant's id, or `_operator`
    Column("seq", BigInteger, primary_key=True),  # 1, 2, 3 ...
    Column("at", Double, nullable=False),
    Column("kind", String, nullable=False),  # call, key.create, budget.threshold ...
    Column("actor", String, nullable=False),  # key_..., admin, system, cli
    Column("subject", String, nullable=False),  # call id, key id, ...
    Column("data", Text, nullable=False),  # canonical JSON, the very bytes that were signed
    Column("mac", String(64), nullable=False),  # HMAC-SHA256 over the record and the one before, hex
    Index("audit_by_subject", "subject"),
    Index("audit_by_time", "at"),
)

chains = Table(
    "chains",
    metadata,
    Column("id", String, primary_key=True),
    Column("seq", BigInteger, nullable=False),  # of the last record; 0: none
    Column("mac", String(64), nullable=False),  # of the last record
    Column("base_seq", BigInteger, nullable=False),  # records up to here were pruned
    Column("base_mac", String(64), nullable=False),  # the mac of the last one that was
    Column("base_seal", String(64), nullable=False),  # HMAC-SHA256 over the base: a prune that was ours
)

contents = Table(
    "contents",
    metadata,
    Column("call_id", String, primary_key=True),
    Column("tenant", String, nullable=False),
    Column("created", Double, nullable=False),
    Column("body", LargeBinary, nullable=False),  # sealed by the tenant's data key
    Index("contents_by_tenant", "tenant", "created"),
)

# -- telling -----------------------------------------------------------------------------------------

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String),  # null: the operator's, hears of every tenant
    Column("url", String, nullable=False),
    Column("secret", LargeBinary, nullable=False),  # sealed by the master key
    Column("events", String, nullable=False),  # kinds separated by spaces; empty: all
    Column("disabled", Boolean, nullable=False),
    Column("created", Double, nullable=False),
)

notices = Table(
    "notices",
    metadata,
    Column("id", String, primary_key=True),
    Column("at", Double, nullable=False),
    Column("kind", String, nullable=False),
    Column("tenant", String, nullable=False),
    Column("data", Text, nullable=False),  # JSON
    Column("spread", Boolean, nullable=False),  # whether its deliveries were made
    Index("notices_by_spread", "spread", "at"),
)

deliveries = Table(
    "deliveries",  # one for each webhook that wants the notice
    metadata,
    Column("notice", String, primary_key=True),
    Column("webhook", String, primary_key=True),
    Column("attempts", BigInteger, nullable=False),
    Column("due", Double),  # null: delivered or given up
    Column("delivered", Double),
    Column("error", String),
    Index("deliveries_by_due", "due"),
)

# -- repeated requests -------------------------------------------------------------------------------

idempotency = Table(
    "idempotency",
    metadata,
    Column("key_id", String, primary_key=True),
    Column("token", String(64), primary_key=True),  # sha256 of the Idempotency-Key, hex
    Column("digest", String(64), nullable=False),  # of method, path and body
    Column("claim", String, nullable=False),  # who works on it
    Column("response", LargeBinary),  # sealed; null: still at work
    Column("expires", Double, nullable=False),
    Index("idempotency_by_expiry", "expires"),
)

# -- files and batches -------------------------------------------------------------------------------

files = Table(
    "files",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, nullable=False),
    Column("project", String, nullable=False),
    Column("filename", String, nullable=False),
    Column("purpose", String, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("blob", String, nullable=False),  # its name in the file storage
    Column("created", Double, nullable=False),
    Column("expires", Double),
    Index("files_by_owner", "tenant", "project", "created"),
    Index("files_by_expiry", "expires"),
)

batches = Table(
    "batches",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, nullable=False),
    Column("project", String, nullable=False),
    Column("key_id", String, nullable=False),  # in whose name the lines run
    Column("endpoint", String, nullable=False),
    Column("input_file", String, nullable=False),
    Column("blob", String, nullable=False),  # the input file's
    Column("meta", JSON, nullable=False),
    Column("status", String, nullable=False),
    Column("ending", String),  # completed | expired | cancelled: how it ends once its files are written
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Column("moments", JSON, nullable=False),  # status -> when it was reached
    Column("errors", JSON, nullable=False),
    Column("output_file", String),
    Column("error_file", String),
    Column("output_lives", BigInteger),  # seconds until the output files expire; null: never
    Column("total", BigInteger, nullable=False),
    Column("completed", BigInteger, nullable=False),  # both counted at the end; before, batch_lines tell
    Column("failed", BigInteger, nullable=False),
    Column("due", Double, nullable=False),  # no line is taken before: the tenant is over a limit
    Column("served", Double, nullable=False),  # when a line was last taken
    Column("worker", String),  # who reads its input or writes its output ...
    Column("lease", Double),  # ... and until when it is believed to be alive
    Index("batches_by_owner", "tenant", "project", "created"),
    Index("batches_by_status", "status", "created"),
)

batch_lines = Table(
    "batch_lines",  # of batches that have not ended
    metadata,
    Column("batch", String, primary_key=True),
    Column("number", BigInteger, primary_key=True),  # 1, 2, 3 ... as in the input file
    Column("custom_id", String, nullable=False),
    Column("start", BigInteger, nullable=False),  # where it stands in the input's blob, in bytes
    Column("size", BigInteger, nullable=False),
    Column("state", String, nullable=False),  # waiting | running | answered | failed
    Column("attempt", BigInteger, nullable=False),  # 0, 1 ...: one more after each attempt that was turned away
    Column("worker", String),
    Column("lease", Double),
    Column("status_code", BigInteger),
    Column("request_id", String),
    Column("response", LargeBinary),  # JSON, sealed
    Index("batch_lines_by_state", "batch", "state", "number"),
    Index("batch_lines_by_lease", "state", "lease"),
)

# -- kept responses ----------------------------------------------------------------------------------

responses = Table(
    "responses",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, nullable=False),
    Column("project", String, nullable=False, server_default=""),  # projects.id; empty: the tenant's own
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Column("body", LargeBinary, nullable=False),  # the response and its input items, sealed by the tenant's data key
    Index("responses_by_tenant", "tenant", "created"),
    Index("responses_by_expiry", "expires"),
)

settings = Table(
    "settings",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", String, nullable=False),
)


def to_nano(money: Decimal) -> int:
    """Return money as the database holds it, rounded half to even below 1e-9."""
    return int((money / NANO).to_integral_value())


def from_nano(nano: int) -> Decimal:
    """Return the database's money as a Decimal with nine places."""
    return Decimal(nano).scaleb(-9)
