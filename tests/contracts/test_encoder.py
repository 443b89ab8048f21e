"""Every Encoder: unit vectors, one for each text, the same for the same text."""

from __future__ import annotations

import numpy as np
import pytest

from app.config.adapters import load
from app.core.ports import Encoder
from app.runtime.prepare import prepare


@pytest.fixture(scope="module", params=["fake", "minilm"])
def encoder(request: pytest.FixtureRequest) -> Encoder:
    if request.param == "minilm":
        prepare(["bundled:minilm-l6-v2"])
    return load("encoder", request.param)()


async def test_one_unit_vector_of_384_floats_comes_back_for_each_text(encoder: Encoder) -> None:
    rows = await encoder.encode(["a short question", "Ein längerer Satz mit Umlauten. " * 200, ""])
    assert (rows.shape, rows.dtype) == ((3, 384), np.float32)
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1, 1], abs=1e-4)


async def test_a_text_has_the_same_vector_whatever_stands_beside_it(encoder: Encoder) -> None:
    alone = await encoder.encode(["what is a penstock"])
    among = await encoder.encode(["x", "what is a penstock", "a much longer neighbour " * 20])
    assert float(alone[0] @ among[1]) == pytest.approx(1, abs=1e-3)


async def test_the_same_words_are_nearer_than_other_words(encoder: Encoder) -> None:
    rows = await encoder.encode(
        ["How do I open the sluice gate?", "how do I open the sluice gate", "Bake bread with rye flour."]
    )
    assert rows[0] @ rows[1] > 0.9
    assert rows[0] @ rows[2] < 0.5


async def test_no_texts_give_no_rows(encoder: Encoder) -> None:
    assert (await encoder.encode([])).shape == (0, 384)
