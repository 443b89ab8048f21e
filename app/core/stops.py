"""Stop sequences in what the caller sees: the model may say them only as a placeholder.  restore -> [stops]."""

from __future__ import annotations

from collections.abc import Sequence


class Stops:
    """Ends one text at the first of the sequences. Holds back only what may still become one."""

    def __init__(self, stops: Sequence[str], *, shown: bool = False) -> None:
        """shown: the sequence itself stays in the text."""
        self._stops = [stop for stop in stops if stop]
        self._longest = max(map(len, self._stops), default=0)
        self._shown = shown
        self._held = ""
        self.met: str | None = None

    def feed(self, text: str) -> str:
        """The next piece in, what can be shown out. `met` says which sequence ended the text."""
        if not self._stops:
            return text
        held = self._held + text
        found = [(at, -len(stop), stop) for stop in self._stops if (at := held.find(stop)) >= 0]
        if found:
            at, _, self.met = min(found)
            self._held = ""
            return held[: at + len(self.met) * self._shown]
        cut = self._cut(held)
        self._held = held[cut:]
        return held[:cut]

    def flush(self) -> str:
        """The end of the text: whatever was held back."""
        held, self._held = self._held, ""
        return held

    def _cut(self, text: str) -> int:
        starts = range(max(0, len(text) - self._longest + 1), len(text))
        return next((at for at in starts if any(stop.startswith(text[at:]) for stop in self._stops)), len(text))
