"""Train the tagger of names, places, addresses ... that app/privacy/presidio/ner.py runs.

    python -m tools.train_names pii_tune.jsonl app/weights/names-minilm --real routing_train.jsonl cache_tune.jsonl

The first file has one object a line: `text` and `spans` of `entity_type`, `start_position`, `end_position`. The files
after --real have texts without labels: their common lower-case words and numbers are taken for nothing personal, and
their words in capitals are left out of the loss. Written sentences come from tools/names_text.py; code from Python's
own library. With --held-out, that share of the TEMPLATES (texts alike but for their spans) is left out, and what the
whole finder makes of it is printed: what is shipped was trained on all of them.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from app.models.catalog import resolve
from app.privacy.presidio.ner import OUTSIDE, Tokens, encode
from evals.seen import Seen
from tools import adapt
from tools.names_text import LABELS, Text, Writer
from tools.pin import held_out, pin

NAMES = [OUTSIDE, *dict.fromkeys(LABELS.values())]
KNOWN = {"STREET_ADDRESS": "ADDRESS", "street_name": "ADDRESS", "GPE": "LOCATION", "PREFIX": "TITLE"}
PREFIX = re.compile(r"(?:mr|mrs|ms|miss|dr|prof)\b\.?\s*", re.IGNORECASE)
PASSED_OVER = -100
LONGEST = 160  # tokens of a row
MOST = 600  # characters of a text without labels
Row = tuple[Tokens, list[int]]


def labelled(path: Path) -> list[Text]:
    """The rows of a labelled file, in this vocabulary."""
    return [
        Text(row["text"], sorted(_relabelled(row)))
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())
    ]


def _relabelled(row: dict[str, Any]) -> Iterator[tuple[int, int, str]]:
    """Post codes are told from houses' numbers, `Dr.` from names; ages are added."""
    text = row["text"]
    for match in re.finditer(r"\b(\d{1,3})[ -]years?[ -]old", text):
        yield *match.span(1), "AGE"
    for span in row["spans"]:
        start, end = span["start_position"], span["end_position"]
        label = KNOWN.get(span["entity_type"], span["entity_type"])
        if label == "PERSON" and (prefix := PREFIX.match(text, start, end)):
            yield start, prefix.end(), "TITLE"
            start = prefix.end()
            if start == end:
                continue
        if label == "ADDRESS" and re.fullmatch(r"[\dA-Z -]*\d{3}[\dA-Z -]*", text[start:end]):
            label = "ZIP_CODE"
        elif label not in NAMES:
            label = "OTHER"
        yield start, end, label


def template(text: Text) -> str:
    """What is left of a text without its spans: rows of one template share it."""
    left, at = "", 0
    for start, end, _ in sorted(text.spans):
        left += text.text[at:start]
        at = end
    return " ".join(re.findall(r"[a-z]+", (left + text.text[at:]).lower()))


def rows_of(texts: Sequence[Text], tokenizer: Any) -> list[Row]:
    """Tokens with their labels."""
    rows = []
    for text in texts:
        tokens = encode(tokenizer, text.text)
        marks = [NAMES.index(OUTSIDE)] * len(tokens.ids)
        for start, end, label in text.spans:
            for at, (a, b) in enumerate(tokens.places):
                if a < end and start < b:
                    marks[at] = NAMES.index(label)
        rows.append((tokens, marks))
    return rows


def unlabelled(texts: Sequence[str], tokenizer: Any) -> list[Row]:
    """Real texts: words that are nearly always in lower case are nothing; what could be something is passed over."""
    small, big = Counter[str](), Counter[str]()
    for text in texts:
        for word in re.findall(r"[A-Za-z]+", text):
            (big if word[0].isupper() else small)[word.lower()] += 1
    rows = []
    for text in texts:
        tokens = encode(tokenizer, text[:MOST])
        doubtful = {
            i
            for match in re.finditer(
                r"\b(?:[A-Za-z]+day|am|pm|years? old|aged?|[A-Z]\w+ \d+|\d+:\d+|\d+ [A-Z]\w+)\b", text
            )
            for i in range(match.start() - 4, match.end() + 4)
        }
        marks = []
        for start, _ in tokens.places:
            word = re.search(r"\w*$", text[:start])[0] + re.match(r"\w*", text[start:])[0]  # type: ignore[index]
            low = word.lower()
            rare = word[:1].isalpha() and big[low] * 4 > small[low]
            marks.append(PASSED_OVER if rare or start in doubtful else NAMES.index(OUTSIDE))
        rows.append((tokens, marks))
    return rows


