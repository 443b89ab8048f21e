"""`/v1/moderations` through the official openai client, over a real server; once with the real moderator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest

from app.api.openai.moderation_categories import LABELS, result
from app.safety.detoxify import DetoxifyClassifier
from app.testing.fakes import FakeAuthenticator, FakeClassifier
from tests.kit import KEY, WHO, Kit, limited, serving

WORDS = {
    "toxicity": ["idiot"],
    "insult": ["moron"],
    "threat": ["hurt you"],
    "identity_attack": ["those people"],
    "obscene": ["damn"],
}
THRESHOLDS = {"toxicity": 0.8, "insult": 0.8, "threat": 0.3, "identity_attack": 0.5, "obscene": 0.8}


@pytest.fixture
def kit() -> Kit:
    return Kit(moderator=FakeClassifier(WORDS))


@pytest.fixture
def url(kit: Kit) -> Iterator[str]:
    with serving(kit.gateway(moderate={"thresholds": THRESHOLDS}), kit.metrics) as base:
        yield base


@pytest.fixture
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0)


def post(url: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/moderations", json=body, headers={"Authorization": f"Bearer {KEY}"})


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("you idiot", "harassment"),
        ("you moron", "harassment"),
        ("I will hurt you", "harassment/threatening"),
        ("those people again", "hate"),
        ("damn", None),
        ("a fine day", None),
    ],
)
def test_a_text_is_flagged_in_the_category_that_its_label_measures(url: str, text: str, category: str | None) -> None:
    (found,) = post(url, input=text).json()["results"]
    assert [category] * bool(category) == [name for name, flagged in found["categories"].items() if flagged]
    assert bool(category) is found["flagged"]


def test_all_thirteen_categories_stand_in_every_part_and_the_client_reads_them(client: openai.OpenAI, url: str) -> None:
    (found,) = post(url, input="you idiot").json()["results"]
    assert 13 == len(LABELS)
    for part in ("categories", "category_scores", "category_applied_input_types"):
        assert list(LABELS) == list(found[part])
    answer = client.moderations.create(input="I will hurt you")
    assert answer.results[0].categories.harassment_threatening
    assert 0.99 == answer.results[0].category_scores.harassment_threatening
    assert answer.id.startswith("modr-")


def test_a_category_that_nothing_measures_says_so(client: openai.OpenAI) -> None:
    found = client.moderations.create(input="you idiot").results[0]
    applied = found.category_applied_input_types.model_dump(by_alias=True)
    measured = {"harassment", "harassment/threatening", "hate"}
    assert {name: ["text"] if name in measured else [] for name in LABELS} == applied
    scores = found.category_scores.model_dump(by_alias=True)
    assert {0.0} == {score for name, score in scores.items() if name not in measured}


def test_a_model_that_knows_sexual_content_measures_it() -> None:
    found = result({"sexual_explicit": 0.9}, {"sexual_explicit": 0.5})
    assert (True, True, 0.9, ["text"]) == (
        found["flagged"], found["categories"]["sexual"], found["category_scores"]["sexual"],
        found["category_applied_input_types"]["sexual"],
    )  # fmt: skip


def test_a_label_without_a_threshold_is_scored_and_never_flags(kit: Kit) -> None:
    with serving(kit.gateway(moderate={"thresholds": {"threat": 0.5}})) as url:
        (found,) = post(url, input="you idiot").json()["results"]
    assert (False, 0.99) == (found["flagged"], found["category_scores"]["harassment"])


def test_texts_have_a_result_each_and_parts_are_one_text(client: openai.OpenAI) -> None:
    several = client.moderations.create(input=["fine", "you idiot", ""])
    assert [False, True, False] == [one.flagged for one in several.results]
    parts = client.moderations.create(input=[{"type": "text", "text": "fine"}, {"type": "text", "text": "you idiot"}])
    assert [True] == [one.flagged for one in parts.results]


def test_a_call_is_settled_once_and_costs_nothing_unless_the_policy_says_so(kit: Kit, url: str) -> None:
    assert "detoxify" == post(url, input="four letters each").json()["model"]
    price = {"input": "5", "cached_input": "5", "output": "0"}
    with serving(kit.gateway(moderations={"model_id": "mod", "price": price})) as other:
        assert "mod" == post(other, input="four letters each", model="mod").json()["model"]
    free, paid = kit.rows
    assert ("moderation", "ok", 0, 4) == (free.tier, free.outcome, free.cost, free.prompt_tokens)
    assert 4 * 5 == paid.cost * 1_000_000
    assert "letters" not in str(free)


def test_limits_and_scopes_hold() -> None:
    kit = Kit(authenticator=FakeAuthenticator({KEY: limited(requests=1)}))
    with serving(kit.gateway()) as url:
        assert [200, 429] == [post(url, input="x").status_code for _ in range(2)]
        kit.authenticator.keys[KEY] = replace(WHO, scopes=frozenset({"chat"}))
        assert 403 == post(url, input="x").status_code


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (400, "missing_required_parameter", "input")),
        ({"input": []}, (400, "invalid_value", "input")),
        ({"input": 3}, (400, "invalid_type", "input")),
        ({"input": [{"type": "image_url", "image_url": {"url": "data:,"}}]}, (400, "invalid_value", "input[0].type")),
        ({"input": "x", "model": "omni-moderation-latest"}, (404, "model_not_found", "model")),
        ({"input": "four" * 8193}, (400, "context_length_exceeded", "input")),
    ],
)
def test_what_cannot_be_judged_is_refused_with_its_parameter(
    url: str, body: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    answer = post(url, **body)
    error = answer.json()["error"]
    assert expected == (answer.status_code, error["code"], error["param"])


def test_the_real_moderator_flags_what_its_own_policy_would_stop() -> None:
    thresholds = {"toxicity": 0.9, "severe_toxicity": 0.4, "threat": 0.3, "insult": 0.8, "identity_attack": 0.5}
    kit = Kit(moderator=DetoxifyClassifier())
    with serving(kit.gateway(moderate={"thresholds": thresholds})) as url:
        client = openai.OpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0, timeout=60)
        texts = ["Thank you, that was very helpful.", "You are a stupid idiot and everyone hates you.",
                 "I will kill you tonight."]  # fmt: skip
        kind, insult, threat = client.moderations.create(input=texts).results
    assert not kind.flagged
    assert insult.categories.harassment
    assert threat.categories.harassment_threatening
    assert kind.category_scores.harassment < 0.1
    assert insult.category_scores.harassment > 0.8
