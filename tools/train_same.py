"""Train the judge of "is it the same question": a network on MiniLM's tokens, and the head that makes it a probability.

    python -m tools.train_same network PAIRS [--out FOLDER]     about 15 minutes on one core, 4 GB of memory
    python -m tools.train_same head PAIRS [--out FOLDER]        a few minutes; prepares the model first

PAIRS: JSON lines `{"a", "b", "duplicate"}`. Questions connected by pairs stay on one side: a fifth is held out, by
hash, for the head, its calibration and the figures. `network` writes network.safetensors, trees.safetensors and
seen.bin, `head` same.json. MiniLM itself is not trained: tried with these pairs, low-rank pairs on its layers did
worse, and slower.
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

from app.cache.paraphrase import features, rules
from app.cache.paraphrase.judge import untrained
from app.models.catalog import resolve
from evals.seen import Seen
from tools import same_trees
from tools.contrasts import Vocabulary, contrasts, paraphrase, vocabulary
from tools.pin import held_out, pin

OUT = Path("app/weights/same-question")
BASE = "bundled:minilm-l6-v2"
HELD_OUT = 0.2
LONGEST = 96  # tokens of a question in training
BATCH = 64
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
        if rng.random() < 0.6 and rules.disagree(text, other) is None:
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


@dataclass(frozen=True)
class Read:
    """MiniLM's hidden states of some texts, one after the other. states: float16 (tokens, DIM * 2)."""

    at: dict[str, int]
    ids: list[list[int]]
    starts: NDArray[np.int64]
    states: NDArray[np.float16]

    @classmethod
    def of(cls, texts: Sequence[str], base: str) -> Read:
        """Some 5 ms a text on one core."""
        import torch
        from transformers import BertModel

        from app.cache.paraphrase.network import LAYERS
        from tools.adapt import pad

        encoder = BertModel.from_pretrained(base).eval()
        texts = sorted(set(texts))
        ids = [encoded.ids[:LONGEST] for encoded in _tokenizer(base).encode_batch(texts)]
        starts = np.concatenate([[0], np.cumsum([len(row) for row in ids])])
        states = np.zeros((starts[-1], encoder.config.hidden_size * len(LAYERS)), np.float16)
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        with torch.no_grad():
            for at in range(0, len(order), 64):
                rows = order[at : at + 64]
                hidden = encoder(**pad([ids[i] for i in rows]), output_hidden_states=True).hidden_states
                both = torch.cat([hidden[layer] for layer in LAYERS], 2).numpy()
                for i, row in zip(rows, both, strict=True):
                    states[starts[i] : starts[i + 1]] = row[: len(ids[i])]
        return cls({text: i for i, text in enumerate(texts)}, ids, starts, states)

    def side(self, texts: Sequence[str]) -> Any:
        """These texts as one side of a batch: a same_network.Question."""
        import torch

        from app.cache.paraphrase.network import Question

        at = [self.at[text] for text in texts]
        longest = max(len(self.ids[i]) for i in at)
        tokens = np.zeros((len(at), longest, self.states.shape[1]), np.float32)
        ids, inner = np.zeros((len(at), longest), np.int64), np.zeros((len(at), longest), np.bool_)
        for row, i in enumerate(at):
            n = len(self.ids[i])
            tokens[row, :n] = self.states[self.starts[i] : self.starts[i + 1]]
            ids[row, :n], inner[row, 1 : n - 1] = self.ids[i], True
        return Question(*map(torch.from_numpy, (tokens, ids, inner)))


