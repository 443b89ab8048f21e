"""Score how much a text tries to override its instructions, by a small ONNX classifier.  Port Classifier.

guard -> [OnnxInjection] -> Verdict. Reads texts; gives `{"injection": 0..1}` for each.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from app.models import resolve

LABEL = "injection"
FILES = ("model_quantized.onnx", "model.onnx")
BATCH = 8  # windows in one turn of the worker: a very long text lets others in between
# slope and intercept of Platt's scaling by tools/calibrate_injection.py; a model without them gives its own sigmoid
CALIBRATED = {"bundled:injection-minilm": (0.2389, -1.7772)}

T = TypeVar("T")


class OnnxInjection:
    """A sequence classifier whose logit 0 says `injection`, over windows of a text; the highest window counts.

    model: a source (`bundled:`, `path:`, `hub:`) of a folder with tokenizer.json and one of FILES.
    window, overlap: in tokens, the two special ones within the window. An attack shorter than the overlap is
    always whole in some window. threads: of one inference.
    Raises FileNotFoundError for a folder without a model, ValueError for windows that cannot advance.
    """

    def __init__(
        self, model: str = "bundled:injection-minilm", window: int = 256, overlap: int = 64, threads: int = 1
    ) -> None:
        from onnxruntime import InferenceSession, SessionOptions  # heavy
        from tokenizers import Tokenizer

        self.inner = window - 2  # [CLS] and [SEP] take two
        self.step = self.inner - overlap
        if not 0 <= overlap < self.inner:
            msg = f"overlap {overlap}: choose from 0 to {self.inner - 1} for a window of {window}"
            raise ValueError(msg)
        folder = Path(resolve(model))
        options = SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # a spinning pool takes whole CPUs from the gateway on small machines
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: Any = InferenceSession(_weights(folder), options, providers=["CPUExecutionProvider"])
        self._inputs = {node.name for node in self._session.get_inputs()}
        self._tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._first, self._last = self._tokenizer.encode("").ids  # the special tokens around every text
        self._slope, self._intercept = CALIBRATED.get(model, (1.0, 0.0))
        self._worker = ThreadPoolExecutor(1, "injection")  # not a Worker: that would import torch

    async def score(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Return `{"injection": score}` for each text: 0..1, 0 for an empty one."""
        return [{LABEL: _sigmoid(self._slope * top + self._intercept)} for top in await self.logits(texts)]

    async def logits(self, texts: Sequence[str]) -> list[float]:
        """Return the highest logit over each text's windows, uncalibrated; minus infinity for an empty text."""
        tops = []
        for text in texts:
            windows = await self._off_loop(self._windows, text)
            turns = [windows[at : at + BATCH] for at in range(0, len(windows), BATCH)]
            tops.append(max([await self._off_loop(self._run, turn) for turn in turns], default=-math.inf))
        return tops

    async def _off_loop(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *args)

    def _windows(self, text: str) -> list[list[int]]:
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return [[self._first, *ids[at : at + self.inner], self._last] for at in self._starts(len(ids))]

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
        import numpy as np

        tops = []
        for window in windows:
            ids = np.array([window], dtype=np.int64)
            feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
            (logits, *_) = self._session.run(None, {name: feed[name] for name in self._inputs})
            tops.append(float(logits.reshape(-1)[0]))
        return max(tops)


def _weights(folder: Path) -> str:
    for name in FILES:
        if (folder / name).exists():
            return str(folder / name)
    msg = f"{folder}: no model: one of {', '.join(FILES)} is wanted"
    raise FileNotFoundError(msg)


def _sigmoid(x: float) -> float:
    """The logistic function; does not overflow, and is 0 at minus infinity."""
    return 0.5 * (1 + math.tanh(x / 2))
