"""Names are somebody's unless a conversation asks about them as an encyclopaedia would."""

from __future__ import annotations

import pytest

from app.core.events import Message
from app.privacy.public_names import public
from tests.kit import Kit, ask, run

PUBLIC = [
    "How did Marie Curie die?",
    "Who was Nelson Mandela?",
    "What did Ibn Sina influence?",
    "Which film shows Sherlock Holmes best?",
    "Write a short scene with Sherlock Holmes in a supermarket.",
    "Explain the work of Simone de Beauvoir.",
]
SOMEBODYS = [
    "My doctor is Marie Curie. What should I ask?",
    "Who is the manager of Nora Quill?",
    "What is Nora Quill's phone number?",
    "Write a letter to Nora Quill about the invoice.",
    "Dear Nora Quill, thank you.",
    "Summarise: patient Nora Quill was admitted with chest pain.",
    "Nora Quill: are you there?",
    '{"name": "Nora Quill"}',
    "I am Nora Quill",
    "Translate: Nora Quill lives in Leeds",
    "Why did Nora Quill not reply to the e-mail?",
    "What did Nora Quill earn? " * 12,
]


@pytest.mark.parametrize("text", PUBLIC)
def test_a_question_about_the_world_leaves_its_names(text: str) -> None:
    assert public([Message("user", text)], [text], {"PERSON"})


@pytest.mark.parametrize("text", SOMEBODYS)
def test_a_text_about_somebody_hides_its_names(text: str) -> None:
    assert not public([Message("user", text)], [text], {"PERSON"})


@pytest.mark.parametrize("kind", ["EMAIL_ADDRESS", "PHONE_NUMBER", "DATE_TIME", "ADDRESS", "SECRET"])
def test_with_any_other_data_a_name_is_somebodys(kind: str) -> None:
    assert not public([Message("user", PUBLIC[0])], [PUBLIC[0]], {"PERSON", kind})


def test_a_name_in_the_instructions_or_a_tools_result_is_somebodys() -> None:
    asked = Message("user", PUBLIC[0])
    assert not public([Message("system", "You help Nora Quill."), asked], ["You help Nora Quill."], {"PERSON"})
    assert not public([asked, Message("tool", "Nora Quill")], [PUBLIC[0], "Nora Quill"], {"PERSON"})
    assert public([Message("system", "Be brief."), asked], [PUBLIC[0]], {"PERSON"})


@pytest.mark.parametrize(
    ("names", "text", "hidden"),
    [
        ("private", "Who was Ada Lovelace?", False),
        ("private", "I am Ada Lovelace.", True),
        ("always", "Who was Ada Lovelace?", True),
        ("never", "I am Ada Lovelace.", False),
    ],
)
async def test_the_policy_says_whose_names_are_hidden(names: str, text: str, *, hidden: bool) -> None:
    kit = Kit()
    await run(kit.gateway(scrub={"names": names}), ask(text, model="small"))
    assert ("<PERSON_1>" in kit.engines["a"].requests[-1].messages[-1].text) == hidden
