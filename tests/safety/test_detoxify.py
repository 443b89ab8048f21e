"""DetoxifyClassifier on the real, prepared checkpoint: what the contract of all classifiers leaves open."""

import asyncio
import json
import shutil
import time
from pathlib import Path

import pytest

from app.config import load_file
from app.core.call import Call
from app.core.events import Refusal, Token
from app.models.catalog import resolve
from app.models.errors import ModelError
from app.pipeline.stages.moderate import Moderate
from app.runtime.prepare import prepare
from app.safety.detoxify import DetoxifyClassifier
from app.safety.segment import UNREADABLE
from tests.kit import WHO, turns_while

ROOT = Path(__file__).parents[2]
LABELS = {"toxicity", "severe_toxicity", "obscene", "threat", "insult", "identity_attack"}
INSULT = "You are a stupid idiot and everyone hates you."
CALM = "The river rises in the hills and flows past three old mills to the sea. "


@pytest.fixture(scope="module")
def classifier():
    prepare(["bundled:detoxify-minilm"])
    return DetoxifyClassifier()


@pytest.fixture(scope="module")
def limits():
    return json.loads((Path(resolve("bundled:detoxify-minilm")) / "thresholds.json").read_text())


async def test_labels_are_detoxifys_own(classifier):
    (scores,) = await classifier.score([CALM])
    assert set(scores) == LABELS | {UNREADABLE}
    assert set(classifier.labels) == LABELS


async def test_every_label_has_a_default_threshold(limits):
    assert set(limits) == LABELS
    assert all(0 < limit < 1 for limit in limits.values())


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (INSULT, "insult"),
        (INSULT, "toxicity"),
        ("I will find you and kill you.", "threat"),
        ("What the fuck is this shit?", "obscene"),
    ],
)
async def test_what_is_toxic_is_above_the_threshold_of_its_label(classifier, limits, text, label):
    (scores,) = await classifier.score([text])
    assert scores[label] >= limits[label]


@pytest.mark.parametrize(
    "text",
    [
        "How do I kill a process that ignores SIGTERM?",
        "The master node died and the slave was promoted.",
        "Abort the transaction, drop the table and execute the script again.",
        "My neighbour is a gay Muslim man and a very good cook.",
        "Thanks, that was helpful!",
    ],
)
async def test_ordinary_technical_and_personal_text_is_below_every_threshold(classifier, limits, text):
    (scores,) = await classifier.score([text])
    assert [label for label in LABELS if scores[label] >= limits[label]] == []


@pytest.mark.parametrize("before", [0, 60, 200])
async def test_an_insult_is_found_wherever_it_stands_in_a_long_text(classifier, limits, before):
    text = CALM * before + INSULT + " " + CALM * (200 - before)
    (scores,) = await classifier.score([text])
    assert scores["toxicity"] >= limits["toxicity"]


async def test_a_long_calm_text_stays_calm(classifier, limits):
    (scores,) = await classifier.score([CALM * 200])
    assert scores["toxicity"] < limits["toxicity"]


@pytest.mark.parametrize(
    "text",
    [
        "You are a stupid 1d10t and everyone hates you.",
        "You are a stup\u0456d idi\u043et and everyone hates you.",  # Cyrillic letters
        "\u200b".join("You are a stupid idiot and everyone hates you."),
        "You are a s.t.u.p.i.d i d i o t and everyone hates you.",
        "\uff39\uff4f\uff55 are a \uff53\uff54\uff55\uff50\uff49\uff44 idiot and everyone hates you.",
    ],
)
async def test_an_insult_in_disguise_is_above_the_threshold(classifier, limits, text):
    (scores,) = await classifier.score([text])
    assert scores["toxicity"] >= limits["toxicity"]


@pytest.mark.parametrize(
    "text",
    [
        "\ud800 lone \udfff",
        "\x00\x01\x02\x7f",
        "\u200b\u200b\ufeff",
        "aGVsbG8gd29ybGQ=" * 50,
        "a" * 50_000,
        "\u4f60\u597d \u0645\u0631\u062d\u0628\u0627 \u0437\u0434\u0440\u0430\u0432\u0441\u0442\u0432\u0443\u0439",
        "\N{PILE OF POO}" * 200,
        "Z" + "\u0301" * 2000,
    ],
)
async def test_no_text_is_too_strange_for_a_score(classifier, text):
    (scores,) = await classifier.score([text])
    assert all(0 <= score <= 1 for score in scores.values())


async def test_the_call_of_another_is_not_kept_waiting_by_a_very_long_text(classifier):
    long = asyncio.create_task(classifier.score([CALM * 2000]))
    await asyncio.sleep(0)
    await classifier.score([CALM])
    assert not long.done()
    long.cancel()


async def test_in_8_bits_neighbours_do_not_change_a_score(classifier):
    assert classifier.int8
    (alone,) = await classifier.score([INSULT])
    found = await classifier.score([CALM, INSULT, "!" * 200, CALM * 3])
    assert found[1] == alone


async def test_8_bits_score_as_32_do_up_to_noise(classifier):
    whole = DetoxifyClassifier(int8=False)
    assert not whole.int8
    for small, large in zip(await classifier.score([INSULT, CALM]), await whole.score([INSULT, CALM]), strict=True):
        assert small == pytest.approx(large, abs=0.1)


def test_the_default_config_has_the_thresholds_that_the_weights_were_calibrated_for(limits):
    assert load_file(ROOT / "configs" / "local.yaml").policy.moderate.thresholds == limits


async def test_the_event_loop_runs_on_while_the_model_calculates(classifier):
    work = asyncio.create_task(classifier.score([CALM * 100]))
    assert await turns_while(work) > 5


def test_a_checkpoint_whose_keys_do_not_fit_is_refused_instead_of_scoring_at_random(classifier, tmp_path):
    import torch

    folder = tmp_path / "wrong"
    shutil.copytree(resolve("bundled:detoxify-minilm"), folder)
    checkpoint = torch.load(folder / "detoxify.ckpt", weights_only=True)
    checkpoint["state_dict"] = {f"model.{key}": value for key, value in checkpoint["state_dict"].items()}
    torch.save(checkpoint, folder / "detoxify.ckpt")
    with pytest.raises(ModelError, match=r"were not loaded as trained.*penstock models prepare"):
        DetoxifyClassifier(f"path:{folder}")


@pytest.mark.parametrize("start", ["You", "Your ", "You are", "He", "Women"])
async def test_the_first_word_of_a_polite_answer_is_no_insult(classifier, start):
    (scores,) = await classifier.score([start])
    assert scores["toxicity"] < load_file(ROOT / "configs" / "local.yaml").policy.moderate.thresholds["toxicity"]


@pytest.mark.parametrize("text", ["idiot", "You idiot", "Fuck you", "Kill yourself"])
async def test_an_insult_of_a_word_or_two_still_is_one(classifier, text):
    (scores,) = await classifier.score([text])
    assert scores["toxicity"] > 0.8


@pytest.mark.parametrize("around", ["{}", CALM * 3 + "{}", "{} " + CALM * 3, CALM + "{} " + CALM, "By the way, {}"])
async def test_an_insult_stops_an_answer_wherever_it_stands(classifier, around):
    async def answer():
        for word in around.format(INSULT).split(" "):
            yield Token(f"{word} ")
        yield Token("", finish_reason="stop")

    moderate = Moderate(classifier, load_file(ROOT / "configs" / "local.yaml").policy.moderate)
    call = Call("call", WHO, time.monotonic() + 60)
    assert any([isinstance(event, Refusal) async for event in moderate(call, answer())])
