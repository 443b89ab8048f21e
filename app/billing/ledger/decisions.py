"""Decide reservations and settlements on what is known of their tenants. transactions reads -> [decisions] -> writes.

No SQL here: `Books` is what one transaction read under its locks, the decisions are plain arithmetic on it, and
what changed is written back by the same transaction. Money in nano (1e-9), times in Unix seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.audit.records import Entry
from app.billing import rate_limits
from app.billing.ledger.accounts import Account, Reserved, Taken
from app.billing.rate_limits import Bucket
from app.core.ports import AbusePolicy, Denied, Limit, Notice, Principal, Reservation, UsageRow, Window
from app.db.schema import from_nano, to_nano

RESERVED_WAIT = 2.0
"""Seconds after which to try again where calls on their way hold a budget: about as long as a short one takes."""


@dataclass(frozen=True, slots=True)
class Reserve:
    """Set the worst case aside. narrow: take the call's reservation to this cost and these names instead."""

    id: str
    who: Principal
    tokens: int
    cost: int
    names: frozenset[str] = frozenset()
    narrow: bool = False

    @property
    def tenant(self) -> str:
        """Whose money it is."""
        return self.who.tenant

    @property
    def owners(self) -> tuple[str, ...]:
        """The accounts that it touches."""
        return self.who.owners

    @property
    def counts(self) -> bool:
        """Whether calls on their way must be counted to decide it."""
        return any(limit.kind == "concurrent" for limit in self.who.limits)


@dataclass(frozen=True, slots=True)
class Settle:
    """Write the row, release the reservation. Without a row: nobody waits for the reservation any more."""

    id: str
    who: tuple[str, str, str]  # tenant, project, key
    row: UsageRow | None

    @property
    def tenant(self) -> str:
        """Whose money it is."""
        return self.who[0]

    @property
    def owners(self) -> tuple[str, ...]:
        """The accounts that it touches."""
        return Principal(self.who[0], self.who[2], self.who[1]).owners


Op = Reserve | Settle


