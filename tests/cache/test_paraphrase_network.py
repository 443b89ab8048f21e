"""The network that compares two questions token by token: what its shape promises, whatever its weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from app.cache.paraphrase.network import DIM, LAYERS, NAMES, Committee, Question

LENGTHS = ((5, 9), (3, 4), (12, 7))  # tokens of either side, [CLS] and [SEP] included


@pytest.fixture(scope="module")
def committee() -> Committee:
    torch.manual_seed(1)
    return Committee(2).eval()


def questions(side: int, longest: int, pairs: range = range(len(LENGTHS))) -> Question:
    """The same tokens whatever stands beside them in a batch."""
    tokens = torch.zeros(len(pairs), longest, DIM * len(LAYERS))
    ids, inner = torch.zeros(len(pairs), longest, dtype=torch.int64), torch.zeros(len(pairs), longest, dtype=torch.bool)
    for row, pair in enumerate(pairs):
        n = LENGTHS[pair][side]
        random = torch.Generator().manual_seed(10 * pair + side)
        tokens[row, :n] = torch.randn(n, DIM * len(LAYERS), generator=random)
        ids[row, :n] = torch.randint(1000, 1020, (n,), generator=random)
        inner[row, 1 : n - 1] = True
    return Question(tokens, ids, inner)


def strings(count: int = len(LENGTHS)) -> Tensor:
    return torch.linspace(0, 1, len(NAMES)).expand(count, -1)


@torch.no_grad()
def test_a_pair_has_one_score_whichever_question_comes_first(committee: Committee) -> None:
    first, second = questions(0, 12), questions(1, 12)
    assert committee(first, second, strings()) == pytest.approx(committee(second, first, strings()), abs=1e-4)


@torch.no_grad()
def test_neither_padding_nor_neighbours_change_a_score(committee: Committee) -> None:
    together = committee(questions(0, 20), questions(1, 30), strings())
    for pair, (one, two) in enumerate(LENGTHS):
        alone = committee(
            questions(0, one, range(pair, pair + 1)), questions(1, two, range(pair, pair + 1)), strings(1)
        )
        assert alone.item() == pytest.approx(together[pair].item(), abs=1e-4)


@torch.no_grad()
def test_a_committees_logit_is_its_members_mean(committee: Committee) -> None:
    first, second = questions(0, 12), questions(1, 12)
    each = [member(first, second, strings()) for member in committee.members]
    assert committee(first, second, strings()) == pytest.approx(sum(each) / len(each), abs=1e-5)
