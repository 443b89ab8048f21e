"""Answers kept by Idempotency-Key, so that a request sent again is answered again, not run. http -> [here] -> SQL.

A claim is one row, taken in one statement: of many gateways only one works on a request.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets as random
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import bindparam, delete, func, select, update

from app.core.refusals import LedgerError
from app.db.schema import idempotency as rows
from app.db.statements import upserts
from app.db.store import Store
from app.installation.secrets import SealError, Secrets

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Fresh:
    """Nobody has answered this yet: the caller works on it. claim: to keep or release it with."""

    claim: str


@dataclass(frozen=True, slots=True)
class Stored:
    """The answer, as it was sent. headers: in order, names in lower case."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Busy:
    """The first request is still at work, here or at another gateway."""


@dataclass(frozen=True, slots=True)
class Differs:
    """The Idempotency-Key was used for another request."""


Found = Fresh | Stored | Busy | Differs


def _take(new: Any) -> Any:
    values = {name: new.excluded[name] for name in ("digest", "claim", "response", "expires")}
    dead = rows.c.expires <= bindparam("now")
    keys = ["key_id", "token"]
    return new.on_conflict_do_update(index_elements=keys, set_=values, where=dead).returning(rows.c.claim)


_TAKE = {name: _take(new) for name, new in upserts(rows).items()}
_MINE = (rows.c.key_id == bindparam("whose"), rows.c.token == bindparam("which"))
_AT_WORK = (*_MINE, rows.c.claim == bindparam("by"), rows.c.response.is_(None))
_READ = select(rows.c.digest, rows.c.response).where(*_MINE)
_KEEP = update(rows).where(*_AT_WORK).values(response=bindparam("sealed"), expires=bindparam("until"))
_RELEASE = delete(rows).where(*_AT_WORK)
_EXPIRE = delete(rows).where(rows.c.expires <= bindparam("now"))
_SIZES = (
    select(rows.c.token, func.length(rows.c.response).label("size"))
    .where(rows.c.key_id == bindparam("whose"), rows.c.response.is_not(None))
    .order_by(rows.c.expires.desc(), rows.c.token)
)
_DROP = delete(rows).where(rows.c.key_id == bindparam("whose"), rows.c.token.in_(bindparam("over", expanding=True)))
MOST, MOST_BYTES = 2_000, 64_000_000
"""Answers of one API key that are kept, and bytes of all of them: the oldest go first."""


class Idempotency:
    """keep: seconds that an answer is kept. hold: seconds after which a claim that was never ended is another's.

    most, most_bytes: of one API key's answers. key_id: whose Idempotency-Key; token: the Idempotency-Key;
    digest: sha256 of the request, hex. Answers are sealed.
    Every method raises LedgerError.
    """

    def __init__(
        self,
        store: Store,
        secrets: Secrets,
        clock: Callable[[], float] = time.time,
        keep: float = 86_400.0,
        hold: float = 900.0,
        *,
        most: int = MOST,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._store = store
        self._sealer = secrets.sealer
        self._clock = clock
        self._keep = keep
        self._hold = hold
        self._most = most
        self._most_bytes = most_bytes
        self._ending: set[asyncio.Task[None]] = set()

    async def claim(self, key_id: str, token: str, digest: str) -> Found:
        """Take the request, or learn what became of it."""
        now, mine, which = self._clock(), random.token_hex(8), _hash(token)
        new = {"key_id": key_id, "token": which, "digest": digest, "claim": mine, "response": None}

        def work(connection: Any) -> Any:
            taken = {**new, "expires": now + self._hold, "now": now}
            if connection.execute(_TAKE[connection.dialect.name], taken).first():
                return None
            return connection.execute(_READ, {"whose": key_id, "which": which}).first() or Busy()

        try:
            found = await self._store.write(work)
        except asyncio.CancelledError:
            self._later(self.release(key_id, token, mine))  # the claim may stand: nobody works on it
            raise
        if found is None:
            return Fresh(mine)
        if isinstance(found, Busy):  # released between the two statements: the client's next try takes it
            return found
        if found.digest != digest:
            return Differs()
        return Busy() if found.response is None else self._open(key_id, which, found.response)

    async def keep(self, key_id: str, token: str, claim: str, answer: Stored) -> None:
        """End the claim with its answer. One that was taken over meanwhile stays the other's."""
        plain = orjson.dumps([answer.status, answer.headers]) + b"\n" + answer.body
        values = {**_ids(key_id, token, claim), "until": self._clock() + self._keep}
        values["sealed"] = self._sealer.seal(plain, _about(key_id, _hash(token)))

        def work(connection: Any) -> None:
            if connection.execute(_KEEP, values).rowcount:
                over = self._over(connection.execute(_SIZES, {"whose": key_id}))
                if over:
                    connection.execute(_DROP, {"whose": key_id, "over": over})

        await self._store.write(work)

    def _over(self, answers: Iterable[Any]) -> list[str]:
        """The tokens of those that are too many or too large together. answers: the newest first."""
        over, size = [], 0
        for at, answer in enumerate(answers):
            size += answer.size
            if at >= self._most or size > self._most_bytes:
                over.append(answer.token)
        return over

    async def release(self, key_id: str, token: str, claim: str) -> None:
        """End the claim without an answer: the same request may be made anew."""
        values = _ids(key_id, token, claim)
        await self._store.write(lambda connection: connection.execute(_RELEASE, values))

    async def expire(self) -> int:
        """Delete what is no longer kept; return how many."""
        values = {"now": self._clock()}
        return await self._store.write(lambda connection: connection.execute(_EXPIRE, values).rowcount)

    def _open(self, key_id: str, which: str, sealed: bytes) -> Stored:
        try:
            head, _, body = self._sealer.open(sealed, _about(key_id, which)).partition(b"\n")
        except SealError as error:
            raise LedgerError(f"A kept answer cannot be read: {error}.") from error
        status, headers = orjson.loads(head)
        return Stored(status, tuple((name, value) for name, value in headers), body)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._ending.add(task)  # the loop itself holds only a weak reference
        task.add_done_callback(self._ending.discard)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _about(key_id: str, which: str) -> str:
    return f"answer {key_id} {which}"


def _ids(key_id: str, token: str, claim: str) -> dict[str, Any]:
    return {"whose": key_id, "which": _hash(token), "by": claim}