@dataclass(slots=True)
class LedgerTransaction:
    """What the transaction read, and what it is to write."""

    now: float
    abuse_policy: AbusePolicy
    accounts: dict[str, Account]
    held: dict[str, Reserved]
    buckets: dict[tuple[str, str], Bucket]
    billed: set[str]  # of the rows to settle, those written before
    live: Counter[tuple[str, str]] = field(default_factory=Counter)  # (owner, name) -> calls on their way
    dropped: list[str] = field(default_factory=list)
    made: dict[str, Reserved] = field(default_factory=dict)
    rows: list[UsageRow] = field(default_factory=list)
    touched: set[tuple[str, str]] = field(default_factory=set)
    entries: list[Entry] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    pauses: dict[str, tuple[float, str]] = field(default_factory=dict)

    def decide(self, ops: Sequence[Op], hold: float) -> list[Reservation | Denied | None]:
        """Return each operation's result, in order. Settlements go first: they make room.

        hold: seconds after which a reservation that nobody settled is released.
        """
        self._expire()
        for op in ops:
            if isinstance(op, Settle):
                self._settle(op)
        self._alert()
        return [self._reserve(op, hold) if isinstance(op, Reserve) else None for op in ops]

    # -- reserve ---------------------------------------------------------------------------------

    def _reserve(self, op: Reserve, hold: float) -> Reservation | Denied:
        old = self.held.get(op.id)
        if old and not op.narrow:  # the same call again, perhaps after a commit whose answer was lost
            return Reservation(old.id, from_nano(old.cost), old.tokens, self._windows(op.who))
        if op.narrow and old is None:  # it expired: the call is far past every deadline
            return Denied("expired", 0.0, self._windows(op.who))
        taken = self._take(op, _asked(op, old))
        if isinstance(taken, Denied):
            return taken
        more = op.cost - (old.cost if old else 0)
        fewer = old is not None and more <= 0
        accounts = [self.accounts.get(owner) for owner in op.owners]
        for owner, account in zip(op.owners, accounts, strict=True):
            if account is None or not (fewer or account.has(more)):
                wait = RESERVED_WAIT if account and account.frees(op.cost) else 0.0
                return Denied("budget", wait, self._windows(op.who), owner=owner)
        for account in accounts:
            account.reserve(more)  # type: ignore[union-attr]  # every one of them has room
        return self._hold(op, old, taken, hold)

    def _take(self, op: Reserve, asked: Sequence[Limit]) -> list[Taken] | Denied:
        """What the call takes of each limit, if every one has room."""
        taken = []
        for limit in asked:
            if limit.kind == "concurrent":
                if self.live[limit.owner, limit.model] >= limit.amount:
                    return Denied("concurrent", 1.0, self._windows(op.who), limit)
                continue
            amount = 1 if limit.kind == "requests" else op.tokens
            bucket = self._bucket(limit)
            if rate_limits.take(bucket, amount) is None:
                wait = rate_limits.wait(bucket, limit, amount)
                return Denied(limit.kind, wait, self._windows(op.who), limit)
            taken.append(Taken(limit, amount))
        return taken

    def _hold(self, op: Reserve, old: Reserved | None, taken: list[Taken], hold: float) -> Reservation:
        for one in taken:
            left = self._bucket(one.limit)
            self._put(one.limit, Bucket(left.level - one.amount, left.updated))
        if old is not None:
            self._forget(old)
        made = Reserved(
            op.id,
            op.who.key_id,
            op.who.project,
            op.who.tenant,
            tuple(sorted(op.names | set(old.names if old else ()))),
            op.cost,
            op.tokens,
            (*(old.taken if old else ()), *taken),
            old.created if old else self.now,
            old.expires if old else self.now + hold,
        )
        self.made[op.id] = self.held[op.id] = made
        self.live.update(made.counted())
        return Reservation(op.id, from_nano(op.cost), op.tokens, self._windows(op.who))

    # -- settle ----------------------------------------------------------------------------------

    def _settle(self, op: Settle) -> None:
        used = 0
        if op.row and op.row.id not in self.billed:
            self.billed.add(op.row.id)
            self.rows.append(op.row)
            for owner in op.owners:
                self.accounts[owner].spend(to_nano(op.row.cost))
            self._brake(op.row)
        if op.row:
            used = op.row.prompt_tokens + op.row.completion_tokens
        if held := self.held.get(op.id):
            self._release(held, used)

    def _release(self, held: Reserved, used: int) -> None:
        for account in (self.accounts[owner] for owner in held.owners):
            account.reserve(-held.cost)
        for taken in held.taken:
            if taken.limit.kind == "tokens":
                spare = taken.amount - used
                left = rate_limits.give_back(self._bucket(taken.limit), taken.limit, spare, held.created)
                self._put(taken.limit, left)
        self._forget(held)

    def _expire(self) -> None:
        for held in list(self.held.values()):
            if held.expires <= self.now:  # its gateway died, or the call is far past every deadline
                self._release(held, 0)
                self._record(held.tenant, "reservation.expired", held.id, key=held.key_id, cost=held.cost)

    def _forget(self, held: Reserved) -> None:
        self.held.pop(held.id, None)
        self.live.subtract(held.counted())
        if self.made.pop(held.id, None) is None:
            self.dropped.append(held.id)

    # -- what it sets off ------------------------------------------------------------------------

    def _alert(self) -> None:
        """Tell of each percentage of a budget that this batch reached."""
        for account in self.accounts.values():
            for percent in account.alerts(self.abuse_policy.alerts):
                facts = {
                    "account": account.id,
                    "percent": percent,
                    "budget": str(from_nano(account.budget or 0)),
                    "spent": str(from_nano(account.period_spent)),
                    "period": account.period,
                }
                self._record(account.tenant, "budget.threshold", account.id, **facts)
                self._notify(
                    f"budget/{account.id}/{account.since:.0f}/{account.budget}/{percent}",
                    "budget.threshold",
                    account.tenant,
                    facts,
                )

    def _brake(self, row: UsageRow) -> None:
        """Pause a tenant whose spending runs away."""
        rules, account = self.abuse_policy, self.accounts[f"tenant:{row.tenant}"]
        if not rules.breaker_multiple or not row.cost:
            return
        if account.paced(to_nano(row.cost), self.now, rules) and row.tenant not in self.pauses:
            until, why = self.now + rules.breaker_pause, "spending far above its norm"
            self.pauses[row.tenant] = until, why
            self._record(row.tenant, "tenant.pause", row.tenant, until=until, why=why)
            facts = {"until": until, "why": why}
            self._notify(f"pause/{row.tenant}/{self.now:.0f}", "tenant.paused", row.tenant, facts)

    def _record(self, tenant: str, kind: str, subject: str, **data: Any) -> None:
        self.entries.append(Entry(tenant, self.now, kind, "system", subject, data))

    def _notify(self, id_: str, kind: str, tenant: str, data: dict[str, Any]) -> None:
        self.notices.append(Notice(id_, self.now, kind, tenant, data))

    # -- buckets ---------------------------------------------------------------------------------

    def _bucket(self, limit: Limit) -> Bucket:
        return rate_limits.refill(self.buckets.get((limit.owner, limit.name)), limit, self.now)

    def _put(self, limit: Limit, bucket: Bucket) -> None:
        self.buckets[limit.owner, limit.name] = rate_limits.kept(bucket, limit)
        self.touched.add((limit.owner, limit.name))

    def _windows(self, who: Principal) -> dict[str, Window]:
        """Of requests and tokens the tightest limit that holds for every call."""
        tightest: dict[str, Window] = {}
        for kind, window in self._all_windows(who):
            if kind not in tightest or window.remaining < tightest[kind].remaining:
                tightest[kind] = window
        return tightest

    def _all_windows(self, who: Principal) -> Iterator[tuple[str, Window]]:
        for limit in who.limits:
            if limit.model == "*" and limit.kind != "concurrent":
                yield limit.kind, rate_limits.window(self._bucket(limit), limit)


def _asked(op: Reserve, old: Reserved | None) -> list[Limit]:
    """The limits that the call must fit and was not counted against before."""
    counted = {(taken.limit.owner, taken.limit.name) for taken in old.taken} if old else set()
    on_its_way = {"*", *old.names} if old else set()
    return [
        limit
        for limit in op.who.limits
        if limit.model in op.names | {"*"}
        and not (limit.model in on_its_way if limit.kind == "concurrent" else (limit.owner, limit.name) in counted)
    ]
