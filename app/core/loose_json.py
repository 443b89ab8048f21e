"""JSON as clients send it, not only as the standard has it.  bodies, batch files -> [loose_json].

Read all the same: a byte order mark, and half of a surrogate pair (many a client cuts a text in the middle of an
emoji and escapes what is left), which becomes U+FFFD, the sign for a character that was lost.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

BOM = b"\xef\xbb\xbf"
LOST = "\N{REPLACEMENT CHARACTER}".encode()
_WIDE = (b"\xff\xfe", b"\xfe\xff")
"""How UTF-16, and UTF-32 in one of its orders, begin."""
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
"""An escape of JSON: a whole pair, or half of one (the group), or any other. A backslash that is itself escaped is
read as one, so that the text behind it is none.
"""
_RAW_HALF = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
"""A half that was encoded as if it were a character, which UTF-8 forbids."""


def loads(data: bytes) -> Any:
    """The JSON value. Raises orjson.JSONDecodeError, whose words are fit for a caller."""
    if data.startswith(_WIDE) or b"\0" in data[:4]:
        message = "it is UTF-16 or UTF-32; send UTF-8"
        raise orjson.JSONDecodeError(message, "", 0)
    data = data.removeprefix(BOM)
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        whole = _RAW_HALF.sub(LOST, _ESCAPE.sub(_whole, data))
        if whole == data:
            raise
        return orjson.loads(whole)


def as_arguments(text: str) -> str:
    """A tool call's arguments as a JSON object, which engines need: all else stands under the key `input`."""
    if not text.strip():
        return ""
    try:
        value = loads(text.encode("utf-8", "replace"))
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        return orjson.dumps({"input": text}).decode()
    return text if _reads(text) else orjson.dumps(value).decode()


def _reads(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _whole(escape: re.Match[bytes]) -> bytes:
    return LOST if escape[1] else escape[0]
