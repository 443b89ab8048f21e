# ruff: noqa: RUF001 - other scripts are what this is about
"""Questions about whoever asks are told from questions that anybody may ask."""

from __future__ import annotations

import pytest

from app.cache.asker import about_asker
from app.config.asker_words import ASKER_WORDS

OWN = """
Which plan does my account have?
How much do I owe?
Who am I?
What do you know about me?
Tell me about me.
WHICH PLAN IS MY PLAN?
When is our invoice due?
Do we get a discount?
Did they pay us?
I’ve lost the key, what now?
Is the current user an admin?
Welche Rechnung ist noch bei mir offen?
Wann läuft mein Vertrag ab?
Quel est mon solde ?
Quelle offre ai-je, moi ?
¿Cuál es mi saldo?
Qual é o meu saldo?
Qual è il mio saldo?
Jaki jest mój plan?
Welk abonnement heb ik?
Какой у меня тариф?
Hvad er mit abonnement?
Vilket är mitt abonnemang?
Benim planım ne?
Ποιο είναι το πρόγραμμά μου;
ما هي فاتورتي لدي؟
מה היתרה שלי?
मेरा प्लान क्या है?
我的套餐是什么？
私のプランは何ですか？
제 요금제는 뭐예요?
แพ็กเกจของฉันคืออะไร
""".strip().splitlines()

ANYBODYS = """
How do I boil an egg?
How can I reverse a list in Python?
Tell me a joke.
Give me three facts about Rome.
What is the capital of the US?
What does the EU regulate?
Is the MIT licence free?
Was ist mit Zink im Wasser?
Welche Stadt liegt im Norden?
Quelle est la capitale de la France ?
Quali sono le capitali?
What does for i in range(3) print?
什么是光合作用？
""".strip().splitlines()


@pytest.mark.parametrize("text", OWN)
def test_a_question_about_its_asker_is_seen(text: str) -> None:
    assert about_asker(text, ASKER_WORDS)


@pytest.mark.parametrize("text", ANYBODYS)
def test_a_question_that_anybody_may_ask_is_not_about_its_asker(text: str) -> None:
    assert not about_asker(text, ASKER_WORDS)


def test_the_words_are_config() -> None:
    assert not about_asker("my plan", ())
    assert about_asker("the Kunde asks", ("kunde",))
