"""Refuse to run on a Ray that strangers can reach without a token.  chat.build -> [guarded].

Whoever reaches an unguarded Ray runs any code on every node of it, with all that the gateway knows.
"""

from __future__ import annotations

from ipaddress import ip_address

from app.config import ConfigError


def check_guarded(address: str, mode: str | None) -> None:
    """address: this node's in Ray. mode: RAY_AUTH_MODE, as Ray reads it. Raises ConfigError."""
    if mode in {None, "", "disabled"} and not _is_loopback(address):
        msg = (
            f"Ray listens on {address} without authentication, where whoever reaches it may run any code: set "
            "RAY_AUTH_MODE=token in the environment of every `ray start` and of `serve deploy`, with the same token "
            "on every node (`ray get-auth-token --generate`)"
        )
        raise ConfigError(msg)


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
