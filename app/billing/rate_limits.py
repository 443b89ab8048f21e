"""Rate limits as pure arithmetic, no I/O.

The ledger loads an owner's buckets under the database's lock, decides with these functions, and writes them back.
A minute's bucket holds up to `amount * burst`, refills at amount / 60 per second, and starts full. Over any T seconds
no more than `amount * (burst + T / 60)` is taken. A day's is full at midnight UTC and does not refill before the next.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.core.ports import Limit, Window

MINUTE = 60.0
DAY = 86_400.0
_SLACK = 1e-6  # of one token, and of one second: what float time loses, so that waiting `wait` seconds is enough


@dataclass(frozen=True, slots=True)
class Bucket:
    """level: what may be taken at `updated` (Unix seconds). Below 0 when a call used more than it reserved."""

    level: float
    updated: float


def capacity(limit: Limit) -> float:
    """What a full bucket holds; at least one whole unit."""
    return max(1.0, limit.amount * limit.burst)


def refill(stored: Bucket | None, limit: Limit, now: float) -> Bucket:
    """Return the bucket as it stands at `now`; None is one never used, so full.

    A clock that steps back (another gateway's) refills nothing and takes nothing. A lowered limit cuts the level.
    """
    if stored is None:
        return Bucket(capacity(limit), now)
    later = max(now, stored.updated)
    if limit.per == "day":
        fresh = later // DAY > stored.updated // DAY
        return Bucket(capacity(limit) + (0.0 if fresh else stored.level), later)
    gained = (later - stored.updated) * limit.amount / MINUTE
    return Bucket(min(capacity(limit), stored.level + gained), later)


def kept(bucket: Bucket, limit: Limit) -> Bucket:
    """Return the bucket as it is stored: a day's by what was taken, below 0, so that a changed limit holds at once."""
    return Bucket(bucket.level - capacity(limit), bucket.updated) if limit.per == "day" else bucket


def take(bucket: Bucket, amount: int) -> Bucket | None:
    """Return the bucket less `amount`, or None when it holds too little."""
    if bucket.level + _SLACK < amount:
        return None
    return Bucket(bucket.level - amount, bucket.updated)


def give_back(bucket: Bucket, limit: Limit, amount: int, taken: float) -> Bucket:
    """Return the bucket with what was reserved and not used; a negative amount takes what was used above it.

    taken: when it was reserved, Unix seconds. What an earlier day lent is not given back to this one.
    """
    if limit.per == "day" and taken // DAY < bucket.updated // DAY:
        return bucket
    return Bucket(min(capacity(limit), bucket.level + amount), bucket.updated)


def window(bucket: Bucket, limit: Limit) -> Window:
    """Return what a client is told: the limit, what may be taken now in whole units, seconds until it is full."""
    remaining = max(0, int(bucket.level + _SLACK))
    if limit.per == "day":
        reset = DAY - bucket.updated % DAY if bucket.level < capacity(limit) else 0.0
    else:
        reset = max(0.0, (capacity(limit) - bucket.level) * MINUTE / limit.amount)
    return Window(limit.amount, remaining, reset)


def wait(bucket: Bucket, limit: Limit, amount: int) -> float:
    """Return the seconds until `amount` can be taken; 0 when it can be now, or never (more than the bucket holds)."""
    if amount > capacity(limit) or bucket.level + _SLACK >= amount:
        return 0.0
    if limit.per == "day":
        return DAY - bucket.updated % DAY
    return (amount - bucket.level) * MINUTE / limit.amount + _SLACK
