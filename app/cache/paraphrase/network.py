"""The network that reads two questions' tokens against each other.  Imports torch: only to train and to export it.

tools/train_same.py trains it, models/convert.py exports it to ONNX, paraphrase/judge.py runs that. MiniLM stays as its
package ships it and reads each question by itself; what is trained compares the two token by token (after Parikh et
al., "A Decomposable Attention Model", 2016), beside a few numbers on the two as strings (paraphrase/features.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, softmax

from app.cache.paraphrase.features import NAMES

DIM = 384
LAYERS = (6, 3)
"""Of MiniLM's hidden states: what a token means here, and what it is nearer its own spelling."""
WIDTH = 128
FURTHEST = 3  # tokens of a question that the other has least of
MEASURES = 13  # see `numbers`
LOW = -1e4


class Comparison(nn.Module):  # type: ignore[misc]
    """One comparison of two questions. The same for (a, b) and (b, a)."""

    def __init__(self, drop: float = 0.3) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(DIM * len(LAYERS))
        self.project = nn.Linear(DIM * len(LAYERS), WIDTH)
        self.attend = nn.Linear(WIDTH, WIDTH, bias=False)
        nn.init.eye_(self.attend.weight)
        self.sharpness = nn.Parameter(torch.tensor(8.0))
        self.compare = nn.Sequential(
            nn.Linear(4 * WIDTH + 2, WIDTH), nn.GELU(), nn.Dropout(drop), nn.Linear(WIDTH, WIDTH), nn.GELU()
        )
        self.gate = nn.Linear(WIDTH, 1)
        self.whole = nn.Linear(DIM, WIDTH)
        self.out = nn.Sequential(
            nn.Dropout(drop), nn.Linear(6 * WIDTH + len(NAMES) + MEASURES, WIDTH), nn.GELU(),
            nn.Dropout(drop), nn.Linear(WIDTH, 1),
        )  # fmt: skip
        self.drop = nn.Dropout(drop)

    def forward(self, a: Question, b: Question, strings: Tensor) -> Tensor:
        """strings: likeness.features, standardised, (pairs, len(NAMES)). Returns logits (pairs,)."""
        measures = numbers(a, b)
        ours, theirs = (self.project(self.drop(self.norm(q.tokens))) for q in (a, b))
        near = normalize(self.attend(ours), dim=2) @ normalize(self.attend(theirs), dim=2).transpose(1, 2)
        near = near * self.sharpness
        equal = (a.ids[:, :, None] == b.ids[:, None, :]) & a.inner[:, :, None] & b.inner[:, None, :]
        same = equal.float()
        mine = self._pool(self._against(ours, theirs, b.inner, near, same), a.inner)
        other = self._pool(self._against(theirs, ours, a.inner, near.transpose(1, 2), same.transpose(1, 2)), b.inner)
        one, two = self.whole(a.vector * 20), self.whole(b.vector * 20)
        read = [
            mine + other,
            (mine - other).abs(),
            (one - two).abs(),
            one * two,
            measures[:, :1],
            strings,
            measures[:, 1:],
        ]
        logits: Tensor = self.out(torch.cat(read, 1))[:, 0] + 6 * (measures[:, 0] - 0.8)
        return logits

    def _against(self, ours: Tensor, theirs: Tensor, inner: Tensor, near: Tensor, same: Tensor) -> Tensor:
        """Each token of ours beside what of theirs it is nearest to: (pairs, tokens, WIDTH)."""
        near = near.masked_fill(~inner[:, None, :], LOW)
        aligned = softmax(near, 2) @ theirs
        signs = [same.amax(2)[..., None], near.amax(2)[..., None] / 10]
        found: Tensor = self.compare(torch.cat([ours, aligned, (ours - aligned).abs(), ours * aligned, *signs], 2))
        return found

    def _pool(self, compared: Tensor, inner: Tensor) -> Tensor:
        """The largest of each number, and their mean weighted by a gate: (pairs, 2 * WIDTH)."""
        weights = softmax(self.gate(compared)[..., 0].masked_fill(~inner, LOW), 1)
        largest = compared.masked_fill(~inner[..., None], LOW).amax(1)
        return torch.cat([largest, (compared * weights[..., None]).sum(1)], 1)


