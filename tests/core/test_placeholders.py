# ruff: noqa: RUF001 - other scripts are what this is about
"""A placeholder comes back however the model spells it, and nothing else is taken for one."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.core.vault import Vault

SPELLINGS = [
    "<PERSON_1>", "PERSON_1", "<person_1>", "<Person_1>", "< PERSON_1 >", "<PERSON 1>", "<PERSON-1>", "[PERSON_1]",
    "{PERSON_1}", "{{PERSON_1}}", "&lt;PERSON_1&gt;", "&amp;lt;PERSON_1&amp;gt;", "&#60;PERSON_1&#62;",
    "\\<PERSON_1\\>",
    "<PERSON\\_1>", "\\u003cPERSON_1\\u003e", "\\u003CPERSON_1\\u003E", "%3CPERSON_1%3E", "＜PERSON_1＞",
    "＜ＰＥＲＳＯＮ＿１＞", "<**PERSON_1**>", "PERSON\\_1", "PERSON 1", "PERSON-1", "person_1", "Person_1",
    "«PERSON_1»",
    "‹PERSON_1›", "【PERSON_1】", "<Personne_1>", "<PERSONA_1>", "<人物_1>", "<Человек_1>", "[person 1]", "<PERSON_01>",
    "<PERSON_1/>", "<PERSON1>",
]  # fmt: skip
LITERAL = [
    "person 1", "Person 1", "XPERSON_1", "PERSON_1x", "MY_PERSON_1", "PERSON_1_ID", "PERSONS", "<b>",
    "<PERSON>", "[1]", "<STEP_1>", "x < PERSON", "<PERSON_ONE>", "PERSON_",
]  # fmt: skip
AROUND = st.sampled_from(["", " ", "Dear ", ", ", ".", "\n", "**", "`", "'", "(", "你好", "!", "_", '"'])
CUTS = st.lists(st.integers(0, 400), max_size=10)


def vault(*originals: str) -> Vault:
    made = Vault()
    for original in originals or ("Nora Quill",):
        made.name(original, "PERSON")
    return made


def restored(made: Vault, text: str, cuts: list[int], *, quoted: bool = False) -> str:
    restorer = made.restorer(quoted=quoted)
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return "".join(restorer.feed(text[a:b]) for a, b in zip(edges, edges[1:], strict=False)) + restorer.flush()


@given(st.sampled_from(SPELLINGS), AROUND, AROUND, CUTS)
def test_every_spelling_comes_back_however_it_is_split(said: str, before: str, behind: str, cuts: list[int]) -> None:
    assume(not (said.startswith("[") and behind.startswith("(")))  # a link of Markdown, whose brackets stay
    assert restored(vault(), f"{before}{said}{behind}", cuts) == f"{before}Nora Quill{behind}"


@given(st.sampled_from(LITERAL), st.sampled_from(["", " ", "(", "\n"]), CUTS)
def test_what_is_no_placeholder_stays_as_it_is(said: str, around: str, cuts: list[int]) -> None:
    assert restored(vault(), f"{around}{said}{around}", cuts) == f"{around}{said}{around}"


def test_person_10_is_not_person_1_and_a_zero() -> None:
    made = vault(*(f"N{at}" for at in range(1, 11)))
    assert restored(made, "PERSON_10, <PERSON_1>0", [8, 9, 20]) == "N10, N10"


@given(st.sampled_from(["<PERSON_7>", "PERSON_7", "[PERSON_7]", "&lt;PERSON_7&gt;", "<EMAIL_ADDRESS_1>"]), CUTS)
def test_a_placeholder_that_the_model_made_up_is_never_shown_and_is_counted(said: str, cuts: list[int]) -> None:
    restorer = vault().restorer()
    text = f"Dear {said}!"
    edges = [0, *sorted(cut % len(text) for cut in cuts), len(text)]
    shown = "".join(restorer.feed(text[a:b]) for a, b in zip(edges, edges[1:], strict=False)) + restorer.flush()
    assert (shown, restorer.unknown) == ("Dear [unknown]!", 1)


@pytest.mark.parametrize("said", ["<PERSON_1>", "[PERSON_1]", "PERSON_1", "&lt;PERSON_1&gt;", "<person 1>"])
def test_a_placeholder_of_the_prompts_own_stays_in_any_spelling(said: str) -> None:
    made = Vault()
    made.reserve([f"What does {said} mean?"])
    assert made.name("Nora Quill", "PERSON") == "<PERSON_2>"
    assert restored(made, f"{said} is not <PERSON_2>", [7]) == f"{said} is not Nora Quill"


@pytest.mark.parametrize("name", ['Nora "The Pen" Quill', "back\\slash", "two\nlines"])
@given(cuts=CUTS)
def test_a_text_that_begins_as_json_stays_valid(name: str, cuts: list[int]) -> None:
    answer = '{"name": "<PERSON_1>", "also": ["\\u003cPERSON_1\\u003e"]}'
    assert json.loads(restored(vault(name), answer, cuts)) == {"name": name, "also": [name]}


@given(st.lists(st.sampled_from([*SPELLINGS, *LITERAL, " ", "a", "<", "&lt", "\\", "[", "PERSON"]), max_size=8), CUTS)
def test_an_answer_is_restored_the_same_however_it_is_split(parts: list[str], cuts: list[int]) -> None:
    text = "".join(parts)
    assert restored(vault(), text, cuts) == restored(vault(), text, [])


def test_no_more_than_a_beginning_is_held_back() -> None:
    restorer = vault().restorer()
    assert [restorer.feed(piece) for piece in ("If a <", " b then", " P", "ay &l", "arge")] == [
        "If a ", "< b then", " ", "Pay ", "&large",
    ]  # fmt: skip
