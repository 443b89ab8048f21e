"""Train the judge of "is it the same question": a cross-scorer on MiniLM, and the head that makes it a probability.

    python -m tools.train_same cross PAIRS [--out FOLDER] [--steps N]     about 12 minutes on one core
    python -m tools.train_same head PAIRS [--out FOLDER]                  a few minutes; prepares the model first

PAIRS: JSON lines `{"a", "b", "duplicate"}`. Questions connected by pairs stay on one side: a fifth is held out, by
hash, for the head, its calibration and the figures. `cross` writes adapter.safetensors and seen.bin, `head` same.json.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.models import resolve
from app.rules import questions
from tools.contrasts import Vocabulary, contrasts, paraphrase, vocabulary
from tools.pin import held_out, pin
from tools.seen import Seen

OUT = Path("app/weights/same-question")
BASE = "bundled:minilm-l6-v2"
HELD_OUT = 0.2
LONGEST = 96
KINDS = {"number": 0.3, "date": 0.3, "unit": 0.3, "negation": 0.3, "opposite": 0.6, "name": 1.0, "noun": 1.0,
         "role": 0.5, "narrowed": 0.5}  # fmt: skip
"""How often each kind of contrast is taken where a question allows it: those that a rule catches, more seldom."""


@dataclass(frozen=True)
class Pair:
    """Two questions, whether they are the same, and where they come from: `labelled`, `paraphrase` or a contrast."""

    a: str
    b: str
    same: int
    kind: str = "labelled"


def read(path: Path) -> list[Pair]:
    """The labelled pairs."""
    rows = (json.loads(line) for line in path.open())
    return [Pair(row["a"], row["b"], int(row["duplicate"])) for row in rows]


def split(pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
    """Trained on, held out. A question is only ever on one side: what pairs connect stays together."""
    parent: dict[str, str] = {}

    def find(text: str) -> str:
        parent.setdefault(text, text)
        while parent[text] != text:
            parent[text] = parent[parent[text]]
            text = parent[text]
        return text

    for pair in pairs:
        one, other = sorted((find(pair.a), find(pair.b)))
        parent[other] = one
    sides: tuple[list[Pair], list[Pair]] = ([], [])
    for pair in pairs:
        sides[held_out(find(pair.a), HELD_OUT)].append(pair)
    return sides


def synthetic(pairs: Sequence[Pair], words: Vocabulary, share: float, rng: random.Random) -> list[Pair]:
    """Contrasts and paraphrases of a share of these pairs' questions."""
    texts = sorted({text for pair in pairs for text in (pair.a, pair.b)})
    made = []
    for text in rng.sample(texts, int(share * len(texts))):
        if len(text.split()) > 30 or len(text.split()) < 3:
            continue
        found = {k: t for k, t in contrasts(text, words, rng).items() if rng.random() < KINDS[k]}
        if found:
            kind = rng.choice(sorted(found))
            worded = paraphrase(found[kind], rng) if rng.random() < 0.3 else found[kind]
            made.append(Pair(text, worded, 0, kind))
        other = paraphrase(text, rng)
        if rng.random() < 0.6 and questions.disagree(text, other) is None:
            made.append(Pair(text, other, 1, "paraphrase"))
    return made


def static(base: str) -> Any:
    """Word -> the mean of its pieces' input embeddings, for finding words of the same kind."""
    from safetensors.numpy import load_file

    tokenizer = _tokenizer(base)
    table = load_file(f"{base}/model.safetensors")["embeddings.word_embeddings.weight"]

    def vector(word: str) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = table[tokenizer.encode(word, add_special_tokens=False).ids].mean(0)
        return rows

    return vector


def _tokenizer(base: str) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{base}/tokenizer.json")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def overlap(pair: Pair) -> float:
    """Share of content words in common, 0..1."""
    ours, theirs = set(questions.content(pair.a)), set(questions.content(pair.b))
    return len(ours & theirs) / max(1, len(ours | theirs))


def chosen(pairs: Sequence[Pair]) -> list[Pair]:
    """The labelled pairs worth training on: the second stage sees near neighbours that no rule has refused."""
    near = (p for p in pairs if p.same or overlap(p) >= NEAR)
    return [p for p in near if questions.disagree(p.a, p.b) is None]


NEAR = 0.2


