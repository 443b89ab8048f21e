"""Train the injection judge's own MiniLM, and weigh it against stackone-defender's.

    python -m tools.train_injection injection_tune.jsonl first --harmless hardness_train.jsonl routing_train.jsonl
        cache_tune.jsonl pii_tune.jsonl toxicity_train.jsonl
    python -m tools.train_injection injection_tune.jsonl injection_[abo]*.jsonl app/weights/injection-pair
        --from first --harmless ...    # the same files
    python -m tools.train_injection injection_tune.jsonl trial --without HackAPrompt,persona    # what unseen ones score

A file has one object a line: `text`, `attack` (0 or 1), `source`. To its rows come as many of our own making
(tools/injection_mix.py), and harmless ones from the other judges' files, so that no kind of prompt is strange to it. A
hashed share of all is held out: for the figures, and to set the intercept so that 1 % of the harmless rows held out
score a half or more. `--without` leaves out sources and families, measures on them and writes no calibration. `--from`
goes on from an adapter, once through what it has not seen and a share of the rest. The shipped weights came about so:
half of the sources of what coding agents send (`--from`), the others left out (`--without`) and measured; a second
round on all of them (`--new`, `--again 0.14`) was no better on rows of neither and was not kept. Their intercept was
then set by hand, to -2.5: the held-out harmless rows are of other kinds than what agents send.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from tokenizers import Tokenizer
from torch import Tensor

from app.models import convert
from app.models.catalog import resolve
from app.models.minilm import MiniLM
from app.safety.injection_networks import Single
from evals.seen import Seen
from tools.adapt import Recipe, build, fit, resume, save
from tools.injection_mix import ADDED, AGENTS, FRAMED, Row, labelled, mixture, ordinary, working
from tools.pin import held_out, pin

HELD, OWN, SEED = 0.15, 11000, 11
HACKS = 0.6  # of HackAPrompt's rows, which are few templates many times
CAP, OVERLAP = 190, 64  # tokens of a window, without the two special ones
THEIRS = 0.5
"""Weight of stackone-defender's calibrated logit beside ours. Attacks of sources left out of training gain by it (AUC
.969 to .979 at a weight of 1), held-out rows of our own sources lose (.995 to .990): at a half they lose .001.
"""
FALSE_POSITIVES = 0.01
WINDOWS = 2  # to train on, of a text of an agent's: every one of its windows must be harmless, not one by chance
AGAIN = 0.35  # of the rows that the adapter to go on from has seen
NEW = frozenset({AGENTS, ADDED, FRAMED})
Floats = NDArray[np.float64]


class Cutter:
    """Texts to windows of token ids."""

    def __init__(self, base: str) -> None:
        self._tokenizer = Tokenizer.from_file(f"{base}/tokenizer.json")
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._rng = random.Random(SEED)  # noqa: S311 - no secret

    def windows(self, text: str) -> list[list[int]]:
        """As app/safety/injection.py cuts them."""
        text = text.encode("utf-8", "replace").decode()
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        last = max(0, len(ids) - CAP)
        return [[101, *ids[at : at + CAP], 102] for at in (*range(0, last, CAP - OVERLAP), last)]

    def some(self, row: Row, most: int) -> list[list[int]]:
        """Windows to train on. None of an attack of several: nobody says which of them holds it."""
        found = self.windows(row.text)
        if len(found) == 1:
            return found
        return [] if row.attack else self._rng.sample(found, min(most, len(found)))


def split(rows: Sequence[Row], without: frozenset[str]) -> tuple[list[Row], list[Row]]:
    """To train on, and held out."""
    held = [row for row in rows if row.family in without or held_out(row.text, HELD)]
    away = {id(row) for row in held}
    train = [row for row in rows if id(row) not in away]
    return [row for row in train if row.family != "HackAPrompt" or held_out(row.text[::-1], HACKS)], held


def report(rows: Sequence[Row], scores: Floats, name: str, without: frozenset[str]) -> None:
    """AUC and recall at 1 % false positives, of what was left out where something was."""
    attack = np.array([row.attack == 1 for row in rows])
    away = np.array([row.family in without for row in rows])
    chosen = attack & (away if (attack & away).any() else ~away)
    harmless = ~attack & ~away
    limit = float(np.quantile(scores[harmless], 1 - FALSE_POSITIVES))
    both = chosen | harmless
    ranked = roc_auc_score(attack[both], scores[both])
    caught = np.mean(scores[chosen] > limit)
    print(f"{name}: {chosen.sum()} attacks, {harmless.sum()} harmless: AUC {ranked:.4f}, recall at 1 % {caught:.3f}")
    families = defaultdict(list)
    for row, score in zip(rows, scores, strict=True):
        families[row.attack, row.family].append(score > limit)
    for (kind, family), over in sorted(families.items()):
        print(f"   {'attack' if kind else 'harmless'} {family}: {np.mean(over):.3f} of {len(over)} flagged")


def judge(out: Path, held: Sequence[Row], cutter: Cutter, base: str, without: frozenset[str]) -> None:
    """Measure both networks as they will run, and write calibration.json."""
    with tempfile.TemporaryDirectory() as folder:
        convert.adapted([out, Path(base)], Path(folder), Path(folder), lambda *_: None)
        ours, theirs = MiniLM(f"path:{folder}"), Single(Path(resolve("bundled:injection-minilm")), 1)
        cut = [cutter.windows(row.text) for row in held]
        first = np.array([[float(ours.logits(ids)[0]), theirs.logit(ids)] for windows in cut for ids in windows])
    ends = np.cumsum([len(windows) for windows in cut])[:-1]
    sums = {"ours": (1.0, 0.0), "theirs": (0.0, 1.0), "both": (1.0, THEIRS)}
    for name, weights in sums.items():
        scores = np.array([part.max() for part in np.split(first @ np.array(weights), ends)])
        report(held, scores, name, without)
    if not without:
        attack = np.array([row.attack == 1 for row in held])
        limit = float(np.quantile(scores[~attack], 1 - FALSE_POSITIVES))
        about = {"ours": 1.0, "theirs": THEIRS, "intercept": round(-limit, 4)}
        (out / "calibration.json").write_text(json.dumps(about, indent=2) + "\n")


def is_new(row: Row, new: frozenset[str]) -> bool:
    """Whether the adapter to go on from has not seen the row: it is of these sources or, without any, of NEW kinds."""
    return row.family in new if new else row.kind in NEW


def learn(rows: Sequence[Row], cutter: Cutter, base: str, out: Path, start: Path | None) -> None:
    """Train on the rows' windows and write the adapter, from MiniLM or on from `start`."""
    windows = [(ids, row.attack) for row in rows for ids in cutter.some(row, WINDOWS if row.kind == AGENTS else 1)]
    labels = torch.tensor([attack for _, attack in windows]).float()
    even = (1 - labels).sum() / labels.sum()  # both kinds weigh the same

    def loss(logits: Tensor, chosen: list[int]) -> Tensor:
        wanted = labels[chosen] * 0.98 + 0.01
        return torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], wanted, pos_weight=even)

    torch.manual_seed(5)
    model = build(base, "sequence", 1)
    recipe = Recipe(epochs=2, bf16=True, seed=5)
    if start:
        resume(model, start)
        recipe = Recipe(epochs=1, bf16=True, seed=5, lr=5e-4)
    fit(model, [ids for ids, _ in windows], loss, recipe)
    save(model, out, {"task": "sequence", "labels": ["injection"], "int8": True})


