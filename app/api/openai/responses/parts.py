"""What is said in a content of parts, and what stands for the parts that no pool can read.  items, turns -> [parts].

Of the newest turn such a part is refused: the answer is about it. Of an older one it is told in a line, for ever:
a history that was once accepted stays answerable.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import Field

from app.api.bounds import MAX_PARTS, Part, Prose
from app.core import errors

Content = Prose | Annotated[list[Part], Field(max_length=MAX_PARTS)] | None
TEXTS = {
    "input_text": "text",
    "output_text": "text",
    "text": "text",
    "summary_text": "text",
    "reasoning_text": "text",
    "refusal": "refusal",
}
"""Parts that are text, and where it stands in them."""
LINES = {
    "input_image": "[an image that this model cannot see]",
    "output_image": "[an image that this model cannot see]",
    "image": "[an image that this model cannot see]",
    "computer_screenshot": "[a screenshot that this model cannot see]",
    "input_file": "[a file that this model cannot read]",
    "input_audio": "[a recording that this model cannot hear]",
    "output_audio": "[a recording that this model cannot hear]",
}
OTHER = "[content that this model cannot read]"
_READABLE = ("data:text/", "data:application/json", "data:application/xml", "data:application/yaml")


def told(content: Any, left_out: list[str], *, newest: bool = False, where: str = "input") -> list[str]:
    """The texts of a content, in order. left_out: gets the types of parts that are told in a line.

    newest: of the turn that is to be answered. where: its path. Raises ApiError (400).
    """
    if content is None:
        return []
    if isinstance(content, str):
        return [content]
    return list(_told(content, left_out, newest=newest, where=where))


def _told(parts: Sequence[Any], left_out: list[str], *, newest: bool, where: str) -> Iterator[str]:
    for part in parts:
        if not isinstance(part, dict):
            raise _wrong(where, "a part of a content is an object with a `type`")
        kind = str(part.get("type", "input_text"))[:64]
        text = _text(part, kind, where)
        if text is None:
            if newest:
                raise _wrong(where, f"parts of type {kind!r} are not supported by any pool; send `input_text`")
            left_out.append(f"input.content.{kind}")
            text = LINES.get(kind, OTHER)
        yield text


def _text(part: dict[str, Any], kind: str, where: str) -> str | None:
    """What the part says; None: nothing that can be read."""
    key = TEXTS.get(kind)
    text = part.get(key or "text")
    if isinstance(text, str):
        return text
    if key is not None:
        raise _wrong(where, f"a part of type {kind!r} needs a string under the key {key!r}")
    return _decoded(part.get("file_data")) if kind == "input_file" else None


def _decoded(data: Any) -> str | None:
    """The text of a file that was sent within the request, where it is one."""
    if not isinstance(data, str) or not data.startswith(_READABLE) or ";base64," not in data[:100]:
        return None
    try:
        return base64.b64decode(data.partition(",")[2], validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _wrong(where: str, why: str) -> errors.ApiError:
    return errors.bad_request(f"Invalid value for '{where}': {why}.", where, "invalid_value")
