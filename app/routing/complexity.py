"""Score how much a prompt needs a stronger model: what its shape and its vector tell.  Port Complexity.

route -> [LinearComplexity] -> 0..1, which the tiers' thresholds cut. Trained by tools/train_complexity.py.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.ports import Vector
from app.models.catalog import resolve
from app.models.errors import ModelError
from app.routing.features import FORMS, NAMES, shape

HEAD = "head.safetensors"
CLIP = 3.0  # standard deviations: hardly anything in training lies further out
OPEN = FORMS.index("open")
SHOWN = 5  # groups of features that `explain` names

Floats = NDArray[np.float32]
Tensors = dict[str, NDArray[Any]]


def questions_raw(forms: NDArray[np.int64], z: Floats, shapes: Floats, vectors: Floats, head: Tensors) -> Floats:
    """What the strong model is expected to add on each question, about -1..1: (n,). z: the shapes, scaled."""
    linear = np.einsum("nd,nd->n", z, head["linear"][(forms != 0).astype(int)])
    over = shapes[:, head["step_feature"]] > head["step_at"]
    steps = np.where(over, head["step_high"], head["step_low"]).sum(axis=1)
    return np.asarray(linear + steps + vectors @ head["vector"] + head["bias"][0], np.float32)


class LinearComplexity:
    """One score in one unit, about the chance that only a stronger model does; of two additive parts, by form.

    Questions with options and word problems: what a strong model was seen to add on such. Anything else: how much it
    looks like what people set as a hard task. model: a source of a folder with head.safetensors and head.json
    (`suggested`: thresholds for `medium`, `large`). Raises ModelError when it is not there or was trained for another
    encoder's width or for other features.
    """

    def __init__(self, model: str = "bundled:complexity-head") -> None:
        from safetensors.numpy import load_file

        folder = Path(resolve(model))
        self._head: Tensors = load_file(folder / HEAD)
        self.about = json.loads((folder / "head.json").read_text())
        if self._head["mean"].shape != (len(NAMES),) or tuple(self.about["features"]) != NAMES:
            message = f"the complexity head in {folder} was trained for other features: train it with this version"
            raise ModelError(message)
        self.dim = self._head["vector"].shape[0]

    async def score(self, text: str, vector: Vector) -> float:
        """Return 0..1. vector: float32 (dim,), unit length, by the encoder that the head was trained with."""
        self._check(vector)
        if not text.strip():
            return 0.0
        form, numbers = shape(text)
        return self.of(FORMS.index(form), numbers, vector)

    def of(self, form: int, numbers: Floats, vector: Vector) -> float:
        """The score of a prompt that `shape` has read already."""
        head, z = self._head, self._scaled(numbers)
        if form == OPEN:
            logit = z @ head["open_linear"] + vector @ head["open_vector"] + head["open_bias"][0]
            return 1 / (1 + math.exp(-max(-50.0, min(50.0, float(logit)))))
        raw = questions_raw(np.array([form]), z[None], numbers[None], vector[None], head)
        return min(1.0, max(0.0, float(raw[0])))

    def explain(self, text: str, vector: Vector) -> dict[str, Any]:
        """Why: the form, and by group of features how far it moved the score, the largest first.

        For `open` in logits, else in the score's unit. Holds no text of the caller.
        """
        self._check(vector)
        form, numbers = shape(text)
        head, z = self._head, self._scaled(numbers)
        if form == "open":
            single, topic = z * head["open_linear"], float(vector @ head["open_vector"])
        else:
            single, topic = z * head["linear"][int(form != "exam")], float(vector @ head["vector"])
            over = numbers[head["step_feature"]] > head["step_at"]
            single = single + np.bincount(
                head["step_feature"], np.where(over, head["step_high"], head["step_low"]), len(NAMES)
            )
        groups = {"topic": topic}
        for name, moved in zip(NAMES, single, strict=True):
            group = name.split(":")[0]
            groups[group] = groups.get(group, 0.0) + float(moved)
        top = sorted(groups.items(), key=lambda item: -abs(item[1]))[:SHOWN]
        return {"form": form, "why": {group: round(moved, 3) for group, moved in top}}

    def _scaled(self, numbers: Floats) -> Floats:
        return np.asarray(np.clip((numbers - self._head["mean"]) / self._head["scale"], -CLIP, CLIP), np.float32)

    def _check(self, vector: Vector) -> None:
        if vector.shape != (self.dim,):
            message = f"the complexity head reads {self.dim} numbers, the encoder gives {vector.shape}: retrain it"
            raise ModelError(message)
