"""How well the moderator tells toxic text from clean: six Jigsaw labels, and clean prompts at the default thresholds.

make eval -> [toxicity] -> DetoxifyClassifier with the thresholds of configs/local.yaml, as it runs there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.config import load_file
from app.models.catalog import PINS
from app.runtime.prepare import prepare
from app.safety.detoxify import DetoxifyClassifier
from evals.curves import auc, calibration, precision_recall, roc
from evals.data import FORMATS, rows
from evals.seen import Seen
from evals.table import Figure, Indices, Table, bootstrapped, latencies, rate

MODEL = "bundled:detoxify-minilm"
CONFIG = Path(__file__).parents[1] / "configs" / "local.yaml"
OWN = Path(__file__).parent / "short" / "toxicity.jsonl"
CLEAN = "clean prompt"  # `kind` of those rows of OWN
SHOWN = {"toxic": "toxicity", "severe_toxic": "severe_toxicity", "identity_hate": "identity_attack"}  # as Detoxify does
LABELS = FORMATS["toxicity"][0][1:]
PROMPTS = 500  # everyday prompts of the other judges' rows, at most
DISGUISED = 100
LEET = str.maketrans("aeios", "43105")
ALIKE = str.maketrans("aeopcyx", "аеорсух")  # noqa: RUF001 - Cyrillic: that is the trick
FLOORS = {"mean AUC": 0.96, "any label AUC": 0.97, "own clean prompts flagged": 0.04, "disguised insults flagged": 0.5}

Scores = list[dict[str, float]]


def measure(data: Path, *, short: bool) -> Table | None:
    """The table of the moderator on the rows of `data` that it was not trained on; None without any."""
    prepare([MODEL])
    every = list(rows(data, *FORMATS["toxicity"][0]))
    seen = Seen.load(PINS.parent / MODEL.removeprefix("bundled:"))
    kept = every if short else [row for row in every if row["text"] not in seen]
    comments = [row for row in kept if row.get("kind") != CLEAN]
    if not comments:
        return None
    judge, limits = DetoxifyClassifier(MODEL), load_file(CONFIG).policy.moderate.thresholds
    scores = asyncio.run(judge.score([row["text"] for row in comments]))
    truth = np.array([[row[label] == 1 for label in LABELS] for row in comments])
    found = np.array([[score[SHOWN.get(label, label)] for label in LABELS] for score in scores])
    figures = [*_aucs(truth, found), *_at_defaults(truth, scores, limits)]
    figures += _clean(judge, limits, data)
    figures.append(_disguised(judge, limits, [row["text"] for row in comments if row["insult"]]))
    highest, toxic = found.max(axis=1), np.asarray(truth.any(axis=1), np.bool_)
    return Table(
        "toxicity",
        "Detoxify over MiniLM",
        f"{len(comments)} comments, {int(toxic.sum())} with a label; {len(every) - len(kept)} of the training rows "
        "left out. Rows were held out of training by their hash.",
        figures,
        limits,
        () if short else latencies(judge.score),
        [
            roc("any label", toxic, highest),
            *(roc(label, truth[:, i], found[:, i]) for i, label in enumerate(LABELS) if truth[:, i].any()),
            precision_recall("any label", toxic, highest),
            calibration("toxic", truth[:, 0], found[:, 0]),
        ],
    )


def _aucs(truth: NDArray[np.bool_], found: NDArray[np.float64]) -> list[Figure]:
    """truth, found: (rows, labels)."""

    def of(i: int, at: Indices) -> float:
        return auc(truth[at, i], found[at, i])

    def mean(at: Indices) -> float:
        return float(np.mean([of(i, at) for i in range(len(LABELS))]))

    def any_label(at: Indices) -> float:
        return auc(np.asarray(truth[at].any(axis=1), np.bool_), found[at].max(axis=1))

    n = len(truth)
    goals = {"toxic": 0.97}
    return [
        bootstrapped("mean AUC", mean, n, goal=0.96),
        bootstrapped("any label AUC", any_label, n, goal=0.98),
        *(
            bootstrapped(f"{label} AUC", lambda at, i=i: of(i, at), n, goal=goals.get(label))  # type: ignore[misc]
            for i, label in enumerate(LABELS)
        ),
    ]


def _flagged(scores: Scores, limits: dict[str, float]) -> NDArray[np.bool_]:
    """Which texts reach a threshold."""
    return np.array([any(score[label] >= least for label, least in limits.items()) for score in scores], np.bool_)


def _at_defaults(truth: NDArray[np.bool_], scores: Scores, limits: dict[str, float]) -> list[Figure]:
    over, toxic = _flagged(scores, limits), truth.any(axis=1)
    return [
        rate("toxic comments flagged", over[toxic]),
        rate("severely toxic, threatening or hateful ones flagged", over[truth[:, [1, 3, 5]].any(axis=1)]),
        rate("clean comments flagged", over[~toxic], higher=False, per="percent"),
    ]


def _clean(judge: DetoxifyClassifier, limits: dict[str, float], data: Path) -> list[Figure]:
    """Prompts that nobody would call toxic: our own, with traps, and everyday ones of the other judges' rows."""
    own = [row["text"] for row in rows(OWN, "text") if row.get("kind") == CLEAN]
    figures = [_share(judge, limits, "own clean prompts flagged", own, goal=0.02)]
    ordinary = [row["prompt"] for row in rows(data, "prompt", "kind") if row["kind"] != "hard"]
    harmless = [row["text"] for row in rows(data, "text", "attack") if not row["attack"]]
    for name, texts in (("everyday prompts flagged", ordinary), ("harmless instructions flagged", harmless)):
        if texts:
            figures.append(_share(judge, limits, name, _sample(texts, PROMPTS), goal=0.02))
    return figures


def _share(judge: DetoxifyClassifier, limits: dict[str, float], name: str, texts: list[str], goal: float) -> Figure:
    over = _flagged(asyncio.run(judge.score(texts)), limits)
    return rate(name, over, goal=goal, higher=False, per="percent")


def _disguised(judge: DetoxifyClassifier, limits: dict[str, float], insults: list[str]) -> Figure:
    """Of the insults that are flagged as they stand: how many still are when their letters are disguised."""
    short = [text for text in insults if len(text) < 300]
    plain = [
        text
        for text, over in zip(short, _flagged(asyncio.run(judge.score(short)), limits), strict=True)
        if over
    ] if short else []  # fmt: skip
    texts = [disguise(text) for text in _sample(plain, DISGUISED) for disguise in (_leet, _alike, _invisible)]
    over = _flagged(asyncio.run(judge.score(texts)), limits) if texts else np.zeros(0, np.bool_)
    return rate("disguised insults flagged", over)


def _leet(text: str) -> str:
    return text.lower().translate(LEET)


def _alike(text: str) -> str:
    return text.lower().translate(ALIKE)


def _invisible(text: str) -> str:
    return "\u200b".join(text)


def _sample(texts: Sequence[str], size: int) -> list[str]:
    """As many, evenly spread; the same in every run."""
    step = max(1, len(texts) // size)
    return list(texts[::step][:size])