def main() -> None:
    """Read, split, train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("out", type=Path)
    parser.add_argument("--harmless", type=Path, nargs="*", default=(), help="further files, of harmless prompts")
    parser.add_argument("--without", default="", help="sources and families, by comma: measured, not trained on")
    parser.add_argument("--from", type=Path, dest="start", help="folder of an adapter to go on from")
    parser.add_argument("--new", default="", help="sources, by comma: with --from, what its adapter has not seen")
    parser.add_argument("--again", type=float, default=AGAIN, help="with --from, the share taken of all else")
    parser.add_argument("--measure-only", action="store_true", help="keep the adapter in `out`; measure it again")
    args = parser.parse_args()
    base, without = resolve("bundled:minilm-l6-v2"), frozenset(filter(None, args.without.split(",")))
    first, *further = args.files
    real = [
        *labelled(first),
        *(row for file in further for row in labelled(file, ADDED)),
        *ordinary(args.harmless, SEED),
    ]
    kept = [row for row in real if row.family not in without]  # nothing is made from what is left out
    made = [*mixture(kept, OWN, SEED), *working(kept, OWN // 4, SEED)]
    train, held = split([*made, *(row for row in real if row.family in without)], without)
    seen = Seen.of(row.text for row in train)  # with those that only the adapter to go on from has seen
    if args.start:
        new = frozenset(filter(None, args.new.split(",")))
        train = [row for row in train if is_new(row, new) or held_out(row.text[::-1], args.again)]
    cutter = Cutter(base)
    if not args.measure_only:
        print(f"{len(train)} rows to train on, {len(held)} held out", flush=True)
        learn(train, cutter, base, args.out, args.start)
        seen.save(args.out)
    judge(args.out, held, cutter, base, without)
    pin(args.out)


if __name__ == "__main__":
    main()