class Question:
    """One side of some pairs.

    tokens: (pairs, longest, DIM * 2), zeros past the end; ids: (pairs, longest); inner: true for tokens but [CLS],
    [SEP] and padding; vector: the mean of all tokens, unit length, (pairs, DIM), as the encoder gives it.
    """

    def __init__(self, tokens: Tensor, ids: Tensor, inner: Tensor) -> None:
        self.tokens, self.ids, self.inner = tokens, ids, inner
        self.last = tokens[..., :DIM]
        there = (tokens.abs().sum(2) > 0)[..., None]
        self.vector = normalize((self.last * there).sum(1) / there.sum(1), dim=1)


class Committee(nn.Module):  # type: ignore[misc]
    """Several comparisons that were trained from different beginnings; their mean errs less than any."""

    def __init__(self, members: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(Comparison() for _ in range(members))
        self.register_buffer("mean", torch.zeros(len(NAMES)))
        self.register_buffer("scale", torch.ones(len(NAMES)))

    def forward(self, a: Question, b: Question, strings: Tensor) -> Tensor:
        """strings: likeness.features as they are. Returns logits (pairs,)."""
        strings = (strings - self.mean) / self.scale
        return torch.stack([member(a, b, strings) for member in self.members]).mean(0)


class Reader(nn.Module):  # type: ignore[misc]
    """MiniLM and the committee on one pair, for export.

    int64 (1, tokens) twice, float32 (1, len(NAMES)) -> float32 (1, 1 + MEASURES): the logit, and `numbers`.
    """

    def __init__(self, encoder: Any, committee: Committee) -> None:
        super().__init__()
        self.encoder, self.committee = encoder, committee

    def forward(self, first: Tensor, second: Tensor, strings: Tensor) -> Tensor:
        """first, second: token ids with [CLS] and [SEP]."""
        a, b = self._read(first), self._read(second)
        return torch.cat([self.committee(a, b, strings)[:, None], numbers(a, b)], 1)

    def _read(self, ids: Tensor) -> Question:
        states = self.encoder(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True)
        tokens = torch.cat([states.hidden_states[layer] for layer in LAYERS], 2)
        at = torch.arange(ids.shape[1])
        inner = ((at > 0) & (at < ids.shape[1] - 1))[None]
        return Question(tokens, ids, inner)


def numbers(a: Question, b: Question) -> Tensor:
    """What MiniLM tells untrained: the cosine, and how near each token's nearest on the other side is.

    (pairs, MEASURES): of the two directions first the smaller number, then the larger.
    """
    cosine = (a.vector * b.vector).sum(1, keepdim=True)
    near = normalize(a.last, dim=2) @ normalize(b.last, dim=2).transpose(1, 2)
    near = near.masked_fill(~a.inner[:, :, None], -2).masked_fill(~b.inner[:, None, :], -2)
    one, two = _statistics(near.amax(2), a.inner), _statistics(near.amax(1), b.inner)
    return torch.cat([cosine, torch.minimum(one, two), torch.maximum(one, two)], 1)


def _statistics(near: Tensor, inner: Tensor) -> Tensor:
    """Mean, least, means of the least two and three, how much and how often something is far: (pairs, 6)."""
    near = near.masked_fill(~inner, 1.0)
    count = inner.sum(1).clamp(min=1)
    padded = torch.cat([near, torch.ones_like(near[:, :1]).expand(-1, FURTHEST)], 1)
    least = padded.topk(FURTHEST, dim=1, largest=False).values
    return torch.stack(
        [
            (near * inner).sum(1) / count,
            least[:, 0],
            least[:, :2].mean(1),
            least.mean(1),
            ((1 - near) * inner).sum(1),
            (near < 0.6).float().sum(1),
        ],
        1,
    )
