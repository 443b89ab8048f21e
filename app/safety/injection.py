"""Score how much a text tries to override its instructions.  Port Classifier.

guard -> [OnnxInjection] -> Verdict. Reads texts; gives `{"injection": 0..1, "unreadable": 0..1}` for each.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from app.models.catalog import resolve
from app.safety.decode import hidden
from app.safety.deobfuscate import once, plain
from app.safety.injection_networks import network
from app.safety.segment import UNREADABLE, Segmenter, unreadable

LABEL = "injection"
TURN = 8  # windows in one turn of the worker: a very long text lets others in between

REPEATED = 0.7  # a text of which less is left when repetitions go is also scored without them

T = TypeVar("T")


class OnnxInjection:
    """Scores windows of a text as it stands, undisguised, and of what it holds encoded; the highest counts.

    model: a source (`bundled:`, `path:`, `hub:`) of a folder that app/safety/injection_networks.py can load.
    window, overlap: in tokens, the two special ones within the window. An attack shorter than the overlap is
    always whole in some window. threads: of one inference.
    Raises FileNotFoundError for a folder without a model, ValueError for windows that cannot advance.
    """

    def __init__(
        self, model: str = "bundled:injection-pair", window: int = 192, overlap: int = 64, threads: int = 1
    ) -> None:
        from tokenizers import Tokenizer  # heavy

        self.inner = window - 2  # [CLS] and [SEP] take two
        self.step = self.inner - overlap
        if not 0 <= overlap < self.inner:
            msg = f"overlap {overlap}: choose from 0 to {self.inner - 1} for a window of {window}"
            raise ValueError(msg)
        folder = Path(resolve(model))
        self.network = network(folder, threads)
        self._tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._first, self._last = self._tokenizer.encode("").ids  # the special tokens around every text
        self._segment = Segmenter(self._tokenizer.get_vocab())
        self._unknown = self._tokenizer.token_to_id("[UNK]")
        self._worker = ThreadPoolExecutor(1, "injection")  # not a Worker: that would import torch

    async def score(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Return each text's scores, 0..1, 0 for an empty one: how sure an attack, what share could not be read."""
        return [
            {LABEL: _sigmoid(await self.logit(text)), UNREADABLE: await self._off_loop(self._unread, text)}
            for text in texts
        ]

    async def logit(self, text: str) -> float:
        """The highest calibrated logit over what the text says; minus infinity for an empty one."""
        found = await self._off_loop(views, text, self._segment.changed)
        return max([await self._highest(view) for view in found], default=-math.inf)

    def tokens(self, text: str) -> int:
        """How many tokens the text has, without special ones."""
        return len(self._ids(text))

    async def _highest(self, text: str) -> float:
        windows = await self._off_loop(self._windows, text)
        turns = [windows[at : at + TURN] for at in range(0, len(windows), TURN)]
        return max([await self._off_loop(self._run, turn) for turn in turns], default=-math.inf)

    async def _off_loop(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *args)

    def _unread(self, text: str) -> float:
        """The share of letters that are unknown in the reading that has the fewest of them."""
        text = text.encode("utf-8", "replace").decode()
        share = self._unknown_share(text)
        return share and min(share, self._unknown_share(plain(self._segment(text))))

    def _unknown_share(self, text: str) -> float:
        (found,) = self._tokenizer.encode_batch([text], add_special_tokens=False)
        return unreadable(
            text, (span for id_, span in zip(found.ids, found.offsets, strict=True) if id_ == self._unknown)
        )

    def _windows(self, text: str) -> list[list[int]]:
        ids = self._ids(text)
        return [[self._first, *ids[at : at + self.inner], self._last] for at in self._starts(len(ids))]

    def _ids(self, text: str) -> list[int]:
        (found,) = self._tokenizer.encode_batch([text], add_special_tokens=False)  # unlike `encode`, frees the GIL
        ids: list[int] = found.ids
        return ids

    def _starts(self, length: int) -> Iterator[int]:
        """Where windows begin. The last one ends with the text, so that it is never a scrap without context."""
        if not length:
            return
        final = max(0, length - self.inner)
        yield from range(0, final, self.step)
        yield final

    def _run(self, windows: Sequence[Sequence[int]]) -> float:
        """The highest logit of some windows.

        One at a time: int8 activations are scaled by the whole batch, so that neighbours would change a score,
        and from 128 tokens a batch is no faster on a CPU.
        """
        return max(self.network.logit(window) for window in windows)


def views(text: str, segment: Callable[[str], str] = str) -> list[str]:
    """What the text may say to a model: as it stands, undisguised, said once, and what it holds encoded; each once.

    segment: what of a text reads otherwise word by word; empty where nothing does.
    """
    as_it_stands = text.encode("utf-8", "replace").decode()  # the tokenizer refuses lone surrogates
    shown = plain(text)
    found = [shown, as_it_stands, *hidden(text), *(hidden(shown) if shown != text else ())]
    found += [read for read in (segment(as_it_stands), segment(shown)) if read]
    if len(told := once(shown)) < REPEATED * len(shown):
        found.append(told)
    return list(dict.fromkeys(found))


def _sigmoid(x: float) -> float:
    """The logistic function; does not overflow, and is 0 at minus infinity."""
    return 0.5 * (1 + math.tanh(x / 2))
