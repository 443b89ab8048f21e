"""Decide reservations and settlements on what is known of their tenants. transactions reads -> [books] -> it writes.

No SQL here: `Books` is what one transaction read under its locks, the decisions are plain arithmetic on it, and
what changed is written back by the same transaction. Money in nano (1e-9), times in Unix seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.adapters.sql.schema import from_nano, to_nano
from app.ports import Denied, Principal, Reservation, UsageRow, Window
from app.rules import limits
from app.rules.limits import Bucket


@dataclass(frozen=True, slots=True)
class Reserve:
    """Set the worst case aside."""

    id: str
    who: Principal
    tokens: int
    cost: int

    @property
    def owner(self) -> tuple[str, str]:
        """Tenant and key."""
        return self.who.tenant, self.who.key_id

    @property
    def held(self) -> str | None:
        """The reservation that it is about."""
        return self.id


@dataclass(frozen=True, slots=True)
class Settle:
    """Write the row, release the reservation. Without a row: nobody waits for the reservation any more."""

    owner: tuple[str, str]
    reservation: Reservation | None
    row: UsageRow | None

    @property
    def held(self) -> str | None:
        """The reservation that it is about."""
        return self.reservation.id if self.reservation else None


Op = Reserve | Settle


@dataclass(frozen=True, slots=True)
class Held:
    """A reservation as the database keeps it."""

    id: str
    key_id: str
    tenant: str
    cost: int
    tokens: int
    expires: float


@dataclass(slots=True)
class Account:
    """A tenant's money, and what this batch changes of it."""

    budget: int | None
    spent: int
    reserved: int
    more_spent: int = 0
    more_reserved: int = 0

    def has(self, cost: int) -> bool:
        """Whether the budget has room for `cost` beside all that is spent and reserved."""
        committed = self.spent + self.more_spent + self.reserved + self.more_reserved
        return self.budget is None or committed + cost <= self.budget


@dataclass(slots=True)
class Books:
    """What the transaction read, and what it is to write."""

    now: float
    accounts: dict[str, Account]
    held: dict[str, Held]
    buckets: dict[tuple[str, str], Bucket]
    billed: set[str]  # of the rows to settle, those written before
    dropped: list[str] = field(default_factory=list)
    made: list[Held] = field(default_factory=list)
    rows: list[UsageRow] = field(default_factory=list)
    touched: set[tuple[str, str]] = field(default_factory=set)

    def decide(self, ops: Sequence[Op], hold: float) -> list[Reservation | Denied | None]:
        """Return each operation's result, in order. Settlements go first: they make room.

        hold: seconds after which a reservation that nobody settled is released.
        """
        for held in list(self.held.values()):
            if held.expires <= self.now:  # its gateway died, or the call is far past every deadline
                self._drop(held.id)
        for op in ops:
            if isinstance(op, Settle):
                self._settle(op)
        return [self._reserve(op, hold) if isinstance(op, Reserve) else None for op in ops]

    def _reserve(self, op: Reserve, hold: float) -> Reservation | Denied:
        key_id = op.who.key_id
        asked = {"requests": (op.who.requests_per_minute, 1), "tokens": (op.who.tokens_per_minute, op.tokens)}
        asked = {kind: ask for kind, ask in asked.items() if ask[0] > 0}  # 0: unlimited
        full = {kind: self._bucket(key_id, kind, limit) for kind, (limit, _) in asked.items()}
        before = {kind: _window(bucket, asked[kind][0]) for kind, bucket in full.items()}
        if old := self.held.get(op.id):  # the same call again, perhaps after a commit whose answer was lost
            return Reservation(old.id, from_nano(old.cost), old.tokens, before)
        left: dict[str, Bucket] = {}
        for kind, (limit, amount) in asked.items():
            taken = limits.take(full[kind], amount)
            if taken is None:
                return Denied(kind, limits.wait(full[kind], limit, amount), before)
            left[kind] = taken
        account = self.accounts.get(op.who.tenant)
        if account is None or not account.has(op.cost):
            return Denied("budget", 0.0, before)
        account.more_reserved += op.cost
        self.buckets.update({(key_id, kind): bucket for kind, bucket in left.items()})
        self.touched.update((key_id, kind) for kind in left)
        made = Held(op.id, key_id, op.who.tenant, op.cost, op.tokens, self.now + hold)
        self.made.append(made)
        self.held[op.id] = made
        after = {kind: _window(bucket, asked[kind][0]) for kind, bucket in left.items()}
        return Reservation(op.id, from_nano(op.cost), op.tokens, after)

    def _settle(self, op: Settle) -> None:
        tenant, key_id = op.owner
        if op.held:
            self._drop(op.held)
        used = 0
        if op.row:
            if op.row.id in self.billed:
                return
            self.billed.add(op.row.id)
            self.rows.append(op.row)
            self.accounts[tenant].more_spent += to_nano(op.row.cost)
            used = op.row.prompt_tokens + op.row.completion_tokens
        window = op.reservation.windows.get("tokens") if op.reservation else None
        if op.reservation and window:
            bucket = self._bucket(key_id, "tokens", window.limit)
            self.buckets[key_id, "tokens"] = limits.give_back(bucket, window.limit, op.reservation.tokens - used)
            self.touched.add((key_id, "tokens"))

    def _drop(self, id_: str) -> None:
        if held := self.held.pop(id_, None):
            self.accounts[held.tenant].more_reserved -= held.cost
            self.dropped.append(id_)

    def _bucket(self, key_id: str, kind: str, limit: int) -> Bucket:
        return limits.refill(self.buckets.get((key_id, kind)), limit, self.now)


def _window(bucket: Bucket, limit: int) -> Window:
    return Window(limit, limits.remaining(bucket), limits.reset(bucket, limit))
