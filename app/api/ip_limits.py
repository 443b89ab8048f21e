"""Limits by network address, asked before the body is read. auth -> [ip_limits] -> routes.

In this process alone, without a database: behind N gateways an address gets up to N times as much.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from starlette.requests import Request

from app.api.token_buckets import TokenBuckets, caller
from app.core import errors


class IpLimiter:
    """Per address: requests a minute, and wrong keys a minute, after which wrong ones are no longer told to be so.

    0 switches a limit off. trusted_hops: how many proxies of one's own stand in front, each of which appends to
    `X-Forwarded-For`; with 0 the header is not believed. told: called with `requests` or `failures` at each refusal.
    """

    def __init__(
        self,
        requests_per_minute: int = 0,
        failures_per_minute: int = 0,
        trusted_hops: int = 0,
        told: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._requests = TokenBuckets(requests_per_minute)
        self._failures = TokenBuckets(failures_per_minute)
        self._hops = trusted_hops
        self._told = told
        self._clock = clock

    def check(self, request: Request) -> None:
        """Count a request. Raises ApiError (429)."""
        who, now = self._caller(request), self._clock()
        if wait := self._requests.take(who, now):
            self._told("requests")
            raise errors.rate_limited("requests per minute from your address", math.ceil(wait))

    def check_failures(self, request: Request) -> None:
        """Of a request without a right key: whether its address had too many wrong ones. Raises ApiError (429).

        Wrong keys count once they were found wrong: what is being looked up at that moment still gets its 401.
        """
        if wait := self._failures.wait(self._caller(request), self._clock()):
            self._told("failures")
            raise errors.rate_limited("wrong API keys from your address", math.ceil(wait))

    def failed(self, request: Request) -> None:
        """Count a wrong key."""
        self._failures.take(self._caller(request), self._clock())

    def _caller(self, request: Request) -> str:
        peer = request.client.host if request.client else "unknown"
        if not self._hops:
            return caller(peer)
        passed = [one for one in ",".join(request.headers.getlist("x-forwarded-for")).split(",") if one.strip()]
        # A shorter list did not come through every proxy: only the peer is sure.
        return caller(_bare(passed[-self._hops]) if len(passed) >= self._hops else peer)


def _bare(address: str) -> str:
    """Without the port that some proxies write: `[2001:db8::1]:443`, `192.0.2.1:443`."""
    address = address.strip().strip('"')
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address
