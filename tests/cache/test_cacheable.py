"""Which requests may be answered from the cache, and for which reason the others may not."""

from __future__ import annotations

import pytest

from app.cache.cacheable import forbidden, keepable
from app.config.cache import Cacheable
from app.core.events import Message, Prompt
from tests.kit import ask

RULES = Cacheable()


def why(prompt: Prompt, *, personal: bool = False, **rules: object) -> str | None:
    return forbidden(prompt, Cacheable(**rules), personal=personal)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "What is the capital of France?",
        "How do I reverse a list in Python?",
        "Is it safe to eat raw cookie dough made without eggs, and does heating the flour first change that at all?",
        "Explain this line of code: total = sum(x * x for x in range(10)). What does it print when it is run?",
        "Why do knowledgeable people disagree?",
        "Snow is white because of what?",
        "Why is it that metals feel colder than wood at room temperature when both are equally warm?",
    ],
)
def test_a_question_that_stands_alone_may_be_cached(text: str) -> None:
    assert why(ask(text)) is None


@pytest.mark.parametrize(
    "text",
    [
        "What's the weather in Oslo?",
        "What happened TODAY?",
        "Who is the current champion?",
        "What is the latest   version of Python?",
        "what time is it in Tokyo",
        "How high is unemployment as of 2026?",
        "Any good restaurants near me?",
        "Summarize this\nweek in physics.",
    ],
)
def test_a_question_whose_answer_changes_with_time_is_not_cached(text: str) -> None:
    assert why(ask(text)) == "time"


def test_an_earlier_turn_that_asks_for_now_keeps_the_follow_up_out() -> None:
    turns = (Message("user", "What's the news?"), Message("assistant", "Much."), Message("user", "Shorter, please"))
    assert why(Prompt(turns)) == "time"


def test_time_words_are_config() -> None:
    assert why(ask("What happened today?"), time_words=()) is None
    assert why(ask("Wie ist das Wetter in Wien?"), time_words=("Wetter",)) == "time"


@pytest.mark.parametrize(
    "text",
    [
        "And in France?",
        "Continue",
        "what about cats?",
        "Summarize the above.",
        "Explain it again",
        "Is your last answer right?",
        "please translate that into French",
        "It does not work",
        "yes",
        "Same for Italy",
    ],
)
def test_a_first_message_that_points_elsewhere_is_not_cached(text: str) -> None:
    assert why(ask(text)) == "context"
    assert why(ask(text), references=True) is None


def test_the_same_words_within_a_conversation_may_be_cached_because_the_conversation_must_agree() -> None:
    turns = (Message("user", "Capital of Italy?"), Message("assistant", "Rome."), Message("user", "And of France?"))
    assert why(Prompt(turns)) is None


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({}, None),
        ({"temperature": 0}, None),
        ({"temperature": 0.7}, None),
        ({"temperature": 0.8}, "temperature"),
        ({"n": 2}, "choices"),
        ({"logprobs": True}, "logprobs"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
    ],
)
def test_what_was_asked_for_decides(params: dict[str, object], reason: str | None) -> None:
    assert why(ask("What is rust?", **params)) == reason


def test_a_conversation_that_used_a_tool_is_not_cached() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turns = (
        Message("user", "How warm is it in the oven?"),
        Message("assistant", "", {"tool_calls": [call]}),
        Message("tool", "180", {"tool_call_id": "c"}),
        Message("user", "Thank you. Is that enough for bread?"),
    )
    assert why(Prompt(turns)) == "tools"
    assert why(Prompt(turns), tools=True) is None


def test_a_request_without_a_temperature_can_be_kept_out_too() -> None:
    assert why(ask("What is rust?"), unset_temperature=False) == "temperature"
    assert why(ask("What is rust?", temperature=0), unset_temperature=False) is None


def test_personal_data_keeps_a_request_out_unless_the_config_lets_it_in() -> None:
    assert why(ask("Greet <PERSON_1>"), personal=True) == "personal"
    assert forbidden(ask("Greet <PERSON_1>"), Cacheable(personal=True), personal=True) is None


def test_a_continuation_a_blank_and_a_huge_question_are_not_cached() -> None:
    assert why(Prompt((Message("user", "Once upon"),), raw=True)) == "raw"
    assert why(ask("  \n")) == why(Prompt((Message("system", "Be kind"),))) == "empty"
    assert why(ask("x" * 20_001)) == "long"


def test_only_an_answer_that_says_something_and_not_too_much_is_kept() -> None:
    assert keepable("Paris.", RULES)
    assert not keepable(" \n", RULES)
    assert not keepable("x" * 50_001, RULES)


def test_a_megabyte_of_anything_is_judged_at_once() -> None:
    for text in ("and " * 250_000, "\x00\ufffd" * 500_000, "now" * 300_000):
        assert forbidden(ask(text), Cacheable(max_question=2_000_000), personal=False) in (None, "time")