def network(args: argparse.Namespace) -> None:
    """Train the committee and write it."""
    import torch
    from safetensors.torch import save_file

    from app.cache.paraphrase.network import Committee

    torch.set_num_threads(args.threads)
    rng = random.Random(7)  # noqa: S311 - no secret
    train, _ = split(read(args.pairs))
    base = resolve(BASE)
    rows = train + synthetic(train, vocabulary([p.a for p in train], static(base)), args.share, rng)
    print(f"{len(rows)} pairs, {len(train)} labelled, {sum(p.same for p in rows)} the same", flush=True)
    texts = Read.of([text for p in rows for text in (p.a, p.b)], base)
    strings = torch.tensor([features.features(p.a, p.b) for p in rows], dtype=torch.float32)
    torch.manual_seed(0)
    committee = Committee(args.members)
    committee.mean, committee.scale = strings.mean(0), strings.std(0) + 1e-6
    strings = (strings - committee.mean) / committee.scale
    for seed, member in enumerate(committee.members):
        fit_member(member, rows, texts, strings, args=args, seed=seed)
    args.out.mkdir(parents=True, exist_ok=True)
    known = np.array([p.same == 1 for p in train])
    same_trees.fit(measures(train, texts), known, args.out / "trees.safetensors")
    save_file({k: v.half().contiguous() for k, v in committee.state_dict().items()}, args.out / "network.safetensors")
    about = {"members": args.members, "int8": False}
    (args.out / "adapter.json").write_text(json.dumps(about, indent=2) + "\n")
    Seen.of(f"{p.a}\0{p.b}" for p in train).save(args.out)
    pin(args.out)


def measures(pairs: Sequence[Pair], texts: Read) -> NDArray[np.float32]:
    """What needs no training of each pair, as app/cache/paraphrase/judge.py gives it to the trees: (pairs, numbers)."""
    import torch

    from app.cache.paraphrase.network import numbers

    found = []
    with torch.no_grad():
        for at in range(0, len(pairs), BATCH):
            some = pairs[at : at + BATCH]
            near = numbers(texts.side([p.a for p in some]), texts.side([p.b for p in some])).numpy()
            found += [untrained(p.a, p.b, row) for p, row in zip(some, near, strict=True)]
    return np.stack(found)


def fit_member(
    member: Any, rows: Sequence[Pair], texts: Read, strings: Any, *, args: argparse.Namespace, seed: int
) -> None:
    """Train one comparison: AdamW, one cycle, labels softened a little, since people disagree on them."""
    import torch

    from tools.adapt import batches

    torch.manual_seed(seed)
    rng = random.Random(seed)  # noqa: S311 - no secret
    labels = torch.tensor([0.02 + 0.96 * p.same for p in rows])
    lengths = [len(texts.ids[texts.at[p.a]]) + len(texts.ids[texts.at[p.b]]) for p in rows]
    optimizer = torch.optim.AdamW(member.parameters(), args.lr, weight_decay=0.02)
    steps = args.epochs * -(-len(rows) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=steps, pct_start=0.1)
    member.train()
    for epoch in range(args.epochs):
        for batch in batches(lengths, BATCH, rng):
            logits = member(
                texts.side([rows[i].a for i in batch]), texts.side([rows[i].b for i in batch]), strings[batch]
            )
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(member.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        print(f"member {seed + 1}/{args.members} epoch {epoch + 1}/{args.epochs} loss {loss.item():.3f}", flush=True)


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


def ask(trained: Path, folder: Path, pairs: Sequence[Pair]) -> list[tuple[float, float] | None]:
    """Each pair's logits by the model as it is served; None where a rule decides without it."""
    from app.cache.paraphrase import convert
    from app.cache.paraphrase.judge import MiniLMParaphraseJudge, certain

    convert.pairs([trained, Path(resolve(BASE))], folder, folder, lambda _part, _what: None)
    (folder / "same.json").write_text(json.dumps({"longest": 128, "identical": IDENTICAL}))
    judge = MiniLMParaphraseJudge(f"path:{folder}")
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
    parser.add_argument("part", choices=["network", "head"])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--share", type=float, default=0.09, help="of the questions, to make pairs of")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    {"network": network, "head": head}[args.part](args)


if __name__ == "__main__":
    main()
