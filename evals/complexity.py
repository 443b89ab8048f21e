"""How well the router spends its calls to the strong model: the gap it recovers, and whether hard prompts score high.

make eval -> [complexity] -> LinearComplexity as configs/local.yaml has it, beside prompt length, chance and an oracle;
and heads trained anew on some subjects and measured on others, which predicts subjects that nobody has seen.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.models.catalog import resolve
from app.routing.complexity import LinearComplexity, questions_raw
from app.runtime.prepare import prepare
from evals.complexity_fit import Read, questions, scaled, scaling
from evals.complexity_splits import APART, SHARES, SPLITS, recovered, splits
from evals.curves import auc, roc
from evals.data import FORMATS, rows
from evals.seen import Seen
from evals.table import Curve, Figure, Latency, Stopwatch, Table, bootstrapped
from tools.train_complexity import CHAT, embed

MODEL = "bundled:complexity-head"
STORE = Path(tempfile.gettempdir()) / "penstock-vectors"  # what was embedded is not embedded again
MOST = 6000  # rows of each kind, the same in every run: a thousand take about a minute to embed
LEAST = 200  # outcomes that a figure of unseen rows needs
SUBJECTS = 8  # that splits need
BINS = 12  # of length, fewer for few rows
POOLED, UNSEEN = (0.22, 0.38, 0.52), (0.15, 0.28, 0.40)
FLOORS = {
    "hard against ordinary AUC": 0.93,
    "hard against chat AUC": 0.75,
    "hard against chat, of like length, AUC": 0.6,  # few rows of each length
    "own questions: gap at 30 %": 0.4,
}

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]
Row = dict[str, Any]


def measure(data: Path, *, short: bool) -> Table | None:
    """The table of the complexity head on the rows of `data`; None without any."""
    prepare([MODEL, "bundled:minilm-l6-v2"])
    seen = Seen.load(Path(resolve(MODEL)))
    outcomes = _sample(list(rows(data, *FORMATS["complexity"][0])))
    told = list(rows(data, *FORMATS["complexity"][1]))
    told += [{"prompt": row["text"], "kind": "ordinary", "chat": True} for row in _everyday(data)]
    if not short:
        told = _sample([row for row in told if row["prompt"] not in seen])
    if not outcomes and not told:
        return None
    head = LinearComplexity(MODEL)
    prompts = [row["prompt"] for row in (*outcomes, *told)]
    read = Read.of(prompts, embed(prompts, None if short else STORE, 1))
    scores = np.array([head.of(*row) for row in zip(read.forms.tolist(), read.shapes, read.vectors, strict=True)])
    figures, curves = [], []
    n = len(outcomes)
    if outcomes:
        new = np.array([row["prompt"] not in seen for row in outcomes])
        gap = _Gap(outcomes, read.only(np.arange(len(read.forms)) < n), scores[:n])
        if short:
            figures += [gap.figure("own questions", 0.3, gap.everything, None)]
        else:
            figures += gap.shipped(new)
            figures += gap.split()
            curves += gap.curves()
    hard_figures, hard_curves = _hard(told, scores[n:])
    return Table(
        "complexity",
        "a head on the encoder's vector and the prompt's shape",
        f"{n} outcomes (at most {MOST}), {len(told)} prompts told hard or ordinary that were not trained on. "
        f"`splits`: mean of {SPLITS} splits, heads trained anew; measured on 30 % of the subjects, not trained on, and "
        "on half of the word problems; intervals over the splits. `shipped`: rows that the shipped head was not "
        "trained on.",
        [*figures, *hard_figures],
        {tier: float(at) for tier, at in head.about["suggested"].items()},
        () if short else _latency(head),
        [*curves, *hard_curves],
    )


class _Gap:
    """Questions that both models answered, and the shipped head's scores of them."""

    def __init__(self, outcomes: list[Row], read: Read, scores: Floats) -> None:
        self.read, self.scores = read, scores
        self.sources = [row["source"] for row in outcomes]
        self.gain = np.array(
            [float(row["strong_correct"]) - float(row["weak_correct"]) for row in outcomes], np.float32
        )
        self.length = np.array([len(row["prompt"]) for row in outcomes], np.float32)
        self.everything = np.ones(len(outcomes), np.bool_)
        self.exam = np.array([name.startswith("mmlu_") and name != APART for name in self.sources])
        self._tested: list[tuple[NDArray[np.int64], Mapping[str, Floats]]] = []

    def figure(self, name: str, share: float, at: Bools, goal: float | None, by: Floats | None = None) -> Figure:
        """Gap recovered by the shipped head, or another score, on some rows."""
        score, gain = (self.scores if by is None else by)[at], self.gain[at]
        said = f"{name}: gap at {share * 100:.0f} %"
        return bootstrapped(said, lambda i: recovered(score[i], gain[i], share), len(gain), goal=goal)

    def shipped(self, new: Bools) -> list[Figure]:
        """The shipped head on rows that it was not trained on, where there are enough."""
        found = []
        for name, at, goals in (
            ("shipped, pooled", new, POOLED),
            ("shipped, unseen subjects", new & self.exam, UNSEEN),
        ):
            if at.sum() >= LEAST:
                for share, goal in zip(SHARES, goals, strict=True):
                    found.append(self.figure(name, share, at, goal))
                    found.append(self.figure(f"{name}, by length", share, at, None, self.length))
        return found

    def split(self) -> list[Figure]:
        """Heads trained anew on other subjects: their mean over the splits. Empty for too few subjects."""
        if len(set(self.sources)) < SUBJECTS:
            return []
        by = scaling(self.read.shapes)
        random = np.random.default_rng(0)
        for train, test in splits(self.sources, know_word_problems=True):
            head = questions(self.read.only(train), self.gain[train], by)
            part = self.read.only(test)
            raw = questions_raw(part.forms, scaled(part.shapes, by), part.shapes, part.vectors, head)
            rivals: dict[str, Floats] = {"head": raw, "length": self.length[test], "random": random.random(len(test))}
            self._tested.append((test, rivals))
        found = []
        for name, keep, goals in (("pooled", self.everything, POOLED), ("unseen subjects", self.exam, UNSEEN)):
            for rival in ("head", "length", "random"):
                for share, goal in zip(SHARES, goals, strict=True):
                    said = f"splits, {name}, {rival}: gap at {share * 100:.0f} %"
                    found.append(_mean(said, self._shares(rival, keep, share), goal if rival == "head" else None))
        return found

    def curves(self) -> list[Curve]:
        """Gap against share, the mean of the splits; the oracle knows every outcome."""
        at = np.linspace(0, 1, 41)
        found = []
        for rival in ("head", "length", "random", "oracle") if self._tested else ():
            y = [float(np.nanmean(self._shares(rival, self.everything, share))) for share in at]
            found.append(Curve(rival, at.tolist(), y, "share of calls to the strong model", "gap recovered", "share"))
        return found

    def _shares(self, rival: str, keep: Bools, share: float) -> list[float]:
        found = []
        for test, rivals in self._tested:
            at = keep[test]
            gain = self.gain[test][at]
            score = gain if rival == "oracle" else rivals[rival][at]
            found.append(recovered(score, gain, share))
        return found


