"""Vault and Restorer: what is hidden comes back, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.ports import Span
from app.rules.placeholders import Restorer, Vault


def spans(text: str, *found: tuple[str, str]) -> list[Span]:
    return [Span(text.index(part), text.index(part) + len(part), kind, 1.0) for part, kind in found]


def test_each_original_has_one_placeholder_in_order_of_appearance() -> None:
    text = "Ann met Bob. "
    vault = Vault()
    hidden = vault.hide(text, spans(text, ("Ann", "PERSON"), ("Bob", "PERSON")))
    again = vault.hide("Bob left", [Span(0, 3, "PERSON", 1.0)])
    assert hidden == "<PERSON_1> met <PERSON_2>. "
    assert again == "<PERSON_2> left"
    assert vault.shape == ("<PERSON_1>", "<PERSON_2>")


def test_a_placeholder_that_the_caller_wrote_is_never_taken_for_one_of_ours() -> None:
    vault = Vault()
    text = "what does <PERSON_1> mean, asks Ann"
    vault.reserve([text])
    hidden = vault.hide(text, spans(text, ("Ann", "PERSON")))
    assert hidden == "what does <PERSON_1> mean, asks <PERSON_2>"
    assert Restorer(vault.originals).feed(hidden) == text


def test_only_what_may_still_become_a_placeholder_is_held_back() -> None:
    restorer = Restorer({"<PERSON_1>": "Ann"})
    assert [restorer.feed(piece) for piece in ("Hi <", "b> and <PER", "SON_1", "> a < b", " ")] == [
        "Hi ",
        "<b> and ",
        "",
        "Ann a < b",
        " ",
    ]


def test_an_unfinished_placeholder_comes_out_as_it_stands_at_the_end() -> None:
    restorer = Restorer({"<PERSON_1>": "Ann"})
    assert restorer.feed("see <PERSON") + restorer.flush() == "see <PERSON"


NAMES = st.sampled_from(["Ann", "Bob Smith", "Zoë", "a@x.org", "<b>", "李雷"])
PIECES = st.text(alphabet="ab <>_1PERSON\nÄ李", max_size=12)


@given(st.lists(st.tuples(PIECES, NAMES), min_size=1, max_size=8), st.data())
def test_hidden_text_restores_to_the_original_however_it_is_split(
    parts: list[tuple[str, str]], data: st.DataObject
) -> None:
    text, found = "", []
    for before, name in parts:
        text += before
        found.append(Span(len(text), len(text) + len(name), "PERSON", 1.0))
        text += name
    vault = Vault()
    vault.reserve([text])
    hidden = vault.hide(text, found)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(hidden)), max_size=10)))
    restorer = Restorer(vault.originals)
    edges = [0, *cuts, len(hidden)]
    shown = "".join(restorer.feed(hidden[a:b]) for a, b in zip(edges, edges[1:], strict=False)) + restorer.flush()
    assert shown == text
