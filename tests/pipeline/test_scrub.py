"""Personal data by every mode: what the engine and the cache see, what the caller gets back, turn after turn."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.events import Message, Prompt, Refusal, Token, ToolDelta
from app.core.ports import Principal, Safety
from app.core.turns import ordered
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
        ("acme", "Ada Lovelace came"),
        ("globex", "Ada Lovelace left"),
    ]:
        _, events = gateway.open(by(tenant), ask(text))
        await collect(events)
        texts.append(next(word for word in seen(made)[-1].split() if "PERSON" in word))
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
    ((key, value),) = params["tools"][0]["function"]["parameters"]["properties"].items()
    assert ["Ada", "ada@x.org"] == [call.vault.originals[name] for name in (key, *value["enum"])]


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


SECRET = "Ada Lovelace"
WORDS = st.sampled_from([SECRET, "ada@x.org", "a word", "type", "string", "#", "", "<PERSON_1>", "b_2", "\n"])
TEXT = st.lists(WORDS, max_size=3).map(" ".join)
KEYS = TEXT | st.sampled_from(
    ["type", "properties", "$ref", "enum", "pattern", "required", "x-owner", "name", "function"]
)
JSON = st.recursive(
    TEXT | st.integers(-9, 9) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)
IDENTIFIER = st.sampled_from(["mail", "b_2", "PERSON_1", "x-y", "Ada"])
SCHEMA = st.dictionaries(KEYS, JSON, max_size=4)
A_TOOL = st.builds(
    lambda name, about, schema, more: {
        "type": "function",
        "function": {"name": name, "description": about, "parameters": schema, **more},
    },
    IDENTIFIER,
    TEXT,
    SCHEMA,
    st.dictionaries(st.sampled_from(["x-note", SECRET]), JSON, max_size=2),
)
A_CALL = st.builds(
    lambda id_, name, said: {"id": id_, "type": "function", "function": {"name": name, "arguments": json.dumps(said)}},
    IDENTIFIER,
    IDENTIFIER,
    SCHEMA,
)
A_MESSAGE = st.builds(
    lambda role, text, calls: Message(role, text, {"tool_calls": calls} if calls else {}),
    st.sampled_from(["system", "user", "assistant"]),
    TEXT,
    st.lists(A_CALL, max_size=2),
)
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "response_format": st.builds(
            lambda name, schema: {"type": "json_schema", "json_schema": {"name": name, "schema": schema}},
            IDENTIFIER,
            SCHEMA,
        ),
        "tools": st.lists(A_TOOL, max_size=3),
        "stop": st.lists(TEXT.filter(bool), max_size=2),
    },
)


def put_back(node: Any, call: Any) -> Any:
    """`node` with what the vault knows in place of placeholders, keys too."""
    if isinstance(node, str):
        known = call.vault.identifiers.get(node)
        if known is not None:
            return known
        restorer = call.vault.restorer()
        return restorer.feed(node) + restorer.flush()
    if isinstance(node, list | tuple):
        return [put_back(one, call) for one in node]
    return {put_back(k, call): put_back(v, call) for k, v in node.items()} if isinstance(node, dict) else node


@settings(max_examples=200, deadline=None)
@given(st.lists(A_MESSAGE, min_size=1, max_size=3), PARAMS)
async def test_with_the_placeholders_put_back_the_engine_is_sent_the_request_itself(
    messages: list[Message], params: dict[str, Any]
) -> None:
    made = kit()
    prompt = Prompt((*messages, Message("user", f"I am {SECRET}")), "small", {**params, "temperature": 1.5})
    call, _ = await said(made, prompt, scrub={"mode": "placeholder"})
    (request,) = made.engines["a"].requests
    sent = {
        "messages": [message.wire() for message in request.messages],
        **{name: value for name, value in request.params.items() if name != "max_tokens"},
    }
    asked = {"messages": [message.wire() for message in ordered(prompt.messages)], **prompt.params}
    assert not [secret for secret in SECRETS if secret in json.dumps(sent)]
    assert json.dumps(asked) == json.dumps(put_back(sent, call))


async def test_without_personal_data_the_engine_is_sent_the_very_request() -> None:
    made = kit()
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": ["yes", "no"]}}}
    await said(made, ask("hi", tools=[TOOL_OF_NOBODY], response_format=schema))
    params = made.engines["a"].requests[0].params
    assert ([TOOL_OF_NOBODY], schema) == (params["tools"], params["response_format"])


TOOL_OF_NOBODY = {"type": "function", "function": {"name": "f", "description": "opens a gate", "x-unheard": {"of": 1}}}


async def test_the_words_of_tools_and_of_the_answers_format_do_not_change_places() -> None:
    made = kit()
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": ["yes", "no"]}}}
    await said(
        made, Prompt((Message("user", "I am Ada"),), params={"response_format": schema, "tools": [TOOL_OF_NOBODY]})
    )
    params = made.engines["a"].requests[0].params
    assert ([TOOL_OF_NOBODY], schema) == (params["tools"], params["response_format"])


async def test_data_spelt_with_escapes_is_found_and_is_the_same_person_as_elsewhere() -> None:
    made = kit()
    called = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"to":"\\u0041da Lovelace"}'}}
    turns = (
        Message("user", "I am Ada Lovelace"),
        Message("assistant", "", {"tool_calls": [called]}),
        Message("tool", '{"of":"Ad\\u0061 Lovelace\\n"}', {"tool_call_id": "c"}),
    )
    pattern = {"type": "function", "function": {"name": "f", "parameters": {"pattern": r"^ada@x[.]org|Ada\sLovelace$"}}}
    await said(made, Prompt(turns, params={"tools": [pattern]}))
    (request,) = made.engines["a"].requests
    assert '{"to":"<PERSON_1>"}' == request.messages[1].extra["tool_calls"][0]["function"]["arguments"]
    assert '{"of":"<PERSON_1>\\n"}' == request.messages[2].text
    assert {"pattern": "^<EMAIL_ADDRESS_1>|<PERSON_1>$"} == request.params["tools"][0]["function"]["parameters"]


async def test_a_tool_that_is_named_for_somebody_is_called_by_its_name_and_the_engine_knows_another() -> None:
    class Calls(FakeEngine):
        async def _stream(self, request: Any) -> Any:
            name = request.params["tools"][0]["function"]["name"]
            yield Token("", tool=ToolDelta(0, "{}", "c", name), finish_reason="tool_calls")

    made = Kit(scrubber=FakeScrubber(names=["Ada"]), engines={"a": Calls(), "b": Calls()})
    tool = {"type": "function", "function": {"name": "Ada"}}
    choice = {"type": "function", "function": {"name": "Ada"}}
    for mode in ("placeholder", "redact", "hash", "synthetic"):
        _, events = await said(made, ask("hi", tools=[tool], tool_choice=choice), scrub={"mode": mode})
        params = made.engines["a"].requests[-1].params
        assert params["tools"][0]["function"]["name"] == params["tool_choice"]["function"]["name"] != "Ada"
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", params["tools"][0]["function"]["name"])
        assert ["Ada"] == [event.tool.name for event in events if isinstance(event, Token) and event.tool]


async def test_a_speaker_has_an_identifier_that_tells_nothing() -> None:
    made = kit()
    await said(made, Prompt((Message("user", "hi", {"name": "Ada_Lovelace"}),)))
    assert {"name": "PERSON_1"} == made.engines["a"].requests[0].messages[0].extra


async def test_a_reference_follows_the_key_that_it_names() -> None:
    made = kit()
    schema = {
        "$defs": {"Ada Lovelace": {"type": "string"}},
        "$ref": "#/$defs/Ada%20Lovelace",
        "required": ["Ada Lovelace"],
    }
    await said(made, ask("hi", tools=[{"type": "function", "function": {"name": "f", "parameters": schema}}]))
    sent = made.engines["a"].requests[0].params["tools"][0]["function"]["parameters"]
    assert {
        "$defs": {"<PERSON_1>": {"type": "string"}},
        "$ref": "#/$defs/<PERSON_1>",
        "required": ["<PERSON_1>"],
    } == sent


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
