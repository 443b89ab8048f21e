"""Where a webhook may point: not into the installation's own networks.  admin API, dispatcher -> [targets].

Whoever holds the admin key could otherwise have the gateway knock on whatever it alone can reach: a cloud's metadata, a
database, Ray. What is told apart are addresses, after every name is resolved. A name that resolves otherwise a moment
later is found at the next attempt; who must rule that out keeps webhooks behind a proxy of their own.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from app.core.refusals import UnfitError

_NAT64 = IPv6Network("64:ff9b::/96")
PATIENCE = 5.0
"""Seconds that a name has to resolve."""


async def check_target(url: str, *, allow_private: bool = False) -> None:
    """Raises UnfitError for a url whose host is, or resolves to, an address that is not public. An unknown name passes:
    nothing can be sent to it.
    """
    if allow_private:
        return
    host = urlsplit(url).hostname or ""
    if any(not _is_public(address) for address in await _addresses(host)):
        raise UnfitError(
            "The webhook's host is in a private network, or this machine itself: choose a public one, or set "
            "`webhooks.allow_private: true` in the graph's config where receivers stand beside the gateway."
        )


async def _addresses(host: str) -> list[str]:
    """What the name stands for, also in the ways that only the C library reads: `0`, `127.1`, `0x7f000001`."""
    try:
        async with asyncio.timeout(PATIENCE):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        return []
    return [str(place[0]) for *_, place in found]


def _is_public(address: str) -> bool:
    found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        within = IPv4Address(int(found) & 0xFFFFFFFF) if found in _NAT64 else None
        found = found.ipv4_mapped or found.sixtofour or within or found
    return found.is_global and not found.is_multicast