def _hard(told: list[Row], scores: Floats) -> tuple[list[Figure], list[Curve]]:
    """Hard prompts against ordinary ones and against chat, as they are and of like length."""
    hard = np.array([row["kind"] == "hard" for row in told], np.bool_)
    chat = np.array([bool(row.get("chat")) for row in told], np.bool_)
    length = np.array([len(row["prompt"]) for row in told], np.float64)
    figures: list[Figure] = []
    curves: list[Curve] = []
    for name, others, goal in (("ordinary", ~hard & ~chat, 0.95), ("chat", ~hard & chat, 0.80)):
        at = hard | others
        if not hard.any() or not others.any():
            continue
        truth, score, size = hard[at], scores[at], length[at]
        n = len(truth)
        figures += [
            bootstrapped(f"hard against {name} AUC", _over(auc, truth, score), n, goal=goal),
            bootstrapped(
                f"hard against {name}, of like length, AUC", _over(_matched, truth, score, size), n, goal=goal
            ),
            bootstrapped(f"hard against {name}, by length, AUC", _over(auc, truth, size), n),
        ]
        curves.append(roc(f"hard against {name}", truth, score))
    return figures, curves


def _over(figure: Callable[..., float], *columns: NDArray[Any]) -> Callable[[NDArray[np.int64]], float]:
    """The figure as a function of the rows that it is taken over."""
    return lambda at: figure(*(column[at] for column in columns))


def _matched(truth: Bools, score: Floats, length: Floats) -> float:
    """AUC among prompts of like length: the mean over bins of length, by how many pairs each has."""
    bins = min(BINS, 1 + len(truth) // 40)
    edges = np.quantile(length, np.linspace(0, 1, bins + 1)[1:-1])
    part = np.digitize(length, edges)
    found, weight = [], []
    for number in range(bins):
        at = part == number
        few = min(int(truth[at].sum()), int((~truth[at]).sum()))
        if few:
            found.append(auc(truth[at], score[at]))
            weight.append(few)
    return float(np.average(found, weights=weight)) if found else float("nan")


def _mean(name: str, values: list[float], goal: float | None) -> Figure:
    """The mean of the splits, with the 95 % interval of that mean."""
    kept = np.array([value for value in values if not np.isnan(value)])
    mean, spread = float(kept.mean()), 1.96 * float(kept.std(ddof=1)) / len(kept) ** 0.5
    return Figure(name, mean, mean - spread, mean + spread, goal)


def _everyday(data: Path) -> list[Row]:
    """Harmless prompts of chat sources among the injection judge's rows."""
    return [row for row in rows(data, "text", "attack", "source") if row["source"] in CHAT and not row["attack"]]


def _sample(every: list[Row]) -> list[Row]:
    """At most MOST, the same in every run."""
    if len(every) <= MOST:
        return every
    picked = np.sort(np.random.default_rng(0).choice(len(every), MOST, replace=False))
    return [every[i] for i in picked]


def _latency(head: LinearComplexity) -> list[Latency]:
    """What comes after the encoder."""
    found = []
    vector = np.full(head.dim, head.dim**-0.5, np.float32)
    for size in (100, 1000, 100_000):
        text = ("Why does the river rise when the hills are dry? It must be shown in 3 steps. " * size)[:size]
        watch = Stopwatch()

        async def again(watch: Stopwatch = watch, text: str = text) -> None:
            for _ in range(300):
                with watch:
                    await head.score(text, vector)

        asyncio.run(again())
        found.append(watch.latency(f"a prompt of {size} characters, after the encoder"))
    return found
