"""Every string of a Token is read, in the part that it is of, and what is form is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.events import Token, ToolDelta
from app.safety.spoken import alternative, spoken
from tests.examples import examples

MARK = "marked"


def entry(token: str, *others: str) -> dict[str, Any]:
    tops = [{"token": other, "logprob": -1.0, "bytes": list(other.encode())} for other in others]
    return {"token": token, "logprob": -0.1, "bytes": list(token.encode()), "top_logprobs": tops}


def texts(token: Token, known: tuple[str, ...] = ()) -> list[str]:
    return [text for _, text in spoken(token, known)]


def test_text_is_one_part_and_each_call_another() -> None:
    assert [(("text", "text"), "a")] == spoken(Token("a"))
    parts = {spoken(Token("", tool=ToolDelta(n, "{}")))[0][0] for n in (0, 1)}
    assert len(parts) == 2


def test_logprobs_of_the_text_itself_are_read_once_and_others_too() -> None:
    assert ["ab"] == texts(Token("ab", logprobs=[entry("a"), entry("b")]))
    assert ["ab", "a", "x"] == texts(Token("ab", logprobs=[entry("a"), entry("x")]))


def test_alternatives_are_told_apart_by_rank() -> None:
    found = spoken(Token("ab", logprobs=[entry("a", "a", "p"), entry("b", "b", "q")]))
    ranks: dict[Any, str] = {}
    for part, text in found:
        if alternative(part):
            ranks[part] = ranks.get(part, "") + text
    assert ["ab", "pq"] == list(ranks.values())


def test_bytes_that_spell_something_else_are_read() -> None:
    odd = {**entry("a"), "bytes": list(MARK.encode())}
    assert MARK in texts(Token("a", logprobs=[odd]))


def test_words_of_form_and_of_the_request_are_not_read() -> None:
    assert [] == texts(Token("", finish_reason="stop"))
    assert ["call_1"] == texts(Token("", tool=ToolDelta(0, "", "call_1", "kill")), ("kill",))
    assert ["stop"] == texts(Token("stop"), ("stop",)), "an answer's own words are always read"


@dataclass(frozen=True, slots=True)
class Later(Token):
    """A Token with fields that nobody has thought of yet."""

    kind: str = "text"
    notes: tuple[str, ...] = ()


def test_a_field_that_nobody_has_heard_of_is_read() -> None:
    assert [MARK] == texts(Later("", notes=(MARK,)))
    assert [MARK] == texts(Later("", kind=MARK))


def test_pieces_of_another_kind_are_another_text() -> None:
    (thought, _), (said, _) = spoken(Later("a", kind="reasoning"))[0], spoken(Later("a"))[0]
    assert thought != said


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5), lambda some: st.lists(some) | st.dictionaries(st.text(), some)
)


@settings(deadline=None, max_examples=examples(80))
@given(st.dictionaries(st.text(max_size=5), JSON), st.text(max_size=5))
def test_no_string_of_an_entry_is_passed_over(extra: dict[str, Any], text: str) -> None:
    def strings(node: Any) -> list[str]:
        if isinstance(node, dict):
            return [one for key, value in node.items() for one in [key, *strings(value)]]
        return (
            [one for value in node for one in strings(value)]
            if isinstance(node, list)
            else [node] * isinstance(node, str)
        )

    read = "\0".join(texts(Token(text, logprobs=[{**extra, "note": {"deep": extra}}])))
    assert all(one in read for one in strings(extra) if one not in {"token", "logprob", "bytes", "top_logprobs"})
