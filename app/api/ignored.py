"""What of a request no pool can use: it is left out, and the answer names it.  request models -> [ignored] -> answers.

Names are parameters as dotted paths (`output_config.effort`) and types of parts (`messages.content.thinking`), never
values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

HEADER = "x-penstock-ignored"
MAX_NAMES = 32
MAX_NAME = 96
"""Characters of one name: a type is the caller's own word, and a header has a bounded length."""
_ODD = re.compile(r"[^A-Za-z0-9_.\[\]-]")


def listed(names: Iterable[str]) -> str:
    """The header's value: each name once, in their order; empty where nothing was left out."""
    shown = list(dict.fromkeys(_ODD.sub("_", name[:MAX_NAME]) for name in names))
    more = ["..."] if len(shown) > MAX_NAMES else []
    return ",".join([*shown[:MAX_NAMES], *more])


def ignored_header(names: Iterable[str]) -> dict[str, str]:
    """The header that lists them; none where nothing was left out."""
    value = listed(names)
    return {HEADER: value} if value else {}


def unknown_fields(sent: Mapping[str, object], known: Iterable[str], below: str = "") -> list[str]:
    """The names of fields that a request has and its model does not; a null one asks for nothing. below: `path.`."""
    names = frozenset(known)
    return [f"{below}{name}" for name, value in sent.items() if name not in names and value is not None]
