"""Run a MiniLM that `app/models/convert.py` has merged with one of our adapters, by ONNX Runtime.

The judges -> [MiniLM] -> logits. Loads neither torch nor transformers: a replica is small and starts at once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.models.catalog import resolve

T = TypeVar("T")


class MiniLM:
    """One model in one thread of its own. threads: of one inference (a second one is often slower).

    model: a source (`bundled:`, `path:`) of a folder as recipes.adapted writes it. about: its adapter.json.
    Raises ModelError when it is not there.
    """

    def __init__(self, model: str, threads: int = 1) -> None:
        from onnxruntime import InferenceSession, SessionOptions  # heavy
        from tokenizers import Tokenizer

        self.folder = Path(resolve(model))
        self.about: dict[str, Any] = json.loads((self.folder / "adapter.json").read_text())
        options = SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # a spinning pool takes whole CPUs from the gateway on small machines
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: Any = InferenceSession(str(self.folder / "model.onnx"), options, ["CPUExecutionProvider"])
        self.tokenizer: Any = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self._worker = ThreadPoolExecutor(1, "minilm")

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """Call `work(*args)`, which may call `logits`, in the model's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *args)

    def logits(self, ids: Sequence[int], types: Sequence[int] | None = None) -> NDArray[np.float32]:
        """Of one input, special tokens included: float32 (labels,), of a `token` model (len(ids), labels).

        types: token_type_ids, for a pair of texts. One input at a time: in int8 activations are scaled by the
        whole batch, so that neighbours would change a score, and a batch is hardly faster on a CPU.
        """
        row = np.array([ids], dtype=np.int64)
        kinds = np.zeros_like(row) if types is None else np.array([types], dtype=np.int64)
        feed = {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": kinds}
        return np.asarray(self.outputs(feed)[0], np.float32)

    def outputs(self, feed: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """What the model gives for its inputs by name."""
        (found,) = self._session.run(None, dict(feed))
        return np.asarray(found, np.float32)
