"""Score how much a prompt needs a stronger model: a small head on the encoder's vector.  Port Complexity.

route -> [LinearComplexity] -> 0..1, which the tiers' thresholds cut. Trained by tools/train_complexity.py.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.models import ModelError, resolve
from app.ports import Vector

HEAD = "head.safetensors"
READ = 6000  # characters the features look at: the score stays under a millisecond

# `[ \t]*`, not `\s*`: over thousands of empty lines that would take quadratic time, on the gateway's event loop.
CODE = re.compile(
    r"```|^[ \t]*(?:def|class|import|from|#include|public|function|SELECT|struct)\b|[;{}][ \t]*$|=>|->|==", re.MULTILINE
)
STEPS = re.compile(r"^[ \t]*(?:[-*•]|\d{1,3}[.)])\s", re.MULTILINE)
SYMBOLS = re.compile(r"[\\^∫∑√≤≥π]")
WORD = re.compile("[a-z]+")
SUBJECTS = (
    "prove theorem lemma integral matrix polynomial derivative modulo",
    "must should exactly least most without ensure each every only not include require requires required step",
    "write implement design create develop build code program script refactor debug optimize optimise",
    "why how explain compare analyze analyse evaluate derive calculate compute solve",
)
MATH, DEMANDS, MAKE, WHY = (frozenset(words.split()) for words in SUBJECTS)


def features(text: str) -> NDArray[np.float32]:
    """What of a prompt's shape the vector does not tell: float32 (12,), each about 0..3. Reads READ characters."""
    read = text[:READ]
    size = max(len(read), 1)
    words = Counter(WORD.findall(read.lower()))
    maths, demands, make, why = (sum(words[word] for word in subject) for subject in (MATH, DEMANDS, MAKE, WHY))
    counts = (
        len(CODE.findall(read)),
        len(STEPS.findall(read)),
        maths + len(SYMBOLS.findall(read)),
        demands,
        make,
        why,
        read.count("\n"),
        read.count("?"),
    )
    return np.array(
        [
            math.log10(1 + len(text)),
            math.log10(1 + len(text)) ** 2 / 5,
            *map(math.log1p, counts),
            10 * sum(map(read.count, "0123456789")) / size,
            1 - len(read.encode("ascii", "ignore")) / size,
        ],
        np.float32,
    )


class LinearComplexity:
    """A logistic head over the vector and `features`, calibrated: about the chance that a small model fails.

    model: a source of a folder with head.safetensors and head.json (`suggested`: thresholds for `medium`, `large`).
    Raises ModelError when it is not there or was trained for another encoder's width.
    """

    def __init__(self, model: str = "bundled:complexity-head") -> None:
        from safetensors.numpy import load_file

        folder = Path(resolve(model))
        self._head = load_file(folder / HEAD)
        self.about = json.loads((folder / "head.json").read_text())
        self.dim = self._head["vector"].shape[0]

    async def score(self, text: str, vector: Vector) -> float:
        """Return 0..1. vector: float32 (dim,), unit length, by the encoder that the head was trained with."""
        if vector.shape != (self.dim,):
            message = f"the complexity head reads {self.dim} numbers, the encoder gives {vector.shape}: retrain it"
            raise ModelError(message)
        if not text.strip():
            return 0.0
        head = self._head
        shape = (features(text) - head["mean"]) / head["scale"]
        # Rare shapes must not decide alone: nothing in training lies further out.
        logit = vector @ head["vector"] + np.clip(shape, -3, 3) @ head["shape"] + head["bias"][0]
        return 1 / (1 + math.exp(-float(logit)))
