"""What the ledger's database could not do, and what the admin service refuses, as types the admin API tells apart.

ledger, audit, tenants, keys, balances, ... -> [refusals] <- admin API.
"""

from __future__ import annotations

import re

from app.core.ports import PortError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class LedgerError(PortError):
    """The ledger's database could not do what was asked, and nothing of it was done. The text names the fix.

    outage: what stands outside failed, the database or a place to write to, so that trying again may be right.
    """

    def __init__(self, why: str, *, outage: bool = False) -> None:
        super().__init__("ledger", why)
        self.outage = outage


class UnknownError(LedgerError):
    """There is nothing of this id."""


class TakenError(LedgerError):
    """There is one of this id already, or its state does not allow what was asked."""


class UnfitError(LedgerError):
    """A value that cannot be used; the text says what can."""


def named(what: str, name: str) -> str:
    """`name`, when it can be an id: ids stand in URLs, in `tenant:ID` and beside our own `_operator`.

    Raises UnfitError.
    """
    if not _NAME.fullmatch(name):
        shown = name[:64].encode("unicode_escape").decode()
        raise UnfitError(
            f"`{shown}` cannot be the id of a {what}: use up to 64 letters, digits, `.`, `_` and `-`, "
            "the first a letter or digit."
        )
    return name
