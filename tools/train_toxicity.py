"""Fine-tune MiniLM for the six Jigsaw labels; write the small adapter that `app/recipes.py` merges into a checkpoint.

    python -m tools.train_toxicity toxicity_train.jsonl app/weights/detoxify-minilm

Rows: {"text": str} and 0 or 1 for toxic, severe_toxic, obscene, threat, insult and identity_hate. Trained are low-rank
pairs on every linear layer, all biases and layer norms, the pooler and the classifier; the rest of MiniLM stays as its
package ships it. A part of the rows, chosen by hash, is held out: for the AUCs, for the calibration (an affine map per
label, folded into the classifier) and for the thresholds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from app.models import offline, resolve
from tools.pin import held_out, pin
from tools.toxicity_report import LABELS, Report, Rows, pad

offline()
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer  # noqa: E402

REPEATS = {"threat": 4, "identity_hate": 2, "severe_toxic": 2}
RANK, SCALE = 16, 2.0

# What engineers and ordinary people write with words that moderation trips over. Every slot takes every filler.
TECHNICAL = {
    "How do I {kill} a {process} in Linux?": 1,
    "{kill} the {process} and start it again, please.": 1,
    "The {process} was {killed} because it ran out of memory.": 1,
    "Why does my {process} get {killed} after an hour in Kubernetes?": 1,
    "Write a bash script that {kills} every {process} older than a day.": 1,
    "What is the best way to {kill} a hanging {process} without losing data?": 1,
    "The master node stopped and the slave {process} took over.": 1,
    "Can we {kill} the {process} during the {attack} test?": 1,
    "Explain how a {attack} works and how to defend a web server against it.": 1,
    "Our {process} survived the {attack} last night; the report is attached.": 1,
    "Log the {attack} attempts and block the address for ten minutes.": 1,
    "def stop(self): self.{kill}_{process}()  # never raises": 1,
    "Is it safe to {kill} PID 4312, the {process}?": 1,
    "Drop the table, truncate the log and {kill} the {process}.": 1,
    "In chess, when should I attack the king and sacrifice the queen?": 0,
    "My grandmother is a {person} and she makes the best soup in town.": 2,
    "I am a {person} and I would like some advice on my job application.": 2,
    "Our neighbours are {person} people and they invited us for dinner.": 2,
    "What holidays do {person} families celebrate in winter?": 2,
    "Summarize the history of the {person} community in Chicago.": 2,
    "Which medicines help against chest pain, and how does the heart die back after an infarct?": 0,
    "The plot of the novel: a detective looks for the man who murdered the baker. Write chapter {number}.": 3,
    "Give me {number} facts about black holes, dead stars and naked singularities.": 3,
    "Translate the following {number} sentences about breast cancer screening into French.": 3,
    "Please review pull request {number}: it removes a stupid mistake of mine in the parser.": 3,
    "Shoot me an email when build {number} has crashed again.": 3,
    "Write {number} unit tests for a dumb terminal emulator.": 3,
    "My code is ugly and slow, can you make it {number} times faster?": 3,
    "Fix this damn bug number {number}, I have been at it all night.": 3,
    "How much garbage does the collector free in {number} milliseconds?": 3,
    "Sort a list of {number} integers in Python and explain the complexity.": 3,
    "What is the capital of the country with area code {number}?": 3,
}
FILLERS = {
    "kill": ("kill", "terminate", "abort", "destroy", "execute"),
    "kills": ("kills", "terminates", "aborts"),
    "killed": ("killed", "terminated", "shot down", "executed"),
    "process": ("process", "child process", "daemon", "zombie", "job", "pod", "worker", "container", "parent", "slave"),
    "attack": ("brute force attack", "SQL injection", "man in the middle attack", "denial of service", "penetration"),
    "person": ("gay", "Muslim", "Jewish", "black", "transgender", "lesbian", "Christian", "Mexican", "deaf", "Chinese"),
    "number": ("3", "7", "12", "44", "101", "208"),
}


def technical(limit: int = 12) -> dict[str, list[str]]:
    """Clean texts by template, at most `limit` of each: template -> texts."""
    texts: dict[str, list[str]] = {}
    for template in TECHNICAL:
        slots = [slot for slot in FILLERS if "{" + slot + "}" in template]
        filled = [
            template.format(**dict(zip(slots, words, strict=True)))
            for words in itertools.product(*(FILLERS[slot] for slot in slots))
        ]
        random.Random(template).shuffle(filled)  # noqa: S311 - no secret
        texts[template] = [text[0].upper() + text[1:] if text[0].islower() else text for text in filled[:limit]]
    return texts


def load(path: Path, share: float) -> tuple[Rows, Rows, list[str]]:
    """Return rows to train on, rows held out, and clean technical texts held out (whole templates)."""
    train: Rows = []
    held: Rows = []
    with path.open() as file:
        rows = [json.loads(line) for line in file]
    for row in rows:
        (held if held_out(row["text"], share) else train).append((row["text"], tuple(float(row[x]) for x in LABELS)))
    clean: list[str] = []
    for template, texts in technical().items():
        if held_out(template, 0.25):
            clean += texts
        else:
            train += [(text, (0.0,) * len(LABELS)) for text in texts]
    return train, held, clean


class LowRank(nn.Module):
    """A frozen linear layer plus a trained low-rank pair: y = W x + b + SCALE * B A x."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.lora_a = nn.Parameter(torch.randn(RANK, base.in_features) / math.sqrt(base.in_features))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, RANK))

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., in) -> (..., out)."""
        change: Tensor = x @ self.lora_a.T @ self.lora_b.T
        return self.base(x) + SCALE * change  # type: ignore[no-any-return]


def trained(name: str) -> bool:
    """Whether a parameter is trained, and so written into the adapter."""
    return name.endswith("bias") or any(part in name for part in ("lora_", "LayerNorm", "pooler", "classifier"))


def build(folder: str) -> BertForSequenceClassification:
    """MiniLM with a new classifier and low-rank pairs on every linear layer of its encoder."""
    # Dropout inside attention would cost a fifth of the time and rule out the fused kernel; the other dropouts stay.
    config = BertConfig.from_pretrained(folder, num_labels=len(LABELS), attention_probs_dropout_prob=0.0)
    model = BertForSequenceClassification(config)
    base = {key: value for key, value in load_file(f"{folder}/model.safetensors").items() if "position_ids" not in key}
    model.bert.load_state_dict(base)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = trained(name)
    for name, module in list(model.bert.encoder.named_modules()):
        if isinstance(module, nn.Linear):
            parent, _, child = name.rpartition(".")
            setattr(model.bert.encoder.get_submodule(parent), child, LowRank(module))
    return model


def batches(lengths: list[int], size: int, rng: random.Random) -> list[list[int]]:
    """Row numbers in batches of like length, so that little is padding; batches in random order."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i] * rng.uniform(0.9, 1.1))
    groups = [order[i : i + size] for i in range(0, len(order), size)]
    rng.shuffle(groups)
    return groups


