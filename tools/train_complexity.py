"""Train the small head that tells how much a prompt needs a stronger model, and measure it.

    python -m tools.train_complexity routing_train.jsonl hardness_train.jsonl app/weights/complexity-head \
        --chat injection_tune.jsonl

Two kinds of outcome teach it: questions that a weak and a strong model answered ({"source", "prompt", "weak_correct",
"strong_correct"}), and prompts told apart as hard or ordinary ({"prompt", "kind"}); `--chat` adds everyday prompts
({"text", "source", "attack"}: those of CHAT that are no attack). Retrain it on a tenant's own outcomes by giving files
of these shapes.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from app.models.catalog import resolve
from app.models.encoder import MiniLMEncoder
from app.routing.complexity import HEAD, Tensors, questions_raw
from app.routing.features import NAMES
from evals.complexity_fit import OPEN, Read, questions, scaled, scaling
from evals.complexity_splits import SHARES, recovered, splits
from evals.seen import Seen
from tools.pin import pin

Floats = NDArray[np.float32]
Row = dict[str, Any]
CHAT = ("Ultrachat_200k", "Alpaca")
TIERS = (0.9, 0.07, 0.03)  # of the traffic to small, medium, large
HARD_SHARE = 0.1  # of the traffic that the thresholds are for; the score of an open prompt is calibrated for it
FOLDS = 5
ORDINARY = 4.0  # weight of the ordinary prompts beside 1 of every source of `--chat`: a source's manner must not decide
STRENGTH = 0.03  # inverse of the regularization; VECTOR brings a unit vector to the size of the features
VECTOR = 10.0


@dataclass(frozen=True)
class Trained:
    """What is written: head.safetensors, head.json, seen.bin."""

    tensors: Tensors
    about: dict[str, Any]
    seen: Seen


def rows(path: Path) -> list[Row]:
    """Read one JSON object a line."""
    with path.open() as file:
        return [json.loads(line) for line in file if line.strip()]


def embed(prompts: list[str], store: Path | None, threads: int) -> Floats:
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
        if at % 1024 == 0:
            print(f"embedded {at} of {len(prompts)}", flush=True)
    if store:
        store.mkdir(parents=True, exist_ok=True)
        np.save(store / name, found)
    return found


def by_subject(read: Read, gain: Floats, sources: list[str], by: Tensors) -> dict[str, list[float]]:
    """Gap recovered on subjects that were left out of training: the mean of the splits, and prompt length's."""
    found: dict[str, list[list[float]]] = {"head": [], "length": []}
    for train, test in splits(sources, know_word_problems=True):
        part = read.only(test)
        head = questions(read.only(train), gain[train], by)
        rivals = {"head": _questioned(part, by, head), "length": part.shapes[:, NAMES.index("length: all")]}
        for rival, score in rivals.items():
            found[rival].append([recovered(score, gain[test], share) for share in SHARES])
    return {rival: [round(float(x), 4) for x in np.mean(table, axis=0)] for rival, table in found.items()}


def demanding(read: Read, hard: NDArray[np.bool_], group: list[str], by: Tensors) -> tuple[Tensors, Floats]:
    """The part for open prompts, and every row's score by a head that was not trained on it.

    Hard prompts weigh as much as all others; then the constant is moved to where HARD_SHARE of the traffic is hard.
    Word problems stay in: in chat most of them are set as hard.
    """
    x = np.concatenate([scaled(read.shapes, by), read.vectors * VECTOR], axis=1)
    weight = np.zeros(len(hard))
    others = sorted({name for name, is_hard in zip(group, hard, strict=True) if not is_hard})
    for name in others:
        of = np.array([one == name for one in group]) & ~hard
        weight[of] = (ORDINARY if name == "ordinary" else 1.0) / of.sum()
    weight *= len(hard) / 2 / weight.sum()
    weight[hard] = len(hard) / 2 / hard.sum()
    fold = np.random.default_rng(0).integers(0, FOLDS, len(hard))
    raw = np.zeros(len(hard))
    for number in range(FOLDS):
        at = fold == number
        raw[at] = _logistic(x[~at], hard[~at], weight[~at]).decision_function(x[at])
    line = LogisticRegression(C=100.0).fit(raw[:, None], hard, sample_weight=weight)
    slope = float(line.coef_[0, 0])
    offset = float(line.intercept_[0]) + float(np.log(HARD_SHARE / (1 - HARD_SHARE)))
    fit = _logistic(x, hard, weight)
    weights = (fit.coef_[0] * slope).astype(np.float32)
    features = read.shapes.shape[1]
    tensors: Tensors = {
        "open_linear": weights[:features],
        "open_vector": weights[features:] * np.float32(VECTOR),
        "open_bias": np.array([fit.intercept_[0] * slope + offset], np.float32),
    }
    return tensors, (1 / (1 + np.exp(-(slope * raw + offset)))).astype(np.float32)


def _logistic(x: Floats, hard: NDArray[np.bool_], weight: NDArray[np.float64]) -> LogisticRegression:
    return LogisticRegression(C=STRENGTH, max_iter=2000).fit(x, hard, sample_weight=weight)


