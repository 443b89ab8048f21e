"""Vault and Restorer: what is hidden comes back, and nothing else."""

from __future__ import annotations

import re
import time

from hypothesis import given
from hypothesis import strategies as st

from app.core.ports import Span
from app.core.restorer import Names, Restorer
from app.core.vault import Vault
from app.privacy.pseudonyms import Surrogates


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
    assert vault.restorer().feed(hidden) == text


def test_only_what_may_still_become_a_placeholder_is_held_back() -> None:
    restorer = Restorer(Names({"<PERSON_1>": "Ann"}))
    assert [restorer.feed(piece) for piece in ("Hi <", "b> and <PER", "SON_1", "> a < b", " ")] == [
        "Hi ",
        "<b> and ",
        "",
        "Ann a < b",
        " ",
    ]


def test_an_unfinished_placeholder_comes_out_as_it_stands_at_the_end() -> None:
    restorer = Restorer(Names({"<PERSON_1>": "Ann"}))
    assert restorer.feed("see <PERSON") + restorer.flush() == "see <PERSON"


NAMES = st.sampled_from(["Ann", "Bob Smith", "Zoë", "a@x.org", "<b>", "李雷"])
PIECES = st.text(alphabet="ab <>_1PERSON\nÄ李", max_size=12)


def written(parts: list[tuple[str, str]]) -> tuple[str, list[Span]]:
    text, found = "", []
    for before, name in parts:
        text += before
        found.append(Span(len(text), len(text) + len(name), "PERSON", 1.0))
        text += name
    return text, found


def restored(restorer: Restorer, text: str, cuts: list[int]) -> str:
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return "".join(restorer.feed(text[a:b]) for a, b in zip(edges, edges[1:], strict=False)) + restorer.flush()


CUTS = st.lists(st.integers(0, 400), max_size=10)


@given(st.lists(st.tuples(PIECES, NAMES), min_size=1, max_size=8), CUTS)
def test_hidden_text_restores_to_the_original_however_it_is_split(
    parts: list[tuple[str, str]], cuts: list[int]
) -> None:
    text, found = written(parts)
    vault = Vault()
    vault.reserve([text])
    assert restored(vault.restorer(), text, cuts) == text
    hidden = vault.hide(text, found)
    assert restored(vault.restorer(), hidden, cuts) == text


SPACED = st.text(alphabet="ab ,\n", max_size=6).map(lambda text: f" {text} ")
PEOPLE = st.sampled_from(["Ann", "ANN", "Ann Smith", "J. Smith", "Smith", "McDonald", "Mcdonald", "Zoë", "李雷"])


@given(st.lists(st.tuples(SPACED, PEOPLE), min_size=1, max_size=8), CUTS)
def test_stand_ins_restore_to_the_original_however_they_are_split(
    parts: list[tuple[str, str]], cuts: list[int]
) -> None:
    text, found = written(parts)
    vault = Vault(Surrogates(b"key", "acme", [text]))
    hidden = vault.hide(text, found)
    assert "Ann" not in hidden
    assert "Smith" not in hidden
    assert restored(vault.restorer(), hidden, cuts) == text


@given(st.text(alphabet="AlwenMarsh .", max_size=40), CUTS)
def test_however_an_answer_is_split_it_is_restored_the_same(text: str, cuts: list[int]) -> None:
    names = {"Alwen Marsh": "Ann Smith", "A. Marsh": "J. Smith", "Alwen": "Ann", "Marsh": "Smith", "<PERSON_1>": "Bo"}
    words = frozenset({"Alwen", "Marsh"})
    assert restored(Restorer(Names(names, words)), text, []) == restored(Restorer(Names(names, words)), text, cuts)


def test_a_word_of_a_name_comes_back_only_as_a_whole_word() -> None:
    restorer = Restorer(Names({"Alwen Marsh": "Ann Smith", "Alwen": "Ann"}, frozenset({"Alwen"})))
    said = "Alwen Marsh, dear Alwen's Alwens; Alwen"
    assert "Ann Smith, dear Ann's Alwens; Ann" == restored(restorer, said, [3, 9, 21, 30])


def test_in_json_originals_come_back_escaped() -> None:
    vault = Vault()
    hidden = vault.hide('Bob "B" Smith', [Span(0, 13, "PERSON", 1.0)])
    assert '{"to": "Bob \\"B\\" Smith"}' == restored(vault.restorer(quoted=True), f'{{"to": "{hidden}"}}', [5, 12])


@given(st.sets(st.text("ab1", min_size=1, max_size=5), min_size=1, max_size=12), st.text("ab1 ", max_size=30), CUTS)
def test_of_names_that_begin_one_another_the_longest_counts(names: set[str], text: str, cuts: list[int]) -> None:
    table = Names({name: f"[{name}]" for name in names})
    longest_first = sorted(names, key=len, reverse=True)
    expected = re.sub("|".join(longest_first), lambda found: f"[{found[0]}]", text)
    assert expected == restored(Restorer(table), text, cuts)


def test_a_great_many_originals_take_no_longer_than_their_text() -> None:
    text = "".join(f"ada{at}@x.org, " for at in range(20_000))
    found = [Span(m.start(), m.end(), "EMAIL_ADDRESS", 1.0) for m in re.finditer(r"ada\d+@x\.org", text)]
    vault = Vault()
    started = time.thread_time()
    hidden = vault.hide(text, found)
    restorer = vault.restorer()
    assert text == restorer.feed(hidden) + restorer.flush()
    assert time.thread_time() - started < 3
