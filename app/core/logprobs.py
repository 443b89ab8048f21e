"""Logprobs of a text whose placeholders were put back: they say what the text says.  restore -> [logprobs]."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.core.restorer import Replaced

Entry = Mapping[str, Any]
"""One of OpenAI's `choices[].logprobs.content`."""


class Logprobs:
    """Of one choice. Tokens that spelt a placeholder become one, of the original and of their joint probability."""

    def __init__(self) -> None:
        self._held: list[tuple[int, int, Entry]] = []
        self._at = 0

    def take(self, entries: Sequence[Entry] | None) -> None:
        """Those of the next piece."""
        for entry in entries or ():
            end = self._at + len(entry["token"])
            self._held.append((self._at, end, entry))
            self._at = end

    def out(self, upto: int, replaced: Sequence[Replaced]) -> list[Entry]:
        """Those of the text up to here. replaced: in that text, in order."""
        done = list(self._groups(upto, replaced))
        del self._held[: sum(len(group) for group, _ in done)]
        return [_entry(group, within) for group, within in done]

    def _groups(
        self, upto: int, replaced: Sequence[Replaced]
    ) -> Iterator[tuple[list[tuple[int, int, Entry]], list[Replaced]]]:
        """Tokens that stand or fall together, with what was put back within them."""
        at, left = 0, list(replaced)
        while at < len(self._held) and self._held[at][1] <= upto:
            group = [self._held[at]]
            within: list[Replaced] = []
            end = group[0][1]
            while left and left[0].start < end:
                within.append(left.pop(0))
                end = max(end, within[-1].end)
                while at + len(group) < len(self._held) and self._held[at + len(group)][0] < end:
                    group.append(self._held[at + len(group)])
                    end = max(end, group[-1][1])
            yield group, within
            at += len(group)


def _entry(group: Sequence[tuple[int, int, Entry]], within: Sequence[Replaced]) -> Entry:
    if not within:
        return group[0][2]
    first, said = group[0][0], "".join(entry["token"] for _, _, entry in group)
    for one in reversed(within):
        said = said[: max(0, one.start - first)] + one.shown + said[one.end - first :]
    joint = sum(entry["logprob"] for _, _, entry in group)
    return {"token": said, "logprob": joint, "bytes": list(said.encode()), "top_logprobs": []}
