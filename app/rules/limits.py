"""Token buckets: rate limits per minute as pure arithmetic, no I/O.

The ledger loads a key's buckets under the database's lock, decides with these functions, and writes them back.
A bucket holds up to `limit`, refills at limit / 60 per second, and starts full: a quiet minute allows one burst.
Over any T seconds no more than `limit * (1 + T / 60)` is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

MINUTE = 60.0
_SLACK = 1e-6  # of one token, and of one second: what float time loses, so that waiting `wait` seconds is enough


@dataclass(frozen=True, slots=True)
class Bucket:
    """level: what may be taken at `updated` (Unix seconds). Below 0 when a call used more than it reserved."""

    level: float
    updated: float


def refill(bucket: Bucket | None, limit: int, now: float) -> Bucket:
    """Return the bucket as it stands at `now`; None is one never used, so full.

    A clock that steps back (another gateway's) refills nothing and takes nothing. A lowered limit cuts the level.
    """
    if bucket is None:
        return Bucket(float(limit), now)
    elapsed = max(0.0, now - bucket.updated)
    return Bucket(min(float(limit), bucket.level + elapsed * limit / MINUTE), max(now, bucket.updated))


def take(bucket: Bucket, amount: int) -> Bucket | None:
    """Return the bucket less `amount`, or None when it holds too little."""
    if bucket.level + _SLACK < amount:
        return None
    return Bucket(bucket.level - amount, bucket.updated)


def give_back(bucket: Bucket, limit: int, amount: int) -> Bucket:
    """Return the bucket with what was reserved and not used; a negative amount takes what was used above it."""
    return Bucket(min(float(limit), bucket.level + amount), bucket.updated)


def remaining(bucket: Bucket) -> int:
    """Return how much may be taken now, in whole units, at least 0."""
    return max(0, int(bucket.level + _SLACK))


def reset(bucket: Bucket, limit: int) -> float:
    """Return the seconds until the bucket is full again."""
    return max(0.0, (limit - bucket.level) * MINUTE / limit)


def wait(bucket: Bucket, limit: int, amount: int) -> float:
    """Return the seconds until `amount` can be taken; 0 when it can be now, or never (more than the limit)."""
    if amount > limit or bucket.level + _SLACK >= amount:
        return 0.0
    return (amount - bucket.level) * MINUTE / limit + _SLACK
