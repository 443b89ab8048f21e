"""How well the cache's second stage tells the same question from one that only looks like it, beside the bare cosine.

make eval -> [same] -> MiniLMParaphraseJudge at its default threshold.
Rows {"a", "b", "duplicate"}, and, of made pairs, `kind`:
`paraphrase`, or what was changed in a contrast (`number`, `name`, ...). Labelled pairs have no kind. Where a folder
has no made pairs, those of evals/short stand in.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.cache.paraphrase.judge import MiniLMParaphraseJudge
from app.models.encoder import MiniLMEncoder
from app.runtime.prepare import prepare
from evals.curves import auc, calibration, precision_recall
from evals.data import FORMATS, Row, rows
from evals.seen import Seen
from evals.table import Curve, Figure, Indices, Latency, Stopwatch, Table, bootstrapped, rate

MODEL, ENCODER = "bundled:same-question", "bundled:minilm-l6-v2"
WEIGHTS = Path(__file__).parents[1] / "app" / "weights" / "same-question"
OWN = Path(__file__).parent / "short" / "same.jsonl"
MOST = 8000  # labelled pairs: more take minutes and say no more
CUSTOMARY = 0.95  # cosine
RECALL = 0.3
FLOORS = {"contrasts hit": 0.02, "paraphrases kept": 0.6, "AUC": 0.85, "recall": 0.3}

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


def measure(data: Path, *, short: bool) -> Table | None:
    """The table of the pairs of `data` that the judge was not trained on; None without any."""
    prepare([MODEL, ENCODER])
    every = list(rows(data, *FORMATS["same"][0]))
    seen = Seen.load(WEIGHTS)
    kept = [row for row in every if short or f"{row['a']}\0{row['b']}" not in seen]
    labelled = _some([row for row in kept if "kind" not in row])
    if not labelled:
        return None
    made = [row for row in kept if "kind" in row] or [row for row in rows(OWN, *FORMATS["same"][0]) if "kind" in row]
    judge, watch = MiniLMParaphraseJudge(MODEL), Stopwatch()
    at = float(judge.about["threshold"])
    same = np.array([row["duplicate"] == 1 for row in labelled], np.bool_)
    found, cosine = asyncio.run(_scores(judge, labelled, watch)), asyncio.run(_cosines(labelled))
    groups = _connected(labelled)
    hit = asyncio.run(_scores(judge, made, Stopwatch())) >= at
    near = asyncio.run(_cosines(made)) >= CUSTOMARY
    return Table(
        "same",
        "a network on MiniLM's tokens, behind rules",
        f"{len(labelled)} labelled pairs, {int(same.sum())} the same; {len(made)} made pairs; {len(every) - len(kept)} "
        "rows left out that it was trained on. Training held out a fifth by connected question; head, calibration and "
        "threshold were fitted on that fifth (same.json has its cross-fitted figures).",
        [
            *_labelled(same, found, at, groups, ""),
            *_made(made, hit, ""),
            *_labelled(same, cosine, CUSTOMARY, groups, "cosine: "),
            *_made(made, near, "cosine: ", kinds=False),
        ],
        {"same": at, "cosine": CUSTOMARY},
        () if short else _latency(judge, watch),
        [
            *(precision_recall(name, same, scores) for name, scores in (("judge", found), ("cosine", cosine))),
            *(_errors(name, same, scores) for name, scores in (("judge", found), ("cosine", cosine))),
            calibration("judge", same, found),
        ],
    )


async def _scores(judge: MiniLMParaphraseJudge, pairs: Sequence[Row], watch: Stopwatch) -> Floats:
    found = []
    for pair in pairs:
        with watch:
            found += await judge.score(pair["a"], [pair["b"]])
    return np.array(found)


async def _cosines(pairs: Sequence[Row]) -> Floats:
    texts = sorted({pair[side] for pair in pairs for side in "ab"})
    vectors = await MiniLMEncoder(ENCODER).encode(texts)
    at = {text: i for i, text in enumerate(texts)}
    return np.array([float(vectors[at[pair["a"]]] @ vectors[at[pair["b"]]]) for pair in pairs])


def _labelled(same: Bools, scores: Floats, at: float, groups: Sequence[str], prefix: str) -> list[Figure]:
    """Precision and recall at the threshold, precision at the recall that is asked for, AUC."""
    n = len(same)
    goals = {"precision": 0.95, "recall": RECALL, "deep": 0.95} if not prefix else {}

    def precision(rows: Indices) -> float:
        hit = scores[rows] >= at
        return float(same[rows][hit].mean()) if hit.any() else math.nan

    def recall(rows: Indices) -> float:
        right = same[rows]
        return float((scores[rows][right] >= at).mean()) if right.any() else math.nan

    def deep(rows: Indices) -> float:
        order = np.argsort(-scores[rows], kind="stable")
        right = np.cumsum(same[rows][order])
        if not right[-1]:
            return math.nan
        reached = int(np.searchsorted(right, RECALL * right[-1]))
        return float(right[reached] / (reached + 1))

    def area(rows: Indices) -> float:
        return auc(same[rows], scores[rows])

    return [
        bootstrapped(f"{prefix}precision", precision, n, goal=goals.get("precision"), groups=groups),
        bootstrapped(f"{prefix}recall", recall, n, goal=goals.get("recall"), groups=groups),
        bootstrapped(f"{prefix}precision at recall {RECALL:g}", deep, n, goal=goals.get("deep"), groups=groups),
        bootstrapped(f"{prefix}AUC", area, n, groups=groups),
    ]


def _made(made: Sequence[Row], hit: Bools, prefix: str, *, kinds: bool = True) -> list[Figure]:
    """Hits among contrasts, all and of each kind, and among paraphrases."""
    same = np.array([row["duplicate"] == 1 for row in made], np.bool_)
    named = np.array([str(row["kind"]) for row in made])
    goals = (0.01, 0.6) if not prefix else (None, None)
    each = sorted(set(named[~same])) if kinds else []
    return [
        rate(f"{prefix}contrasts hit", hit[~same], goal=goals[0], higher=False, per="percent"),
        *(rate(f"{prefix}{kind} hit", hit[~same & (named == kind)], higher=False, per="percent") for kind in each),
        rate(f"{prefix}paraphrases kept", hit[same], goal=goals[1]),
    ]


def _errors(name: str, same: Bools, scores: Floats) -> Curve:
    """Share of all pairs that hit, against the share of those hits that are wrong."""
    order = np.argsort(-scores, kind="stable")
    count = np.arange(1, len(order) + 1)
    wrong = np.cumsum(~same[order]) / count
    shown = np.unique(np.linspace(min(20, len(order)) - 1, len(order) * 0.4, 200).astype(int))
    x, y = ([float(v) for v in values[shown]] for values in (count / len(order), wrong))
    return Curve(name, x, y, "share of pairs served", "wrong among them", "error")


def _latency(judge: MiniLMParaphraseJudge, watch: Stopwatch) -> tuple[Latency, ...]:
    return watch.latency("one labelled pair, rules included, one thread"), asyncio.run(_forty(judge))


async def _forty(judge: MiniLMParaphraseJudge) -> Latency:
    """Of two questions of 20 tokens that no rule decides."""
    one = "how do i keep a small kitchen garden alive through a very hot and dry holiday"
    other = "what can i do to keep my little kitchen garden alive in a very hot dry holiday"
    watch = Stopwatch()
    for _ in range(200):
        with watch:
            await judge.score(one, [other])
    return watch.latency("two questions of 20 tokens, one thread")


def _some(pairs: list[Row]) -> list[Row]:
    step = -(-len(pairs) // MOST) or 1
    return pairs[::step]


def _connected(pairs: Sequence[Row]) -> list[str]:
    """Of each pair the name of its connected questions."""
    parent: dict[str, str] = {}

    def find(text: str) -> str:
        parent.setdefault(text, text)
        while parent[text] != text:
            parent[text] = parent[parent[text]]
            text = parent[text]
        return text

    for pair in pairs:
        parent[find(pair["a"])] = find(pair["b"])
    return [find(pair["a"]) for pair in pairs]
