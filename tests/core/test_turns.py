"""One order of turns that every chat template takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.events import Message
from app.core.turns import CLOSED, OPENED, ordered


def chat(*turns: tuple[str, str]) -> tuple[Message, ...]:
    return tuple(Message(role, text) for role, text in turns)


def told(text: str) -> str:
    return f"{OPENED}{text}{CLOSED}"


CALL = Message("assistant", "", {"tool_calls": [{"id": "c1"}]})
RESULT = Message("tool", "rain", {"tool_call_id": "c1"})


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (chat(("system", "A"), ("user", "hi")), chat(("system", "A"), ("user", "hi"))),
        (chat(("system", "A"), ("developer", "B"), ("user", "hi")), chat(("system", "A\n\nB"), ("user", "hi"))),
        (chat(("developer", "A"), ("user", "hi")), chat(("system", "A"), ("user", "hi"))),
        (chat(("user", "hi"), ("system", "A")), chat(("user", f"hi\n{told('A')}"))),
        (
            chat(("user", "hi"), ("assistant", "yes?"), ("system", "A"), ("user", "go on")),
            chat(("user", "hi"), ("assistant", "yes?"), ("user", f"{told('A')}\ngo on")),
        ),
        (
            chat(("user", "hi"), ("assistant", "yes?"), ("system", "A")),
            chat(("user", "hi"), ("assistant", "yes?"), ("user", told("A"))),
        ),
        (chat(("system", "A")), chat(("user", "A"))),
        (chat(("system", "A"), ("system", "B")), chat(("system", "A"), ("user", "B"))),
        (chat(("user", "hi"), ("system", " ")), chat(("user", "hi"))),
        ((), ()),
    ],
)
def test_system_turns_stand_first_or_within_a_users(sent: tuple[Message, ...], read: tuple[Message, ...]) -> None:
    assert read == ordered(sent)


def test_a_system_turn_between_a_call_and_its_result_comes_behind_the_result() -> None:
    question, note = Message("user", "hi"), Message("system", "A")
    assert (question, CALL, RESULT, Message("user", told("A"))) == ordered((question, CALL, note, RESULT))


def test_a_conversation_without_system_turns_stays_as_it_is() -> None:
    sent = (Message("user", "a", {"name": "x"}), Message("user", "b"), CALL, RESULT, Message("assistant", "c"))
    assert sent == ordered(sent)


ROLE = st.sampled_from(["user", "assistant", "system", "developer", "tool"])


@given(st.lists(st.tuples(ROLE, st.text(max_size=3)), max_size=12))
def test_nothing_is_lost_and_no_system_turn_stands_behind_the_first(turns: list[tuple[str, str]]) -> None:
    read = ordered(chat(*turns))
    assert all(message.role not in ("system", "developer") for message in read[1:])
    said: Any = "".join(message.text for message in read)
    assert all(text in said for _, text in turns if text.strip())
    assert not read or read[-1].role != "system"