def train(model: BertForSequenceClassification, ids: list[list[int]], truth: Tensor, args: argparse.Namespace) -> None:
    """Fit in place: binary cross-entropy, rare labels weighted and repeated, cosine schedule."""
    positives = truth.sum(0)
    weight = ((len(truth) - positives) / positives).sqrt().clamp(max=8.0)
    loss_of = nn.BCEWithLogitsLoss(pos_weight=weight)
    repeats = torch.tensor([REPEATS.get(label, 1) for label in LABELS])
    pool = [i for i, row in enumerate(truth) for _ in range(max(1, int((row * repeats).max())))]
    head = [p for n, p in model.named_parameters() if p.requires_grad and ("pooler" in n or "classifier" in n)]
    rest = [p for n, p in model.named_parameters() if p.requires_grad and "pooler" not in n and "classifier" not in n]
    optimizer = torch.optim.AdamW(
        [{"params": head, "lr": args.lr / 2}, {"params": rest, "lr": args.lr}], weight_decay=0.01
    )
    rng = random.Random(args.seed)  # noqa: S311 - no secret
    steps = args.epochs * math.ceil(len(pool) / args.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [args.lr / 2, args.lr], total_steps=steps, pct_start=0.1, cycle_momentum=False
    )
    model.train()
    step, began = 0, time.monotonic()
    for _ in range(args.epochs):
        for group in batches([len(ids[i]) for i in pool], args.batch, rng):
            rows = [pool[i] for i in group]
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
                logits = model(**pad([ids[i] for i in rows])).logits.float()
            loss = loss_of(logits, truth[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(head + rest, 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            if step % 50 == 0:
                pace = (time.monotonic() - began) / step
                print(f"step {step}/{steps} loss {loss.item():.3f} {pace:.2f} s/step", flush=True)
            if step == args.max_steps:
                return


def save(model: BertForSequenceClassification, out: Path, maps: NDArray[np.float32]) -> None:
    """Write the adapter in float16, the calibration folded into the classifier."""
    slope, offset = torch.from_numpy(maps[:, 0]), torch.from_numpy(maps[:, 1])
    tensors = {}
    for name, parameter in model.state_dict().items():
        if trained(name):
            tensors[name.replace(".base.", ".")] = parameter.clone()
    tensors["classifier.weight"] *= slope[:, None]
    tensors["classifier.bias"] = tensors["classifier.bias"] * slope + offset
    halves = {key: value.half().contiguous() for key, value in tensors.items()}
    out.mkdir(parents=True, exist_ok=True)
    save_file(halves, out / "adapter.safetensors")


def merged(base: str, adapter: dict[str, Tensor]) -> BertForSequenceClassification:
    """The model as users will have it: merged from the written float16 adapter."""
    from app.recipes import merge

    model = BertForSequenceClassification(BertConfig.from_pretrained(base, num_labels=len(LABELS)))
    model.load_state_dict(merge(load_file(f"{base}/model.safetensors"), adapter, SCALE))
    return model


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--max-tokens", type=int, default=160, help="of a row, and of a window when scoring")
    parser.add_argument("--max-steps", type=int, default=0, help="stop early, to try the script")
    parser.add_argument("--held-out", type=float, default=0.12)
    parser.add_argument("--bf16", action="store_true", help="faster where the CPU has AVX512-BF16 or AMX")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--measure-only", action="store_true", help="keep the adapter in `out`; measure it again")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)

    base = resolve("bundled:minilm-l6-v2")
    tokenizer = BertTokenizer.from_pretrained(base)
    rows, held, clean = load(args.data, args.held_out)
    print(f"{len(rows)} rows to train on; held out: {len(held)} rows, {len(clean)} clean texts", flush=True)
    report = Report(tokenizer, args.max_tokens, held, clean)
    if not args.measure_only:
        model = build(base)
        ids = tokenizer([text for text, _ in rows], truncation=True, max_length=args.max_tokens)["input_ids"]
        train(model, ids, torch.tensor([labels for _, labels in rows]), args)
        save(model, args.out, report.calibrate(model))
    about = {"labels": LABELS, "scale": SCALE, "rank": RANK, "window": args.max_tokens, "base": Path(base).parent.name}
    (args.out / "adapter.json").write_text(json.dumps(about, indent=2) + "\n")
    report.write(merged(base, load_file(args.out / "adapter.safetensors")), args.out)
    pin(args.out)


if __name__ == "__main__":
    main()
