"""A custom tool's input, read out of the arguments of the function that stands for it, as they stream.

output -> [custom_input]. The model writes `{"input": "..."}`; whatever else it writes is the input as it stands.
"""

from __future__ import annotations

import json
import re

import orjson

_OPENING = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_MOST = 200
"""Characters within which the opening stands; more blanks than that is something else."""
_HALF = r"\\u[dD][89abAB][0-9a-fA-F]{2}"
_PAIRED = rf"{_HALF}(?:\\u[0-9a-fA-F]{{4}}|(?=[^\\]|\\[^u]))"
_WHOLE = re.compile(rf'(?:[^"\\]|\\[^u]|{_PAIRED}|(?!{_HALF})\\u[0-9a-fA-F]{{4}})*')
"""What can be decoded without the piece that follows."""


class CustomInput:
    """text: the input so far."""

    def __init__(self) -> None:
        self.text = ""
        self._raw: list[str] = []
        self._held = ""
        self._state = "before"

    def feed(self, arguments: str) -> str:
        """The next piece of the arguments in, what it adds to the input out."""
        self._raw.append(arguments)
        if self._state in ("over", "strange"):
            return ""
        self._held += arguments
        if self._state == "before" and not self._begin():
            return ""
        return self._add(self._next())

    def end(self) -> str:
        """The rest of the input."""
        if self._state == "within":  # cut off
            self._state = "over"
            return self._add(_decoded(self._held))
        if self._state == "before":
            self._state = "strange"
        return self._add(_otherwise("".join(self._raw))) if self._state == "strange" and not self.text else ""

    def _begin(self) -> bool:
        found = _OPENING.match(self._held)
        if found:
            self._held, self._state = self._held[found.end() :], "within"
        elif len(self._held) > _MOST:
            self._state = "strange"
        return self._state == "within"

    def _next(self) -> str:
        found = _WHOLE.match(self._held)
        chunk = found[0] if found else ""
        rest = self._held[len(chunk) :]
        self._held = rest
        if rest.startswith('"'):
            self._state = "over"
        return _decoded(chunk)

    def _add(self, text: str) -> str:
        self.text += text
        return text


def _decoded(chunk: str) -> str:
    """What stands within a JSON string; as it stands where it is none. Half a character is told as one that is none."""
    try:
        text = str(json.loads(f'"{chunk}"', strict=False))
    except json.JSONDecodeError:
        text = chunk
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _otherwise(arguments: str) -> str:
    """The input, where the model did not write what it was told to."""
    try:
        said = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    if isinstance(said, dict):
        texts = [said["input"]] if "input" in said else list(said.values())
        return texts[0] if len(texts) == 1 and isinstance(texts[0], str) else arguments
    return said if isinstance(said, str) else arguments
