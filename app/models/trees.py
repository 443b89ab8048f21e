"""Evaluate boosted trees from plain arrays: no pickle, and no scikit-learn in a replica.

tools/same_trees.py fits and writes them -> [Trees] -> app/cache/paraphrase/judge.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Trees:
    """A sum of binary decision trees. All trees are walked at once, a step a level.

    path: a safetensors file of `feature`, `left`, `right` (int16), `threshold`, `value` (float32), each (trees, nodes);
    a leaf's children are itself. `depth` (int16, (1,)) is the deepest one's; `base` (float32, (1,)) is added.
    """

    def __init__(self, path: Path) -> None:
        from safetensors.numpy import load_file

        self._parts: dict[str, NDArray[Any]] = load_file(path)
        self._every = np.arange(len(self._parts["feature"]))
        self._depth = int(self._parts["depth"][0])

    def __call__(self, values: NDArray[np.float32]) -> float:
        """The sum of the leaves that one row of features, (features,), reaches."""
        parts, every = self._parts, self._every
        at = np.zeros(len(every), np.int64)
        for _ in range(self._depth):
            over = values[parts["feature"][every, at]] > parts["threshold"][every, at]
            at = np.where(over, parts["right"][every, at], parts["left"][every, at])
        return float(parts["value"][every, at].sum() + parts["base"][0])