def real_texts(paths: Sequence[Path], each: int, rng: random.Random) -> list[str]:
    """Some texts of each file, the longest field of a row; and pieces of Python's own library."""
    found = []
    for path in paths:
        lines = path.read_text(encoding="utf-8").splitlines()
        some = map(json.loads, rng.sample(lines, min(each, len(lines))))
        found += [max((value for value in row.values() if isinstance(value, str)), key=len) for row in some]
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    for file in rng.sample(files, 60):
        lines = file.read_text(encoding="utf-8").splitlines()
        for _ in range(6):
            at = rng.randrange(max(1, len(lines) - 12))
            found.append("\n".join(lines[at : at + rng.randrange(2, 12)]))
    return [text for text in found if text.strip()]


def varied(texts: Sequence[Text], rng: random.Random) -> list[Text]:
    """The same in other case."""
    changed = [Text(t.text.lower() if rng.random() < 0.7 else t.text.upper(), t.spans) for t in texts]
    return [new for old, new in zip(texts, changed, strict=True) if len(new.text) == len(old.text)]


def train(rows: list[Row], args: argparse.Namespace) -> torch.nn.Module:
    """Fit a new adapter."""
    model = adapt.build(resolve("bundled:minilm-l6-v2"), "token", len(NAMES), args.rank)
    model.get_submodule("bert.embeddings.token_type_embeddings").requires_grad_()
    ids = [[101, *tokens.ids[: LONGEST - 2], 102] for tokens, _ in rows]
    types = [[0, *tokens.capital[: LONGEST - 2], 0] for tokens, _ in rows]
    marks = [[PASSED_OVER, *marks[: LONGEST - 2], PASSED_OVER] for _, marks in rows]

    def loss_of(logits: Tensor, numbers: list[int]) -> Tensor:
        width = logits.shape[1]
        wanted = torch.tensor([marks[i] + [PASSED_OVER] * (width - len(marks[i])) for i in numbers])
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), label_smoothing=0.02)

    recipe = adapt.Recipe(args.epochs, args.batch, args.lr, args.seed, args.bf16, args.max_steps)
    adapt.fit(model, ids, loss_of, recipe, types)
    return model


def save(model: torch.nn.Module, out: Path) -> None:
    """The adapter, and the token types, which tell it about capitals."""
    from safetensors.torch import load_file, save_file

    adapt.save(model, out, {"task": "token", "labels": NAMES, "int8": True})
    path, name = out / "adapter.safetensors", "bert.embeddings.token_type_embeddings.weight"
    save_file({**load_file(path), name: model.state_dict()[name].half().contiguous()}, path)


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelled", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--real", type=Path, nargs="*", default=[])
    parser.add_argument("--each", type=int, default=500, help="rows of each file after --real")
    parser.add_argument("--written", type=int, default=9_000, help="sentences of tools/names_text.py")
    parser.add_argument("--held-out", type=float, default=0.0, help="share of the templates")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--max-steps", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=1, help="how often the labelled rows are taken as they are")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)  # noqa: S311 - no secret
    tokenizer = Tokenizer.from_file(f"{resolve('bundled:minilm-l6-v2')}/tokenizer.json")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    every = labelled(args.labelled)
    left_out = [held_out(template(text), args.held_out) for text in every]
    texts = [text for text, out in zip(every, left_out, strict=True) if not out]
    rows = rows_of([*texts * args.repeat, *varied(texts, rng), *Writer(args.seed).texts(args.written)], tokenizer)
    real = real_texts(args.real, args.each, rng)
    rows += unlabelled(real, tokenizer)
    print(f"{len(rows)} rows, {len(texts)} of them labelled", flush=True)
    model = train([row for row in rows if row[0].ids], args)
    save(model, args.out)
    Seen.of([*(t.text for t in texts), *real]).save(args.out)
    pin(args.out)
    if args.held_out:
        lines = args.labelled.read_text(encoding="utf-8").splitlines()
        measure(args.out, [json.loads(line) for line, out in zip(lines, left_out, strict=True) if out])


def measure(out: Path, rows: list[dict[str, Any]]) -> None:
    """Print what the finder with this tagger makes of labelled rows."""
    from app.models import convert
    from app.privacy.presidio.scrubber import PresidioScrubber
    from evals.personal import found, told

    with tempfile.TemporaryDirectory() as folder:
        convert.adapted(
            [out, Path(resolve("bundled:minilm-l6-v2"))], Path(folder), Path(folder), lambda _part, _what: None
        )
        print(f"{len(rows)} rows held out")
        for figure in told(found(PresidioScrubber(names=f"path:{folder}"), rows)):
            print(f"{figure.name:32} {figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})")


if __name__ == "__main__":
    main()
