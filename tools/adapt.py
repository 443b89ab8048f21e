"""What the scripts that fine-tune MiniLM share: low-rank pairs on its layers, a training loop, and the written adapter.

An adapter is a few MB: low-rank pairs on every linear layer, biases, layer norms, the pooler and the classifier; the
rest of MiniLM stays as its package ships it. `app/models/convert.py` merges the two again when models are prepared.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from app.models.errors import offline

offline()
from transformers import BertConfig, BertForSequenceClassification, BertForTokenClassification  # noqa: E402

SCALE = 2.0
KINDS: dict[str, Any] = {"sequence": BertForSequenceClassification, "token": BertForTokenClassification}
Loss = Callable[[Tensor, list[int]], Tensor]
"""The model's logits of some rows, and which rows they are of -> a scalar. Token logits: (rows, longest, labels)."""


@dataclass(frozen=True)
class Recipe:
    """How to train. lr: of the pairs; the classifier takes half. max_steps: stop early, to try a script (0: do not)."""

    epochs: int = 3
    batch: int = 32
    lr: float = 1e-3
    seed: int = 7
    bf16: bool = False
    max_steps: int = 0


class LowRank(nn.Module):  # type: ignore[misc]
    """A frozen linear layer plus a trained low-rank pair: y = W x + b + SCALE * B A x."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base
        self.lora_a = nn.Parameter(torch.randn(rank, base.in_features) / math.sqrt(base.in_features))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., in) -> (..., out)."""
        change: Tensor = x @ self.lora_a.T @ self.lora_b.T
        return self.base(x) + SCALE * change  # type: ignore[no-any-return]


def trained(name: str) -> bool:
    """Whether a parameter is trained, and so written into the adapter."""
    return name.endswith("bias") or any(part in name for part in ("lora_", "LayerNorm", "pooler", "classifier"))


def build(base: str, task: str, labels: int, rank: int = 16) -> nn.Module:
    """MiniLM with a new classifier. task: `sequence` or `token`. base: its folder."""
    # Dropout inside attention would cost a fifth of the time; the other dropouts stay.
    config = BertConfig.from_pretrained(base, num_labels=labels, attention_probs_dropout_prob=0.0)
    config._attn_implementation = "eager"  # noqa: SLF001 - backwards, the fused one takes 40 % of a step on a CPU
    model: nn.Module = KINDS[task](config)
    weights = {k: v for k, v in load_file(f"{base}/model.safetensors").items() if "position_ids" not in k}
    bert: Any = model.bert
    if task == "token":
        weights = {k: v for k, v in weights.items() if "pooler" not in k}
    bert.load_state_dict(weights)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = trained(name)
    for name, module in list(bert.encoder.named_modules()):
        if isinstance(module, nn.Linear):
            parent, _, child = name.rpartition(".")
            setattr(bert.encoder.get_submodule(parent), child, LowRank(module, rank))
    return model


def resume(model: nn.Module, folder: Path) -> None:
    """Put what `save` wrote into a model that `build` made for the same task and labels. KeyError: something lacks."""
    tensors = load_file(folder / "adapter.safetensors")
    for name, value in model.state_dict().items():
        if trained(name):
            value.copy_(tensors[name.replace(".base.", ".")])


def pad(ids: Sequence[Sequence[int]], types: Sequence[Sequence[int]] | None = None) -> dict[str, Tensor]:
    """Token ids -> input_ids, attention_mask and, of pairs, token_type_ids: (rows, longest)."""
    longest = -(-max(map(len, ids)) // 16) * 16  # few shapes: each new one costs the CPU library a compilation
    rows = torch.tensor([[*row, *[0] * (longest - len(row))] for row in ids])
    found = {"input_ids": rows, "attention_mask": (rows != 0).long()}
    if types is not None:
        found["token_type_ids"] = torch.tensor([[*row, *[0] * (longest - len(row))] for row in types])
    return found


def batches(lengths: Sequence[int], size: int, rng: random.Random) -> list[list[int]]:
    """Row numbers in batches of like length, so that little is padding; batches in random order."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i] * rng.uniform(0.9, 1.1))
    groups = [order[i : i + size] for i in range(0, len(order), size)]
    rng.shuffle(groups)
    return groups


def fit(
    model: nn.Module,
    ids: Sequence[Sequence[int]],
    loss_of: Loss,
    recipe: Recipe,
    types: Sequence[Sequence[int]] | None = None,
) -> None:
    """Train in place: AdamW, one cycle, gradients clipped. ids: token ids of every row, special ones included."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    head = [p for name, p in named if "pooler" in name or "classifier" in name]
    rest = [p for name, p in named if "pooler" not in name and "classifier" not in name]
    optimizer = torch.optim.AdamW(
        [{"params": head, "lr": recipe.lr / 2}, {"params": rest, "lr": recipe.lr}], weight_decay=0.01
    )
    steps = recipe.epochs * math.ceil(len(ids) / recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [recipe.lr / 2, recipe.lr], total_steps=steps, pct_start=0.1, cycle_momentum=False
    )
    rng = random.Random(recipe.seed)  # noqa: S311 - no secret
    model.train()
    step, began = 0, time.monotonic()
    for _ in range(recipe.epochs):
        for rows in batches([len(row) for row in ids], recipe.batch, rng):
            feed = pad([ids[i] for i in rows], types and [types[i] for i in rows])
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bf16):
                logits = model(**feed).logits.float()
            loss = loss_of(logits, rows)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(head + rest, 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            if step % 20 == 0:
                pace = (time.monotonic() - began) / step
                print(f"step {step}/{steps} loss {loss.item():.3f} {pace:.2f} s/step", flush=True)
            if step == recipe.max_steps:
                return


@torch.no_grad()  # type: ignore[untyped-decorator]
def predict(
    model: nn.Module, ids: Sequence[Sequence[int]], types: Sequence[Sequence[int]] | None = None, batch: int = 32
) -> list[Tensor]:
    """Each row's logits: (labels,), or of a `token` model (len(row), labels)."""
    model.eval()
    found: list[Tensor] = [torch.empty(0)] * len(ids)
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    for at in range(0, len(order), batch):
        rows = order[at : at + batch]
        logits = model(**pad([ids[i] for i in rows], types and [types[i] for i in rows])).logits
        for i, row in zip(rows, logits, strict=True):
            found[i] = row[: len(ids[i])] if row.dim() > 1 else row
    return found


def save(model: nn.Module, out: Path, about: dict[str, Any]) -> None:
    """Write adapter.safetensors, in float16, and adapter.json. about: at least `task` and `labels`."""
    tensors = {
        name.replace(".base.", "."): value.half().contiguous()
        for name, value in model.state_dict().items()
        if trained(name)
    }
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out / "adapter.safetensors")
    (out / "adapter.json").write_text(json.dumps({**about, "scale": SCALE}, indent=2) + "\n")
