"""The turns of a conversation as a model can read them.  body -> [history] -> request, tokenize.

A client sends its whole history at every call: what no model here can see (an image, sound, a file, a part that nobody
has heard of) must not make a conversation unanswerable for good. In a turn that was answered before it becomes a line
of text that says so; in what is asked now it is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from app.api.openai.chat.tools import INPUT
from app.core import errors
from app.core.loose_json import as_arguments

TEXTS = {"text": "text", "refusal": "refusal", "input_text": "text", "output_text": "text"}
"""Types of parts that are text, and where it stands."""
THOUGHTS = frozenset({"thinking", "reasoning", "redacted_thinking", "reasoning_text", "summary_text"})
"""Parts of what a model thought: no model reads an earlier answer's thoughts."""
UNSEEN = {
    **dict.fromkeys(("image_url", "image", "input_image"), "an image that this model cannot see"),
    **dict.fromkeys(("input_audio", "audio", "audio_url"), "a sound that this model cannot hear"),
    **dict.fromkeys(("file", "input_file", "document"), "a file that this model cannot read"),
    **dict.fromkeys(("video_url", "video", "input_video"), "a video that this model cannot see"),
}
_LONGEST_NAME = 64
_MOST_LEFT_OUT = 16
"""Places that are told."""


class History:
    """messages: as they were sent. `read` gives them as the request model takes them; `left_out`: what is not read."""

    def __init__(self, messages: Any) -> None:
        self._messages = messages
        self._asked = _asked(messages) if isinstance(messages, list) else -1
        self.left_out: list[str] = []

    def read(self) -> Any:
        """The messages; what is no message stays as it is. Raises ApiError (400)."""
        if not isinstance(self._messages, list):
            return self._messages
        return [self._message(at, one) if isinstance(one, dict) else one for at, one in enumerate(self._messages)]

    def _message(self, at: int, message: Mapping[str, Any]) -> dict[str, Any]:
        made = dict(message)
        if isinstance(message.get("content"), list):
            place = f"messages[{at}].content"
            made["content"] = [self._part(f"{place}[{i}]", at, part) for i, part in enumerate(message["content"])]
        elif message.get("content") is None and isinstance(message.get("refusal"), str):
            made["content"] = message["refusal"]
        if isinstance(message.get("tool_calls"), list):
            made["tool_calls"] = [_call(at, i, call) for i, call in enumerate(message["tool_calls"])]
        return made

    def _part(self, place: str, at: int, part: Any) -> Any:
        if isinstance(part, str):
            return {"type": "text", "text": part}
        if not isinstance(part, dict):
            return part
        kind = part.get("type")
        kind = kind if isinstance(kind, str) else ""
        if kind in TEXTS:
            return self._text(place, at, kind, part.get(TEXTS[kind]))
        if kind in THOUGHTS and at != self._asked:
            return _line("")
        if at == self._asked:
            said = f"content parts of type {kind[:_LONGEST_NAME]!r} are not supported by any pool; send text"
            raise errors.bad_request(f"Invalid value for '{place}.type': {said}.", f"{place}.type", "invalid_value")
        if len(self.left_out) < _MOST_LEFT_OUT:
            self.left_out.append(place)
        return _line(f"[{UNSEEN.get(kind) or f'a part of type {kind[:_LONGEST_NAME]!r} that this model cannot read'}]")

    def _text(self, place: str, at: int, kind: str, text: Any) -> dict[str, str]:
        if text is None and at != self._asked:
            return _line("")
        if not isinstance(text, str):
            param = f"{place}.{TEXTS[kind]}"
            said = f"a part of type {kind!r} needs a string under the key {TEXTS[kind]!r}"
            raise errors.bad_request(f"Invalid value for '{param}': {said}.", param, "invalid_type")
        return _line(text)


def _asked(messages: list[Any]) -> int:
    """Which message asks now: the last user's, unless it was answered; -1: none."""
    for at in range(len(messages) - 1, -1, -1):
        role = messages[at].get("role") if isinstance(messages[at], dict) else None
        if role == "assistant":
            return -1
        if role == "user":
            return at
    return -1


def _line(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _call(at: int, index: int, call: Any) -> Any:
    """A tool call of an earlier answer as a function's: arguments as text that is JSON, and never without an id."""
    if not isinstance(call, dict):
        return call
    made = {**call, "id": call.get("id") or f"call_{at}_{index}"}
    custom, function = call.get("custom"), call.get("function")
    if call.get("type") == "custom" and isinstance(custom, dict):
        arguments = orjson.dumps({INPUT: custom.get("input")}).decode()
        return {"id": made["id"], "type": "function", "function": {"name": custom.get("name"), "arguments": arguments}}
    if isinstance(function, dict):
        return {**made, "function": {**function, "arguments": _arguments(function.get("arguments"))}}
    return made


def _arguments(said: Any) -> Any:
    if said is None:
        return ""
    if isinstance(said, dict):
        return orjson.dumps(said).decode()
    return as_arguments(said) if isinstance(said, str) else said
