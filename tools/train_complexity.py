"""Train the small head that tells how much a prompt needs a stronger model, and measure it.

    python -m tools.train_complexity routing_train.jsonl hardness_train.jsonl app/weights/complexity-head

Two kinds of outcome teach it: benchmark questions that a weak and a strong model answered ({"prompt", "weak_correct",
"strong_correct"}), and prompts of real chat told apart as hard or ordinary ({"prompt", "kind"}). Rows are held out by
hash. Retrain it on a tenant's own outcomes by giving files of these two shapes.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from app.adapters.complexity import HEAD, features
from app.adapters.encoder import MiniLMEncoder
from app.models import resolve
from tools.pin import held_out, pin

Floats = NDArray[np.float32]
OUTCOMES_WEIGHT = 0.7  # of the two sets' teaching; like the strength, chosen by folds within the training part
SHARES = (0.9, 0.07, 0.03)  # small, medium, large
HARD_SHARE = 0.1  # of the traffic that the suggested thresholds are for


@dataclass(frozen=True)
class Rows:
    """Prompts of one file, and what is known of each. hard: 1 or 0. gain: what the strong model adds, -1..1."""

    prompts: list[str]
    hard: Floats
    gain: Floats
    weak: Floats
    held: NDArray[np.bool_]


def read(path: Path, share: float) -> Rows:
    """Read either shape. For outcomes `hard` is that the weak model failed and the strong did not."""
    with path.open() as file:
        rows = [json.loads(line) for line in file]
    if "kind" in rows[0]:
        weak = np.array([row["kind"] != "hard" for row in rows], np.float32)
        strong = np.ones_like(weak)
    else:
        weak = np.array([row["weak_correct"] for row in rows], np.float32)
        strong = np.array([row["strong_correct"] for row in rows], np.float32)
    held = np.array([held_out(row["prompt"], share) for row in rows])
    gain = strong - weak
    return Rows([row["prompt"] for row in rows], (gain > 0).astype(np.float32), gain, weak, held)


def vectors(prompts: list[str], store: Path | None, threads: int) -> Floats:
    """Embed as the gateway does, (prompts, dim). store: a folder that keeps vectors between runs."""
    name = hashlib.sha256("\0".join(prompts).encode()).hexdigest()[:16] + ".npy"
    if store and (store / name).exists():
        return np.asarray(np.load(store / name), np.float32)
    encoder = MiniLMEncoder(threads=threads)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    found = np.zeros((len(prompts), encoder.dim), np.float32)
    for at in range(0, len(order), 64):
        part = order[at : at + 64]
        found[part] = asyncio.run(encoder.encode([prompts[i] for i in part]))
        if at % 2048 == 0:
            print(f"embedded {at} of {len(prompts)}", flush=True)
    if store:
        store.mkdir(parents=True, exist_ok=True)
        np.save(store / name, found)
    return found


def recovered(score: Floats, rows: Rows, share: float) -> float:
    """Of what the strong model adds on these rows, the part kept when only the top `share` goes to it."""
    top = np.argsort(-score)[: round(share * len(score))]
    return float(rows.gain[top].sum() / rows.gain.sum())


def table(name: str, score: Floats, rows: Rows) -> dict[str, float]:
    """Print and return one line: gap recovered at some shares, its mean over all shares, AUC of `hard`."""
    figures = {f"{share:.0%}": recovered(score, rows, share) for share in (0.1, 0.2, 0.3, 0.5)}
    figures["mean"] = float(np.mean([recovered(score, rows, share) for share in np.linspace(0, 1, 101)]))
    figures["auc"] = float(roc_auc_score(rows.hard, score))
    print(f"  {name:8}", " ".join(f"{key} {value:.3f}" for key, value in figures.items()))
    return {key: round(value, 4) for key, value in figures.items()}


def only(rows: Rows, keep: NDArray[np.bool_]) -> Rows:
    """Those rows alone."""
    prompts = [prompt for prompt, kept in zip(rows.prompts, keep, strict=True) if kept]
    return Rows(prompts, rows.hard[keep], rows.gain[keep], rows.weak[keep], rows.held[keep])


def measure(name: str, rows: Rows, score: Floats) -> dict[str, dict[str, float]]:
    """Set the head beside prompt length and chance, on the held-out rows that it scored."""
    held = only(rows, rows.held)
    print(f"{name}: {len(held.prompts)} held out; gap recovered by the share sent to the strong model")
    others = {
        "length": np.array([len(prompt) for prompt in held.prompts], np.float32),
        "random": np.random.default_rng(0).random(len(score)).astype(np.float32),
    }
    return {rival: table(rival, by, held) for rival, by in {"head": score, **others}.items()}


def quantile(score: Floats, weight: Floats, at: float) -> float:
    """The weighted quantile: `at` of the weight lies at or below it."""
    order = np.argsort(score)
    total = np.cumsum(weight[order]) / weight.sum()
    return float(score[order][np.searchsorted(total, at)])


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outcomes", type=Path)
    parser.add_argument("hardness", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--held-out", type=float, default=0.2)
    parser.add_argument("--strength", type=float, default=0.3, help="inverse of the regularization")
    parser.add_argument("--vectors", type=Path, help="a folder to keep embeddings in")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()

    sets = [read(args.outcomes, args.held_out), read(args.hardness, args.held_out)]
    embedded = [vectors(rows.prompts, args.vectors, args.threads) for rows in sets]
    shapes = [np.stack([features(prompt) for prompt in rows.prompts]) for rows in sets]
    kept = [~rows.held for rows in sets]
    seen = np.concatenate([shape[keep] for shape, keep in zip(shapes, kept, strict=True)])
    mean, scale = seen.mean(0), seen.std(0) + 1e-6

    def inputs(part: int, keep: NDArray[np.bool_]) -> Floats:
        # The vector's numbers are small (unit length): scaled to the features' size, one penalty fits both.
        standard = np.clip((shapes[part][keep] - mean) / scale, -3, 3)
        return np.asarray(np.concatenate([embedded[part][keep] * 20, standard], axis=1), np.float32)

    # Taught is that the weak model fails, also where the strong one does: a wider signal than what the strong one adds.
    x = np.concatenate([inputs(part, kept[part]) for part in (0, 1)])
    y = np.concatenate([1 - rows.weak[keep] for rows, keep in zip(sets, kept, strict=True)])
    parts = zip((OUTCOMES_WEIGHT, 1 - OUTCOMES_WEIGHT), kept, strict=True)
    weight = np.concatenate([np.full(keep.sum(), len(y) * part / keep.sum()) for part, keep in parts])
    fit = LogisticRegression(C=args.strength / len(y), max_iter=2000).fit(x, y, sample_weight=weight)
    raw = [fit.decision_function(inputs(part, sets[part].held)) for part in (0, 1)]
    both = np.concatenate(raw)
    truth = np.concatenate([1 - rows.weak[rows.held] for rows in sets])
    balance = np.concatenate([np.full(len(part), 1 / len(part)) for part in raw])
    line = LogisticRegression(C=100.0).fit(both[:, None], truth, sample_weight=balance * len(both) / 2)
    slope, offset = float(line.coef_[0, 0]), float(line.intercept_[0])
    scores = [(1 / (1 + np.exp(-(slope * part + offset)))).astype(np.float32) for part in raw]

    measured = {
        name: measure(name, *pair)
        for name, pair in zip(("outcomes", "hardness"), zip(sets, scores, strict=True), strict=True)
    }

    hard = sets[1].hard[sets[1].held]
    traffic = np.where(hard > 0, HARD_SHARE / hard.sum(), (1 - HARD_SHARE) / (1 - hard).sum()).astype(np.float32)
    suggested = {
        "medium": round(quantile(scores[1], traffic, SHARES[0]), 4),
        "large": round(quantile(scores[1], traffic, 1 - SHARES[2]), 4),
    }
    points = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.93, 0.95, 0.97, 0.99)
    kinds = {"ordinary": scores[1][hard == 0], "hard": scores[1][hard == 1], "benchmark": scores[0]}
    quantiles = {kind: {f"{p:.0%}": round(float(np.quantile(s, p)), 4) for p in points} for kind, s in kinds.items()}
    print("suggested", suggested)
    for kind, row in quantiles.items():
        print(f"{kind:10}", row)

    width = embedded[0].shape[1]
    coefficients = fit.coef_[0].astype(np.float32) * slope
    args.out.mkdir(parents=True, exist_ok=True)
    tensors = {
        "vector": coefficients[:width] * 20,
        "shape": coefficients[width:],
        "mean": mean.astype(np.float32),
        "scale": scale.astype(np.float32),
        "bias": np.array([fit.intercept_[0] * slope + offset], np.float32),
    }
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, args.out / HEAD)
    about = {
        "encoder": Path(resolve("bundled:minilm-l6-v2")).parent.name,
        "suggested": suggested,
        "suggested_for": f"{SHARES} of traffic with {HARD_SHARE:.0%} hard prompts, to small, medium, large",
        "quantiles": quantiles,
        "measured": measured,
    }
    (args.out / "head.json").write_text(json.dumps(about, indent=2) + "\n")
    pin(args.out)


if __name__ == "__main__":
    main()
