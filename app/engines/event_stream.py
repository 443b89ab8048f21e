"""Server-sent events from bytes, as their specification has them.  an upstream's body -> [EventReader] -> ChatStream.

Lines end at CR, LF or CRLF and nowhere else; the `data` lines of an event are one text; comments, and fields that are
not needed here, are left out. A byte order mark at the begin is skipped. What is no UTF-8 reads as U+FFFD.
"""

from __future__ import annotations

import codecs

from app.core.ports import EngineError

LONGEST_EVENT = 16 * 1024 * 1024
"""Characters of one event, at most: an upstream that never ends a line must not fill the memory."""
_MARK = "\ufeff"


class EventReader:
    """Fed bytes as they arrive, cut anywhere."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = False
        self._after_return = False  # the last line ended with CR: an LF that follows belongs to it
        self._line: list[str] = []  # what is here of the line that has not ended
        self._data: list[str] = []  # the event's data lines
        self._held = 0  # characters of both

    def feed(self, data: bytes) -> list[str]:
        """The data of every event that is whole now. Raises EngineError for one that is longer than any answer."""
        return self._read(self._decoder.decode(data))

    def end(self) -> list[str]:
        """The data of an event that the end of the stream cut short of its blank line: many servers leave that out."""
        events = self._read(self._decoder.decode(b"", final=True))
        if self._line:
            events += self._ended()
        return events + self._dispatched()

    def _read(self, text: str) -> list[str]:
        if text and not self._begun:
            self._begun, text = True, text.removeprefix(_MARK)
        if self._after_return and text:
            self._after_return, text = False, text.removeprefix("\n")
        self._after_return = self._after_return or text.endswith("\r")
        *whole, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        events: list[str] = []
        for line in whole:
            self._line.append(line)
            events += self._ended()
        if rest:
            self._line.append(rest)
        self._held += len(rest)
        if self._held > LONGEST_EVENT:
            message = "the upstream's event is longer than any answer"
            raise EngineError(message, retryable=True)
        return events

    def _ended(self) -> list[str]:
        """Take the line in, now that it is whole; a blank one ends the event."""
        line = "".join(self._line)
        self._line = []
        if not line:
            return self._dispatched()
        name, _, value = line.partition(":")
        if name == "data":
            self._data.append(value.removeprefix(" "))
            self._held += len(value)
        return []

    def _dispatched(self) -> list[str]:
        data, self._data, self._held = self._data, [], 0
        return ["\n".join(data)] if data else []
