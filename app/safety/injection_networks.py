"""The networks that tell an attack from the token ids of one window.  OnnxInjection -> [Pair | Single] -> logit.

Both give a calibrated logit: 0, a score of a half, is where about 1 % of harmless texts lie.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

FILES = ("model_quantized.onnx", "model.onnx")
# slope and intercept of Platt's scaling for stackone-defender by itself; a model without them gives its own sigmoid
CALIBRATED = {"minilm-multihead-v5": (0.2389, -1.7772), "theirs": (0.2389, -1.7772)}


class Single:
    """One sequence classifier whose logit 0 says `injection`: any folder with tokenizer.json and one of FILES."""

    def __init__(self, folder: Path, threads: int) -> None:
        found = [folder / name for name in FILES if (folder / name).exists()]
        if not found:
            msg = f"{folder}: no model: one of {', '.join(FILES)} is wanted"
            raise FileNotFoundError(msg)
        self._session = _session(found[0], threads)
        self._inputs = {node.name for node in self._session.get_inputs()}
        self._slope, self._intercept = CALIBRATED.get(folder.name, (1.0, 0.0))

    def logit(self, ids: Sequence[int]) -> float:
        row = np.array([ids], dtype=np.int64)
        feed = {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
        (logits, *_) = self._session.run(None, {name: feed[name] for name in self._inputs})
        return self._slope * float(logits.reshape(-1)[0]) + self._intercept


class Pair:
    """Stackone-defender and a MiniLM of our own; their two logits are summed with weights.

    Ours knows more kinds of attack; theirs, taught on other data, errs elsewhere. folder: as recipes.injection writes
    it. calibration.json: `ours`, `theirs` (weights) and `intercept`.
    """

    def __init__(self, folder: Path, threads: int) -> None:
        self._ours = _session(folder / "model.onnx", threads)
        self._theirs = Single(folder / "theirs", threads)
        about: dict[str, float] = json.loads((folder / "calibration.json").read_text())
        self._weights = about["ours"], about["theirs"], about["intercept"]

    def logit(self, ids: Sequence[int]) -> float:
        ours, theirs, intercept = self._weights
        first, second = self.logits(ids)
        return ours * first + theirs * second + intercept

    def logits(self, ids: Sequence[int]) -> tuple[float, float]:
        """Ours and theirs, of one window."""
        row = np.array([ids], dtype=np.int64)
        feed = {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
        (found,) = self._ours.run(None, feed)
        return float(found[0, 0]), self._theirs.logit(ids)


def network(folder: Path, threads: int) -> Single | Pair:
    """Which of them lies in `folder`. Raises FileNotFoundError: neither."""
    return Pair(folder, threads) if (folder / "theirs").exists() else Single(folder, threads)


def _session(path: Path, threads: int) -> Any:
    from onnxruntime import InferenceSession, SessionOptions  # heavy

    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # a spinning pool takes whole CPUs from the gateway on small machines
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
