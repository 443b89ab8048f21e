"""The header that names what of a request no pool could use.  Responses API -> [ignored] -> client."""

from __future__ import annotations

import re
from collections.abc import Iterable

HEADER = "x-penstock-ignored"
MOST = 20
"""Names in the header."""
_STRANGE = re.compile(r"[^A-Za-z0-9_.\[\]-]")


def ignored(names: Iterable[str]) -> dict[str, str]:
    """The header for these types and fields; none for none."""
    told = dict.fromkeys(name for name in (_STRANGE.sub("", name)[:64] for name in names) if name)
    return {HEADER: ", ".join(list(told)[:MOST])} if told else {}
