"""How often one network address may knock: a token bucket for each, in memory and bounded. Pure, no I/O.

api/ip_limits asks here before a key is looked up, so that a stranger costs no database access.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

from app.billing import rate_limits
from app.billing.rate_limits import Bucket
from app.core.ports import Limit

_LONGEST = 64


def caller(address: str) -> str:
    """What counts as one caller: an IPv4 address, or an IPv6 /64, which is what one customer is given.

    What is no address (a proxy's `unknown`) stands for itself.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return address[:_LONGEST]
    if not isinstance(ip, IPv6Address):
        return str(ip)
    return str(ip.ipv4_mapped or f"{IPv6Address(int(ip) >> 64 << 64)}/64")


class TokenBuckets:
    """`per_minute` for each caller, all of them at once after a quiet minute; 0: no limit. Times in seconds.

    Holds at most `size` callers: the one not heard of for longest is forgotten, and has a full bucket when it is back.
    """

    def __init__(self, per_minute: int, size: int = 50_000) -> None:
        self._limit = Limit("address", "requests", "minute", per_minute)
        self._size = size
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait(self, who: str, now: float) -> float:
        """How long until this caller may knock; 0 when it may now. Takes nothing."""
        if not self._limit.amount:
            return 0.0
        return rate_limits.wait(rate_limits.refill(self._buckets.get(who), self._limit, now), self._limit, 1)

    def take(self, who: str, now: float) -> float:
        """Take one knock and return 0, or return how long until there is one."""
        if not self._limit.amount:
            return 0.0
        bucket = rate_limits.refill(self._buckets.pop(who, None), self._limit, now)
        taken = rate_limits.take(bucket, 1)
        self._buckets[who] = taken or bucket
        if len(self._buckets) > self._size:
            self._buckets.popitem(last=False)
        return 0.0 if taken else rate_limits.wait(bucket, self._limit, 1)
