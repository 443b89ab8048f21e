"""Fit the two parts of the complexity head: what a stronger model adds on questions, and how demanding a prompt is.

train_complexity.py, evals/complexity.py -> [questions, prompts] -> tensors that app.routing.complexity reads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.routing.complexity import CLIP, Tensors, questions_raw
from app.routing.features import FORMS, shape

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

EXAM, SUM, OPEN = range(len(FORMS))
# Chosen on splits by subject (see evals/complexity.py): broad optima, each may be halved or doubled.
RIDGE = 1500.0
RIDGE_VECTOR = 30.0
VECTOR_SHARE = 0.5  # of the vector's part, beside 1 of the linear part and 1 of the steps
STEPS, RATE, LEAF, SHRINK, BINS = 80, 0.05, 100, 10.0, 64


@dataclass(frozen=True)
class Read:
    """Prompts as the head sees them. forms: (n,) index into FORMS. shapes: (n, features). vectors: (n, dim)."""

    forms: NDArray[np.int64]
    shapes: Floats
    vectors: Floats

    @classmethod
    def of(cls, prompts: list[str], vectors: Floats) -> Read:
        """Read the prompts' shapes."""
        found = [shape(prompt) for prompt in prompts]
        forms = np.array([FORMS.index(form) for form, _ in found], np.int64)
        return cls(forms, np.stack([numbers for _, numbers in found]), vectors)

    def only(self, keep: NDArray[np.int64] | Mask) -> Read:
        """Those rows alone."""
        return Read(self.forms[keep], self.shapes[keep], self.vectors[keep])

    def and_(self, other: Read) -> Read:
        """The rows of both."""
        return Read(
            np.concatenate((self.forms, other.forms)),
            np.concatenate((self.shapes, other.shapes)),
            np.concatenate((self.vectors, other.vectors)),
        )


def scaling(shapes: Floats) -> Tensors:
    """What brings features to one size. Rare shapes must not decide alone, so that they are clipped as well."""
    return {"mean": shapes.mean(0), "scale": shapes.std(0) + 1e-6}


def scaled(shapes: Floats, by: Tensors) -> Floats:
    """Features of about -CLIP..CLIP."""
    return np.asarray(np.clip((shapes - by["mean"]) / by["scale"], -CLIP, CLIP), np.float32)


def questions(read: Read, gain: Floats, by: Tensors) -> Tensors:
    """Predict what the strong model adds, `gain` (-1..1): linear by form, steps over single features, the vector.

    A form's weights are shared ones plus its own, both drawn towards 0: a form that was not seen takes the shared.
    The three parts are fitted each for itself, brought to one spread and added up: their errors are not the same.
    """
    z = scaled(read.shapes, by)
    exam, others = (read.forms == EXAM)[:, None], (read.forms != EXAM)[:, None]
    weights, bias = _ridge(np.concatenate([z, z * exam, z * others], axis=1), gain, RIDGE)
    shared, of_exam, of_sum = np.split(weights, 3)
    found: Tensors = {"linear": np.stack([shared + of_exam, shared + of_sum]), **_steps(read.shapes, gain)}
    found["vector"], vector_bias = _ridge(read.vectors, gain, RIDGE_VECTOR)
    linear = np.einsum("nd,nd->n", z, found["linear"][(read.forms != EXAM).astype(int)]) + bias
    stepped = steps_of(read.shapes, found)
    by_vector = read.vectors @ found["vector"] + vector_bias
    for name, part, share in (
        ("linear", linear, 1.0),
        ("step_low", stepped, 1.0),
        ("step_high", stepped, 1.0),
        ("vector", by_vector, VECTOR_SHARE),
    ):
        found[name] = found[name] * (share / max(float(part.std()), 1e-9))
    found["bias"] = np.zeros(1, np.float32)
    # Back to the unit of gain: the line through sum and gain.
    raw = questions_raw(read.forms, z, read.shapes, read.vectors, found)
    slope = float(np.cov(raw, gain)[0, 1] / raw.var())
    for name in ("linear", "step_low", "step_high", "vector"):
        found[name] = (found[name] * slope).astype(np.float32)
    found["bias"] = np.array([gain.mean() - slope * raw.mean()], np.float32)
    return found


def steps_of(shapes: Floats, tensors: Tensors) -> Floats:
    """The sum of the steps of every row."""
    over = shapes[:, tensors["step_feature"]] > tensors["step_at"]
    return np.asarray(np.where(over, tensors["step_high"], tensors["step_low"]).sum(axis=1), np.float32)


def _ridge(x: Floats, y: Floats, strength: float) -> tuple[Floats, float]:
    """Linear regression, weights drawn towards 0: (columns,), and the constant."""
    middle, level = x.mean(0), float(y.mean())
    centred = (x - middle).astype(np.float64)
    square = centred.T @ centred
    square[np.diag_indices_from(square)] += strength
    weights = np.linalg.solve(square, centred.T @ (y - level)).astype(np.float32)
    return weights, level - float(middle @ weights)


def _steps(shapes: Floats, gain: Floats) -> Tensors:
    """Boosted stumps, least squares: `step_low` where `step_feature` is at most `step_at`, else `step_high`."""
    edges = [np.unique(np.quantile(column, np.linspace(0, 1, BINS + 1)[1:-1])) for column in shapes.T]
    bins = [np.searchsorted(edge, column, side="left") for edge, column in zip(edges, shapes.T, strict=True)]
    counts = [
        np.cumsum(np.bincount(column, minlength=len(edge) + 1))[:-1] for edge, column in zip(edges, bins, strict=True)
    ]
    n, rest = len(gain), (gain - gain.mean()).astype(np.float64)
    rows: list[tuple[int, float, float, float]] = []
    for _ in range(STEPS):
        total, best = rest.sum(), (0.0, 0, 0, 0.0, 0.0)
        for j, (edge, column, low) in enumerate(zip(edges, bins, counts, strict=True)):
            sums = np.cumsum(np.bincount(column, rest, minlength=len(edge) + 1))[:-1]
            worth = sums**2 / (low + SHRINK) + (total - sums) ** 2 / (n - low + SHRINK)
            worth[(low < LEAF) | (n - low < LEAF)] = 0
            if len(worth) and worth.max() > best[0]:
                at = int(worth.argmax())
                down, up = sums[at] / (low[at] + SHRINK), (total - sums[at]) / (n - low[at] + SHRINK)
                best = (float(worth[at]), j, at, RATE * down, RATE * up)
        if best[0] <= 0:
            break
        _, j, at, down, up = best
        rest -= np.where(bins[j] <= at, down, up)
        rows.append((j, float(edges[j][at]), down, up))
    feature, at_, low_, high = (np.array(column) for column in zip(*rows, strict=True))
    return {
        "step_feature": feature.astype(np.int64),
        "step_at": at_.astype(np.float32),
        "step_low": low_.astype(np.float32),
        "step_high": high.astype(np.float32),
    }
