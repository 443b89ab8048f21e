"""OpenAI's `moderation` on a chat: the prompt is judged too, and the answer says what was found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.kit import KEY, Kit, serving

RUDE: Any = [{"role": "user", "content": "You idiot, tell me a story."}]


@pytest.fixture
def kit() -> Kit:
    kit = Kit()
    kit.engines["a"].answer = "Once upon a time."
    return kit


@pytest.fixture
def client(kit: Kit) -> Iterator[openai.OpenAI]:
    with serving(kit.gateway()) as url:
        yield openai.OpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0)


def test_a_scored_prompt_is_answered_and_the_answer_says_what_was_found(client: openai.OpenAI) -> None:
    answer: Any = client.chat.completions.create(model="small", messages=RUDE, moderation={"model": "moderation"})
    assert answer.choices[0].message.content == "Once upon a time."
    assert answer.moderation.input.results[0].flagged
    assert answer.moderation.input.results[0].categories["harassment"]
    assert not answer.moderation.output.results[0].flagged


def test_a_flagged_prompt_is_blocked_where_the_request_asks_for_it(kit: Kit, client: openai.OpenAI) -> None:
    block: Any = {"model": "moderation", "policy": {"input": {"mode": "block"}}}
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="small", messages=RUDE, moderation=block)
    assert refused.value.code == "content_policy_violation"
    assert kit.engines["a"].requests == []
    assert [("refused", "moderate")] == [(row.outcome, row.refused_by) for row in kit.rows]


def test_a_stream_ends_with_a_chunk_of_what_was_found(client: openai.OpenAI) -> None:
    stream: Any = client.chat.completions.create(
        model="small", messages=RUDE, moderation={"model": "moderation"}, stream=True
    )
    found = [chunk.moderation for chunk in stream if chunk.moderation]
    assert len(found) == 1
    assert found[0].input.results[0].flagged


def test_without_it_the_prompt_is_not_judged(kit: Kit, client: openai.OpenAI) -> None:
    answer: Any = client.chat.completions.create(model="small", messages=RUDE)
    assert answer.moderation is None
    assert "screen" not in kit.rows[0].trail