def cross(args: argparse.Namespace) -> None:
    """Train the cross-scorer and write its adapter."""
    import torch

    from tools import adapt

    torch.set_num_threads(1)
    torch.manual_seed(7)
    rng = random.Random(7)  # noqa: S311 - no secret
    pairs = read(args.pairs)
    train, _ = split(pairs)
    base = resolve(BASE)
    words = vocabulary([p.a for p in train], static(base))
    rows = chosen(train) + synthetic(train, words, args.share, rng)
    rng.shuffle(rows)
    labelled = sum(p.kind == "labelled" for p in rows)
    print(f"{len(rows)} pairs, {labelled} labelled, {sum(p.same for p in rows)} the same")
    turned = [(p.b, p.a) if rng.random() < 0.5 else (p.a, p.b) for p in rows]
    encoded = _tokenizer(base).encode_batch(turned)
    ids, types = [e.ids[:LONGEST] for e in encoded], [e.type_ids[:LONGEST] for e in encoded]
    labels = torch.tensor([float(p.same) for p in rows])

    def loss(logits: torch.Tensor, at: list[int]) -> torch.Tensor:
        return torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], labels[at])

    model = adapt.build(base, "sequence", 1)
    recipe = adapt.Recipe(epochs=args.epochs, batch=32, lr=args.lr, bf16=True, max_steps=args.steps)
    adapt.fit(model, ids, loss, recipe, types)
    adapt.save(model, args.out, {"task": "sequence", "labels": ["same"], "int8": True})
    Seen.of(f"{p.a}\0{p.b}" for p in train).save(args.out)
    pin(args.out)


def head(args: argparse.Namespace) -> None:
    """Fit the head on the held-out pairs and write same.json, figures and all."""
    from tools import same_head as fitting

    rng = random.Random(11)  # noqa: S311 - no secret
    train, held = split(read(args.pairs))
    words = vocabulary([p.a for p in train], static(resolve(BASE)))
    pairs = held + synthetic(held, words, 0.12, rng)
    with tempfile.TemporaryDirectory() as folder:
        logits = ask(args.out, Path(folder), pairs)
    fixed, rows = fitting.read([(p.a, p.b) for p in pairs], logits, IDENTICAL)
    data = fitting.Scored(
        np.array([p.same == 1 for p in pairs]),
        np.array([p.kind == "labelled" for p in pairs]),
        np.array([held_out(f"half {min(p.a, p.b)}", 0.5) for p in pairs]),
        fixed,
        rows,
    )
    found = fitting.crossed(data)
    labelled = data.part(data.labelled)
    at = fitting.threshold(found[data.labelled], labelled.same)
    written = {
        "longest": 128,
        "identical": IDENTICAL,
        "threshold": at,
        **{k: np.round(v, 5).tolist() for k, v in fitting.fit(data).items()},
        "evidence": fitting.evidence(found[data.labelled], labelled.same),
        "measured": measured(pairs, found, at),
    }
    (args.out / "same.json").write_text(json.dumps(written, indent=1) + "\n")
    pin(args.out)
    print(json.dumps({k: written[k] for k in ("threshold", "evidence", "measured")}, indent=1))


def ask(adapter: Path, folder: Path, pairs: Sequence[Pair]) -> list[tuple[float, float] | None]:
    """Each pair's logits in both orders, by the model as it is served; None where a rule decides without it."""
    from app import recipes
    from app.adapters.same import MiniLMSame, certain

    recipes.adapted([adapter, Path(resolve(BASE))], folder, folder, lambda _part, _what: None)
    (folder / "same.json").write_text(json.dumps({"longest": 128, "identical": IDENTICAL}))
    judge = MiniLMSame(f"path:{folder}")
    return [judge.logits(p.a, p.b) if certain(p.a, p.b, IDENTICAL) is None else None for p in pairs]


def measured(pairs: Sequence[Pair], found: NDArray[np.float64], at: float) -> dict[str, Any]:
    """Figures at the threshold: of labelled pairs, of paraphrases, and of each kind of contrast the share of hits."""
    from sklearn.metrics import roc_auc_score

    kinds = np.array([p.kind for p in pairs])
    same = np.array([p.same == 1 for p in pairs])
    mine, hit = kinds == "labelled", found >= at
    order = np.argsort(-found[mine])
    precision = np.cumsum(same[mine][order]) / np.arange(1, mine.sum() + 1)
    recall = np.cumsum(same[mine][order]) / same[mine].sum()
    return {
        "pairs": int(mine.sum()),
        "AUC": round(float(roc_auc_score(same[mine], found[mine])), 4),
        "precision": round(float(same[mine & hit].mean()), 4),
        "recall": round(float((mine & hit & same).sum() / (mine & same).sum()), 4),
        "precision at recall 0.3": round(float(precision[np.searchsorted(recall, 0.3)]), 4),
        "hits": {kind: [int((hit & (kinds == kind)).sum()), int((kinds == kind).sum())] for kind in sorted({*kinds})},
    }


IDENTICAL = 0.995
"""The score of texts equal but for case and blanks: even those mean different things to people now and then."""


def main() -> None:
    """Read the arguments and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["cross", "head"])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--steps", type=int, default=0, help="stop early, to try the script")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--share", type=float, default=0.15)
    parser.add_argument("--lr", type=float, default=1e-3)
    args = parser.parse_args()
    {"cross": cross, "head": head}[args.part](args)


if __name__ == "__main__":
    main()