def told_apart(read: Read, hard: NDArray[np.bool_], group: list[str], by: Tensors) -> dict[str, float]:
    """AUC of hard prompts against each group by folds; against a source of `--chat` also where none of it was known."""
    name = np.array(group)
    found = {}
    for other in sorted(map(str, set(name[~hard]))):
        keep = np.asarray(hard | (name == other))
        found[other] = _auc(hard[keep], demanding(read, hard, group, by)[1][keep])
        if other != "ordinary":
            known = np.asarray(name != other)
            tensors, scores = demanding(read.only(known), hard[known], list(name[known]), by)
            rest = read.only(~known)
            logit = scaled(rest.shapes, by) @ tensors["open_linear"] + rest.vectors @ tensors["open_vector"]
            raw = np.concatenate([np.log(scores / (1 - scores))[hard[known]], logit + tensors["open_bias"]])
            truth = np.arange(len(raw)) < hard.sum()
            found[f"{other}, a source not trained on"] = _auc(truth, raw)
    return found


def _auc(truth: NDArray[np.bool_], score: Floats) -> float:
    return round(float(roc_auc_score(truth, score)), 4)


def thresholds(scores: Floats, hard: NDArray[np.bool_], group: list[str]) -> dict[str, float]:
    """Where to cut for TIERS of a traffic with HARD_SHARE hard prompts, the rest of every group alike."""
    others = sorted({name for name, is_hard in zip(group, hard, strict=True) if not is_hard})
    weight = np.where(hard, HARD_SHARE / hard.sum(), 0.0)
    for name in others:
        of = np.array([one == name for one in group]) & ~hard
        weight[of] = (1 - HARD_SHARE) / len(others) / of.sum()
    order = np.argsort(scores)
    total = np.cumsum(weight[order])
    places = {"medium": TIERS[0], "large": 1 - TIERS[2]}
    return {tier: round(float(scores[order][np.searchsorted(total, at)]), 4) for tier, at in places.items()}


def quantiles(scores: Floats) -> dict[str, float]:
    """How the scores are spread: for those who set thresholds."""
    return {f"{p:.0%}": round(float(np.quantile(scores, p)), 4) for p in (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)}


def train(outcomes: list[Row], hardness: list[Row], chat: list[Row], store: Path | None, threads: int) -> Trained:
    """Fit both parts on all rows, and measure them on folds and splits."""
    asked = Read.of(prompts := [row["prompt"] for row in outcomes], embed(prompts, store, threads))
    told = [row["prompt"] for row in hardness]
    told_read = Read.of(told, embed(told, store, threads))
    everyday = [row["text"] for row in chat]
    opened = told_read.and_(Read.of(everyday, embed(everyday, store, threads))) if everyday else told_read
    gain = np.array([float(row["strong_correct"]) - float(row["weak_correct"]) for row in outcomes], np.float32)
    hard = np.array([row["kind"] == "hard" for row in hardness] + [False] * len(chat))
    group = [row["kind"] for row in hardness] + [row["source"] for row in chat]

    by = scaling(np.concatenate([asked.shapes, opened.shapes]))
    head = questions(asked, gain, by)
    more, scores = demanding(opened, hard, group, by)
    # A word problem set as a prompt is scored as the question that it is.
    closed = opened.forms != OPEN
    scores[closed] = np.clip(_questioned(opened.only(closed), by, head), 0, 1)
    kinds = {kind: scores[np.array([one == kind for one in group])] for kind in sorted(set(group))}
    kinds["questions"] = np.clip(_questioned(asked, by, head), 0, 1)
    about = {
        "encoder": Path(resolve("bundled:minilm-l6-v2")).parent.name,
        "features": NAMES,
        "suggested": thresholds(scores, hard, group),
        "suggested_for": f"{TIERS} of traffic with {HARD_SHARE:.0%} hard prompts, to small, medium, large",
        "quantiles": {kind: quantiles(part) for kind, part in kinds.items()},
        "measured": {
            "gap recovered on unseen subjects": {
                "shares": SHARES,
                **by_subject(asked, gain, [row["source"] for row in outcomes], by),
            },
            "hard prompts, AUC": told_apart(opened, hard, group, by),
        },
    }
    return Trained({**by, **head, **more}, about, Seen.of([*prompts, *told, *everyday]))


def _questioned(read: Read, by: Tensors, head: Tensors) -> Floats:
    return questions_raw(read.forms, scaled(read.shapes, by), read.shapes, read.vectors, head)


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outcomes", type=Path)
    parser.add_argument("hardness", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--chat", type=Path, help="everyday prompts, ordinary by source")
    parser.add_argument("--vectors", type=Path, help="a folder to keep embeddings in")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()

    chat = [row for row in rows(args.chat) if row["source"] in CHAT and not row["attack"]] if args.chat else []
    trained = train(rows(args.outcomes), rows(args.hardness), chat, args.vectors, args.threads)
    print(json.dumps({key: trained.about[key] for key in ("measured", "suggested", "quantiles")}, indent=1))
    args.out.mkdir(parents=True, exist_ok=True)
    save_file({key: np.ascontiguousarray(value) for key, value in trained.tensors.items()}, args.out / HEAD)
    (args.out / "head.json").write_text(json.dumps(trained.about, indent=2) + "\n")
    trained.seen.save(args.out)
    pin(args.out)


if __name__ == "__main__":
    main()
