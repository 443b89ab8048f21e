"""Two questions that differ in what must agree are told apart; rewordings are let through to the model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cache.paraphrase.features import NAMES, features
from app.cache.paraphrase.rules import disagree, equal_where_case_matters, normalise, within_one_edit

DIFFER = [
    ("numbers", "What to eat at 37 weeks?", "What to eat at 35 weeks?"),
    ("numbers", "Can I retire at fifty?", "Can I retire at sixty?"),
    ("numbers", "Is 1,500 enough?", "Is 15,000 enough?"),
    ("numbers", "How do I unlock an iPhone 6?", "How do I unlock an iPhone 6s?"),
    ("numbers", "What is 2.5 squared?", "What is 25 squared?"),
    ("units", "How long is 5 km?", "How long is 5 miles?"),
    ("units", "Is 30 g of salt too much?", "Is 30 mg of salt too much?"),
    ("units", "Can I live on $900?", "Can I live on 900 euros?"),
    ("dates", "Is the shop open on Monday?", "Is the shop open on Friday?"),
    ("dates", "Where to travel in May?", "Where to travel in March?"),
    ("dates", "What happens at 5 am?", "What happens at 5 pm?"),
    ("negation", "Why do cats like water?", "Why don\u2019t cats like water?"),
    ("negation", "Can I fly with a passport?", "Can I fly without a passport?"),
    ("opposites", "How do I gain weight?", "How do I lose weight?"),
    ("opposites", "What to do before a test?", "What to do after a test?"),
    ("signs", "What is x = y?", "What is x > y?"),
    ("signs", "What is 7 + 2?", "What is 7 - 2?"),
    ("quotes", 'What does "break a leg" mean?', 'What does "spill the beans" mean?'),
    ("script", "What does 猫 mean?", "What does 犬 mean?"),
    ("script", "\U0001f600 or not?", "\U0001f622 or not?"),
    ("names", "How long to fly to Paris?", "How long to fly to Rome?"),
    ("roles", "What do Croats think of Turks?", "What do Turks think of Croats?"),
    ("roles", "How do I convert PDF to Word?", "How do I convert Word to PDF?"),
    ("roles", "Does stress cause pain?", "Does pain cause stress?"),
    ("exact", "What does `rm -r a` do?", "What does `rm -r A` do?"),
    ("exact", "Who runs https://a.example/x?", "Who runs https://a.example/X?"),
    ("exact", "Does <PERSON_1> owe <PERSON_2>?", "Does <PERSON_2> owe <PERSON_1>?"),
]
AGREE = [
    ("How do I lose weight?", "What is the best way to lose weight?"),
    ("What can't I eat?", "What can I not eat?"),
    ("Is it two km to town?", "Is it 2 kilometers to town?"),
    ("Is 1000 enough?", "Is 1,000 enough?"),
    ("Is 10km far?", "Is 10 km far?"),
    ("Who leads the USA?", "Who leads the United States of America?"),
    ("How do I use Facebook?", "how do i use facebok"),
    ("What is the difference between sleep and death?", "What is the difference between death and sleep?"),
    ("What is the weather in June in Slovenia?", "What is the weather in Slovenia in June?"),
    ("Are ghosts real?", "Are ghosts real or not?"),
    ("I am lost, what do I do?", "What do I do if I am lost?"),
]


@pytest.mark.parametrize(("rule", "a", "b"), DIFFER)
def test_a_difference_in_meaning_is_named(rule: str, a: str, b: str) -> None:
    assert disagree(a, b) == rule
    assert disagree(b, a) is not None


@pytest.mark.parametrize(("a", "b"), AGREE)
def test_a_difference_in_wording_is_left_to_the_model(a: str, b: str) -> None:
    assert disagree(a, b) is None


@given(st.text(), st.text())
def test_rules_and_features_take_any_two_texts(a: str, b: str) -> None:
    assert disagree(a, a) is None
    assert disagree(a, b) is None or normalise(a) != normalise(b) or not equal_where_case_matters(a, b)
    assert features(a, b) == features(b, a)
    assert len(features(a, b)) == len(NAMES)


def test_invisible_characters_blanks_and_the_last_mark_change_nothing() -> None:
    assert normalise("  How do\u200b I\n go ?") == "how do i go"


@pytest.mark.parametrize(("a", "b"), [("color", "colour"), ("recieve", "receive"), ("cat", "bat"), ("one", "one")])
def test_one_edit_is_a_letter_more_less_changed_or_exchanged(a: str, b: str) -> None:
    assert within_one_edit(a, b)
    assert not within_one_edit(f"{a}xy", b)


@pytest.mark.parametrize("piece", ["a ", '"', "1,", "`", "Ab ", "<A_", "'", "/a", "@a."])
@pytest.mark.timeout(60)  # seconds: where one sign more doubles the time, it would be years
def test_a_question_of_thousands_of_characters_is_read_to_its_end(piece: str) -> None:
    text = (piece * 12_000)[:12_000]
    assert disagree(text, f"{text} 7 8 9") is not None
