"""Fit boosted trees to what is known of question pairs without training: strings, and MiniLM's nearness of tokens.

tools/train_same.py network -> [this] -> trees.safetensors -> app/models/trees.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from sklearn.ensemble import HistGradientBoostingClassifier

from app.models.trees import Trees


def fit(values: NDArray[np.float32], same: NDArray[np.bool_], path: Path) -> None:
    """Write the trees. values: (pairs, features); same: (pairs,). Checks that what was written says the same."""
    model = HistGradientBoostingClassifier(max_iter=300, learning_rate=0.05, l2_regularization=1.0, random_state=7)
    model.fit(values, same)
    trees = [stage[0].nodes for stage in model._predictors]  # noqa: SLF001 - there is no other way to read them
    shape = (len(trees), max(map(len, trees)))
    parts = {name: np.zeros(shape, kind) for name, kind in KINDS.items()}
    for n, nodes in enumerate(trees):
        leaf, here = nodes["is_leaf"].astype(bool), np.arange(len(nodes))
        for name, values_of in (
            ("feature", np.where(leaf, 0, nodes["feature_idx"])),
            ("threshold", np.where(leaf, 0, nodes["num_threshold"])),
            ("left", np.where(leaf, here, nodes["left"])),  # a leaf leads to itself
            ("right", np.where(leaf, here, nodes["right"])),
            ("value", np.where(leaf, nodes["value"], 0)),
        ):
            parts[name][n, : len(nodes)] = values_of
    parts["depth"] = np.array([max(int(nodes["depth"].max()) for nodes in trees)], np.int16)
    parts["base"] = np.float32(model._baseline_prediction).reshape(-1)[:1]  # noqa: SLF001
    save_file(parts, path)
    written = Trees(path)
    ours, theirs = [written(row) for row in values[:200]], model.decision_function(values[:200])
    if not np.allclose(ours, theirs, atol=0.01):
        message = "the written trees do not say what the fitted ones do: has scikit-learn changed its nodes?"
        raise AssertionError(message)


KINDS = {"feature": np.int16, "threshold": np.float32, "left": np.int16, "right": np.int16, "value": np.float32}
