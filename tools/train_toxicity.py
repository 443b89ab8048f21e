"""Fine-tune MiniLM for the six Jigsaw labels; write the small adapter `models/convert.py` merges into a checkpoint.

    python -m tools.train_toxicity toxicity_train.jsonl app/weights/detoxify-minilm

Rows: {"text": str} and 0 or 1 for toxic, severe_toxic, obscene, threat, insult and identity_hate. What is trained is in
tools/adapt.py; it learns the labels and, the rare ones above all, the soft labels of tools/toxicity_teacher.py. A part
of the rows, chosen by hash, is held out: for the AUCs, for the calibration (an affine map per label, folded into the
classifier) and for the thresholds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from app.models.catalog import resolve
from app.models.errors import offline
from evals.seen import Seen
from tools import adapt
from tools.pin import held_out, pin
from tools.toxicity_report import LABELS, Report, Rows
from tools.toxicity_teacher import out_of_fold
from tools.toxicity_texts import clean_texts, threats

offline()
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer  # noqa: E402

REPEATS = {"threat": 3, "identity_hate": 2, "severe_toxic": 2}
# How much of the loss is the teacher's: it beats the labels alone where they are few.
TAUGHT = {"toxic": 0.15, "severe_toxic": 0.4, "obscene": 0.15, "threat": 0.6, "insult": 0.15, "identity_hate": 0.4}
THREAT = tuple(float(label in {"toxic", "threat"}) for label in LABELS)
BATCH, RANK = 32, 16


def load(path: Path, share: float) -> tuple[Rows, Rows, list[str]]:
    """Return rows to train on, rows held out, and clean texts held out (whole templates)."""
    train: Rows = []
    held: Rows = []
    with path.open() as file:
        rows = [json.loads(line) for line in file]
    for row in rows:
        (held if held_out(row["text"], share) else train).append((row["text"], tuple(float(row[x]) for x in LABELS)))
    clean: list[str] = []
    for template, texts in clean_texts().items():
        if held_out(template, 0.25):
            clean += texts
        else:
            train += [(text, (0.0,) * len(LABELS)) for text in texts]
    train += [(text, THREAT) for texts in threats().values() for text in texts]
    return train, held, clean


def loss_of(truth: Tensor, taught: Tensor, pool: list[int]) -> adapt.Loss:
    """Cross-entropy with the labels, rare ones weighted, and with the teacher's opinion. pool: rows as they are drawn.

    taught: the teacher's log odds (rows, labels); moved to where the weighted labels pull the logits.
    """
    positives = truth.sum(0)
    weight = ((len(truth) - positives) / positives).sqrt().clamp(max=8.0)
    hard = nn.BCEWithLogitsLoss(pos_weight=weight, reduction="none")
    soft = nn.BCEWithLogitsLoss(reduction="none")
    share = torch.tensor([TAUGHT[label] for label in LABELS])
    opinion = torch.sigmoid(taught + weight.log())

    def loss(logits: Tensor, rows: list[int]) -> Tensor:
        at = [pool[i] for i in rows]
        found: Tensor = ((1 - share) * hard(logits, truth[at]) + share * soft(logits, opinion[at])).mean()
        return found

    return loss


def train(base: str, tokenizer: Any, rows: Rows, args: argparse.Namespace) -> nn.Module:
    """MiniLM fitted to the rows."""
    texts = [text for text, _ in rows]
    truth = torch.tensor([labels for _, labels in rows])
    taught = torch.from_numpy(out_of_fold(texts, truth.numpy()))
    print("taught", flush=True)
    repeats = torch.tensor([REPEATS.get(label, 1) for label in LABELS])
    pool = [i for i, row in enumerate(truth) for _ in range(max(1, int((row * repeats).max())))]
    torch.manual_seed(args.seed)
    model = adapt.build(base, "sequence", len(LABELS), RANK)
    ids = tokenizer(texts, truncation=True, max_length=args.max_tokens)["input_ids"]
    recipe = adapt.Recipe(args.epochs, BATCH, args.lr, args.seed, args.bf16, args.max_steps)
    adapt.fit(model, [ids[i] for i in pool], loss_of(truth, taught, pool), recipe)
    return model


def calibrate(model: nn.Module, maps: NDArray[np.float32]) -> None:
    """Fold slope and offset of each label, (labels, 2), into the classifier."""
    head: Any = model.classifier
    slope, offset = torch.from_numpy(maps[:, 0]), torch.from_numpy(maps[:, 1])
    with torch.no_grad():
        head.weight *= slope[:, None]
        head.bias.copy_(head.bias * slope + offset)


def merged(base: str, adapter: dict[str, Tensor]) -> BertForSequenceClassification:
    """The model as users will have it: merged from the written float16 adapter."""
    from app.models.convert import merge

    model = BertForSequenceClassification(BertConfig.from_pretrained(base, num_labels=len(LABELS)))
    model.load_state_dict(merge(load_file(f"{base}/model.safetensors"), adapter, adapt.SCALE))
    return model


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--max-tokens", type=int, default=160, help="of a row, and of a window when scoring")
    parser.add_argument("--max-steps", type=int, default=0, help="stop early, to try the script")
    parser.add_argument("--held-out", type=float, default=0.12)
    parser.add_argument("--bf16", action="store_true", help="faster where the CPU has AVX512-BF16 or AMX")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--measure-only", action="store_true", help="keep the adapter in `out`; measure it again")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    base = resolve("bundled:minilm-l6-v2")
    tokenizer = BertTokenizer.from_pretrained(base)
    rows, held, clean = load(args.data, args.held_out)
    print(f"{len(rows)} rows to train on; held out: {len(held)} rows, {len(clean)} clean texts", flush=True)
    report = Report(tokenizer, args.max_tokens, held, clean)
    if not args.measure_only:
        model = train(base, tokenizer, rows, args)
        calibrate(model, report.calibrate(model))
        about = {"task": "sequence", "labels": LABELS, "rank": RANK, "window": args.max_tokens, "int8": True}
        adapt.save(model, args.out, {**about, "base": Path(base).parent.name})
        Seen.of(text for text, _ in rows).save(args.out)
    report.write(merged(base, load_file(args.out / "adapter.safetensors")), args.out)
    pin(args.out)


if __name__ == "__main__":
    main()
