"""MiniLMEncoder on the real model: what the contract of all encoders leaves open."""

import asyncio

import numpy as np
import pytest

from app.models.chunks import windows
from app.models.encoder import MiniLMEncoder
from tests.kit import turns_while

WORDS = ["river", "gate", "wheel", "stone", "valley", "water", "north", "bridge", "turbine", "lake"]


@pytest.fixture(scope="module")
def encoder():
    return MiniLMEncoder()


async def test_a_paraphrase_is_nearer_than_another_question(encoder):
    one, same, other = await encoder.encode(
        ["How can I reset my password?", "I forgot my password, how do I change it?", "How tall is Mount Everest?"]
    )
    assert one @ same > 0.7
    assert one @ other < 0.2


async def test_two_long_texts_that_differ_only_in_their_ends_get_different_vectors(encoder):
    start = " ".join(WORDS * 40)
    cooking, law = await encoder.encode(
        [f"{start} {'How long do I bake rye bread? ' * 30}", f"{start} {'Which court hears an appeal? ' * 30}"]
    )
    assert cooking @ law < 0.9


async def test_a_long_text_is_a_unit_vector_on_its_own_subject(encoder):
    whole, same, other = await encoder.encode(
        ["Bake bread with rye flour and salt. " * 100, "How do I bake bread?", "Which court hears an appeal?"]
    )
    assert np.linalg.norm(whole) == pytest.approx(1, abs=1e-5)
    assert whole @ same > 0.4 > whole @ other


async def test_short_and_long_texts_in_one_call_keep_their_order(encoder):
    texts = ["short", "", "Bake bread with rye flour. " * 100, "another", "Which court hears an appeal? " * 100]
    together = await encoder.encode(texts)
    alone = np.concatenate([await encoder.encode([text]) for text in texts])
    assert np.abs(together - alone).max() < 1e-4


async def test_the_event_loop_runs_on_while_the_model_calculates(encoder):
    work = asyncio.create_task(encoder.encode(["Bake bread with rye flour and salt, slowly. " * 20] * 16))
    assert await turns_while(work) > 5


def test_windows_cover_the_whole_text_within_the_limit(encoder):
    tokenizer = encoder._model.tokenizer
    text = " ".join(f"{word}{number}" for number in range(60) for word in WORDS)
    pieces = windows(tokenizer, text, limit=128, overlap=16)
    assert text.startswith(pieces[0])
    assert text.endswith(pieces[-1])
    assert all(len(tokenizer(piece)["input_ids"]) <= 128 for piece in pieces)
    at = 0
    for piece in pieces:
        found = text.find(piece)
        assert found <= at
        at = found + len(piece)
    assert at == len(text)


@pytest.mark.parametrize("text", ["", "a", "two words"])
def test_a_text_that_fits_is_its_own_only_window(encoder, text):
    assert windows(encoder._model.tokenizer, text, limit=256, overlap=16) == [text]
