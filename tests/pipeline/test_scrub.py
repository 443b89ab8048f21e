"""Personal data by every mode: what the engine and the cache see, what the caller gets back, turn after turn."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.events import Message, Prompt, Refusal, Token
from app.core.ports import Principal, Safety
from app.testing.fakes import FakeEngine, FakeScrubber
from tests.examples import examples
from tests.kit import WHO, Kit, ask, collect, text_of

NAMES = ["Ada Lovelace", "Alan Turing", "Ada"]
ASKED = "Mail Ada Lovelace at ada@x.org or 415-867-5309, says Alan Turing"
SECRETS = ["Lovelace", "Turing", "ada@x.org", "867-5309"]
MODES = ["placeholder", "redact", "hash", "synthetic"]


def by(tenant: str = "acme", **safety: Any) -> Principal:
    lists = {name: frozenset(v) if isinstance(v, list) else v for name, v in safety.items()}
    return replace(WHO, tenant=tenant, safety=Safety(**lists))


def kit(answer: Any = None) -> Kit:
    engines = {"a": FakeEngine(answer), "b": FakeEngine(answer)} if answer else {"a": FakeEngine(), "b": FakeEngine()}
    return Kit(scrubber=FakeScrubber(names=NAMES), engines=engines)


def seen(made: Kit) -> list[str]:
    """The last messages that an engine saw."""
    requests = [request for engine in made.engines.values() for request in engine.requests]
    return [message.text for message in requests[-1].messages]


async def said(made: Kit, prompt: Prompt, who: Principal = WHO, **policy: Any) -> tuple[Any, list[Any]]:
    call, events = made.gateway(**policy).open(who, prompt)
    return call, await collect(events)


# -- modes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_in_no_mode_an_original_reaches_engine_trail_or_cache(mode: str) -> None:
    made = kit()
    call, _ = await said(made, ask(ASKED, system=ASKED, temperature=0), scrub={"mode": mode})
    kept = "".join([*seen(made), str(call.trail), str(made.index.held)])
    assert not [secret for secret in SECRETS if secret in kept]
    assert {"PERSON": 4, "EMAIL_ADDRESS": 2, "PHONE_NUMBER": 2} == call.trail["scrub"]["types"]


@pytest.mark.parametrize(
    ("mode", "back"), [("placeholder", True), ("synthetic", True), ("redact", False), ("hash", False)]
)
async def test_the_caller_gets_back_what_can_come_back(mode: str, *, back: bool) -> None:
    made = kit()
    _, events = await said(made, ask(ASKED), by(personal=mode))
    assert back == (text_of(events) == f"You said: {ASKED}")
    assert back != (text_of(events) == f"You said: {seen(made)[-1]}")


async def test_redacted_every_person_is_the_same() -> None:
    made = kit()
    await said(made, ask(ASKED), by(personal="redact"))
    assert ["Mail <PERSON> at <EMAIL_ADDRESS> or <PHONE_NUMBER>, says <PERSON>"] == seen(made)


async def test_a_hash_is_the_same_in_every_call_of_a_tenant_and_no_other_tenants() -> None:
    made = kit()
    gateway = made.gateway(scrub={"mode": "hash"})
    texts = []
    for tenant, text in [
        ("acme", "Ada Lovelace left"),
        ("acme", "Who is Ada Lovelace?"),
        ("globex", "Ada Lovelace left"),
    ]:
        _, events = gateway.open(by(tenant), ask(text))
        await collect(events)
        texts.append(next(word for word in seen(made)[-1].split() if "PERSON" in word).rstrip("?"))
    assert texts[0] == texts[1] != texts[2]


async def test_blocked_the_call_is_refused_and_the_error_names_the_kinds_alone() -> None:
    made = kit()
    call, events = await said(made, ask(ASKED), by(personal="block"))
    (refusal,) = events
    assert isinstance(refusal, Refusal)
    assert ("scrub", 400, "personal_data") == (refusal.stage, refusal.error.status, refusal.error.code)
    assert "(EMAIL_ADDRESS, PERSON, PHONE_NUMBER)" in refusal.error.message
    assert not [secret for secret in SECRETS if secret in refusal.error.message + str(call.trail)]
    assert ([], [("refused", "scrub")]) == (made.engines["a"].requests, [(r.outcome, r.refused_by) for r in made.rows])
    _, events = await said(made, ask("Nothing personal"), by(personal="block"))
    assert text_of(events) == "You said: Nothing personal"


async def test_the_tenants_mode_and_types_stand_over_the_installations() -> None:
    made = kit()
    who = by(personal="redact", personal_types=["EMAIL_ADDRESS"])
    await said(made, ask(ASKED), who, scrub={"mode": "block", "types": ["PERSON"]})
    assert ["Mail Ada Lovelace at <EMAIL_ADDRESS> or 415-867-5309, says Alan Turing"] == seen(made)


async def test_the_tenants_lists_are_kept() -> None:
    made = kit()
    who = by(personal_allow=["ALAN turing"], personal_deny=["project apollo"])
    _, events = await said(made, ask(f"{ASKED} of Project Apollo"), who)
    assert ["Mail <PERSON_1> at <EMAIL_ADDRESS_1> or <PHONE_NUMBER_1>, says Alan Turing of <CUSTOM_1>"] == seen(made)
    assert text_of(events) == f"You said: {ASKED} of Project Apollo"


# -- conversations ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["placeholder", "synthetic", "hash"])
async def test_the_same_person_has_the_same_name_in_every_turn_of_a_conversation(mode: str) -> None:
    made = kit()
    gateway = made.gateway(scrub={"mode": mode})
    turns: list[Message] = []
    first = ""
    for text in ("I am Alan Turing.", "Ada Lovelace wrote ada@x.org.", "What does Ada Lovelace want of Alan Turing?"):
        turns.append(Message("user", text))
        _, events = gateway.open(WHO, Prompt(tuple(turns)))
        turns.append(Message("assistant", text_of(await collect(events))))
        first = first or seen(made)[0]
        assert first == seen(made)[0]
    alan = first.removeprefix("I am ").removesuffix(".")
    texts = seen(made)
    assert [alan in text for text in texts] == [True, True, False, False, True]
    assert not [secret for secret in SECRETS for text in texts if secret in text]
    if mode != "hash":
        assert [f"You said: {texts[0]}", f"You said: {texts[2]}"] == [texts[1], texts[3]]


async def test_a_name_that_was_overlooked_in_one_turn_is_hidden_for_being_seen_in_another() -> None:
    class Once(FakeScrubber):
        def _scan(self, text: str) -> Any:
            return super()._scan(text) if text.startswith("I am") else []

    made = Kit(scrubber=Once(names=NAMES))
    prompt = Prompt(
        (Message("user", "I am Ada Lovelace"), Message("assistant", "Ada Lovelace!"), Message("user", "So?"))
    )
    await said(made, prompt)
    assert ["I am <PERSON_1>", "<PERSON_1>!", "So?"] == seen(made)


@pytest.mark.parametrize("cased", ["ADA LOVELACE", "Ada Lovelace"])
async def test_each_spelling_comes_back_as_it_was(cased: str) -> None:
    made = Kit(scrubber=FakeScrubber(names=["ADA LOVELACE", "Ada Lovelace"]))
    for mode in ("placeholder", "synthetic"):
        _, events = await said(made, ask(f"{cased} and Ada Lovelace and ADA LOVELACE"), scrub={"mode": mode})
        assert text_of(events) == f"You said: {cased} and Ada Lovelace and ADA LOVELACE"


async def test_stand_ins_that_run_into_other_text_give_way_to_placeholders() -> None:
    class Within(FakeScrubber):
        def _scan(self, text: str) -> Any:
            found = super()._scan("x" + text.replace("x", " "))
            return [replace(span, start=span.start - 1, end=span.end - 1) for span in found]

    made = Kit(scrubber=Within(names=["Ada"]))
    _, events = await said(made, ask("xAdax Adax Ada"), scrub={"mode": "synthetic"})
    assert text_of(events) == "You said: xAdax Adax Ada"


# -- tools and schemas -----------------------------------------------------------------------------

TOOL = {
    "type": "function",
    "function": {
        "name": "mail",
        "description": "Writes for Ada Lovelace.",
        "parameters": {"type": "object", "properties": {"Ada": {"enum": ["ada@x.org"]}}},
    },
}


@pytest.mark.parametrize("mode", ["placeholder", "synthetic"])
async def test_a_name_in_a_tool_or_schema_is_hidden_there_and_comes_back_in_the_arguments(mode: str) -> None:
    made = kit()
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"const": "Alan Turing"}}}
    call, _ = await said(made, ask("Mail her", tools=[TOOL], response_format=schema), scrub={"mode": mode})
    params = made.engines["a"].requests[0].params
    sent = json.dumps([params["tools"], params["response_format"]])
    assert not [secret for secret in SECRETS if secret in sent]
    assert ["Ada"] == list(params["tools"][0]["function"]["parameters"]["properties"])
    (address,) = params["tools"][0]["function"]["parameters"]["properties"]["Ada"]["enum"]
    assert address in call.vault.originals


async def test_tools_that_come_again_are_not_scanned_again() -> None:
    made = kit()
    gateway = made.gateway()
    for _ in range(3):
        _, events = gateway.open(WHO, ask("hi", tools=[TOOL]))
        await collect(events)
    assert 1 == sum("Writes for Ada Lovelace." in texts for texts in made.scrubber.calls)
    sent = [request.params["tools"] for request in made.engines["a"].requests]
    assert sent[0] == sent[1] == sent[2] != [TOOL]


async def test_tools_may_be_left_as_they_are() -> None:
    made = kit()
    await said(made, ask("hi", tools=[TOOL]), scrub={"tools": False})
    assert [TOOL] == made.engines["a"].requests[0].params["tools"]


# -- streams ---------------------------------------------------------------------------------------


class Apart(FakeEngine):
    """Answers what was asked, a character at a time."""

    async def _stream(self, request: Any) -> Any:
        async for event in super()._stream(request):
            if not isinstance(event, Token) or not event.text:
                yield event
                continue
            for char in event.text[:-1]:
                yield Token(char, event.choice)
            yield replace(event, text=event.text[-1])


PIECES = st.lists(
    st.sampled_from([*NAMES, "ada@x.org", "415-867-5309", " and ", ", ", "\n", "Adam ", "<PERSON_1> "]), max_size=9
)


@settings(max_examples=examples(40), deadline=None)
@given(PIECES, st.sampled_from(["placeholder", "synthetic"]))
async def test_whatever_is_asked_comes_back_character_by_character(pieces: list[str], mode: str) -> None:
    text = " ".join(pieces) + " x"
    made = Kit(scrubber=FakeScrubber(names=NAMES), engines={"a": Apart(), "b": Apart()})
    _, events = await said(made, ask(text), scrub={"mode": mode})
    assert text_of(events) == f"You said: {text}"
    assert not [secret for secret in SECRETS if secret in seen(made)[-1]]
