"""What an id that the product gave looks like; whatever else is asked for is not there.  stores -> [identifiers]."""

from __future__ import annotations

import re

_ID = re.compile(r"[\x21-\x7e]{1,200}")


def known(text: str) -> bool:
    """Whether anything may be called so: printable ASCII without blanks. PostgreSQL takes no NUL in a text."""
    return _ID.fullmatch(text) is not None
