"""An upstream's answer from its bytes: events, or JSON in their place.  upstream -> [AnswerBody] -> ChatStream.

Whether a server streams is seen in what it sends: some that were asked to answer with one object, under any content
type, and some with an object a line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core.ports import EngineError
from app.engines.event_stream import LONGEST_EVENT, EventReader
from app.engines.loose_json import parsed

if TYPE_CHECKING:
    from app.core.events import Token, Usage
    from app.engines.openai_stream import ChatStream

_MARK = b"\xef\xbb\xbf"


class AnswerBody:
    """Fed bytes as they arrive; what they say goes through `stream`."""

    def __init__(self, stream: ChatStream) -> None:
        self._stream = stream
        self._reader: EventReader | None = None
        self._body = bytearray()
        self._is_json = False

    def feed(self, data: bytes) -> list[Token | Usage]:
        """What is known once these bytes are here. Raises EngineError."""
        if self._reader is not None:
            return self._said(self._reader.feed(data))
        self._body += data
        if len(self._body) > LONGEST_EVENT:
            message = "the upstream's answer is longer than any answer"
            raise EngineError(message, retryable=True)
        begin = b"" if self._is_json else self._body.removeprefix(_MARK).lstrip()
        if not begin or begin.startswith(b"{"):
            self._is_json = self._is_json or bool(begin)
            return []
        self._reader = EventReader()
        return self._said(self._reader.feed(bytes(self._body)))

    def end(self) -> list[Token | Usage]:
        """What is known once nothing more comes. Raises EngineError."""
        if self._reader is not None:
            return self._said(self._reader.end())
        text = self._body.decode("utf-8-sig", "replace")
        if isinstance(whole := parsed(text), dict):
            return self._stream.whole(whole)
        return self._said(text.split("\n"))

    def _said(self, events: list[str]) -> list[Token | Usage]:
        return [event for data in events for event in self._stream.event(data)]
