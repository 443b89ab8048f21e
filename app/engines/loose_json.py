"""JSON of others, read without trust in its shape: what is not as it should be counts as left out.

openai_stream, told_usage, tool_pieces -> [here].
"""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

Object = dict[str, Any]
MOST = 2**31 - 1
"""No answer has more tokens, choices or calls: a larger number is read as this one."""


def parsed(text: str | bytes) -> Any:
    """The value; None where it is no JSON. Half a character, which orjson refuses, is let through."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def an_object(value: Any) -> Object:
    """The object; an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def objects(value: Any) -> list[Object]:
    """The objects of a list; none where it is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list | tuple) else []


def a_text(value: Any) -> str:
    """The string; an empty one in place of anything else."""
    return value if isinstance(value, str) else ""


def a_count(value: Any) -> int | None:
    """A whole number from 0 to MOST, from a number or a string of one. None: it is no such thing."""
    if isinstance(value, str):
        value = value.strip()
        if len(value) > 400:
            return None
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return MOST if value > 0 else None
    return None if value < 0 else min(int(value), MOST)
