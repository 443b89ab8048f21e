"""What the semantic cache answers, what it leaves to the engine and why, and that no tenant sees another's."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cache.faiss.index import FaissIndex
from app.config import CachePolicy as Settings
from app.config import Policy
from app.core.call import Call
from app.core.events import Message, Prompt, Token
from app.core.ports import PortError, Principal, Safety
from app.core.tasks import drain
from app.pipeline.stages.recall import Recall, partition, replay
from app.testing.fakes import FakeEncoder, FakeEngine, FakeIndex, FakeParaphraseJudge, FakeScrubber
from tests.kit import WHO, Kit, ask, collect, run, text_of

PROVEN = ((0.99, True),) * 160
"""Enough comparisons without an error for the default bound."""
ALIKE, OTHER = "How do I boil an egg?", "How do I boil one egg?"


def kit(judge: float = 0.99, **parts: Any) -> Kit:
    engines = {"a": FakeEngine("Eight minutes."), "b": FakeEngine("Eight minutes.")}
    return Kit(engines=engines, paraphrase=FakeParaphraseJudge(lambda *_: judge), **parts)


def recall(**changes: Any) -> dict[str, Any]:
    """Settings under which nothing is left to chance."""
    return {"cache": {"shadow_share": 1e-9, "min_similarity": 0.5, "prior_weight": 0, **changes}}


async def trail(gateway: Any, prompt: Prompt, who: Principal = WHO) -> dict[str, Any]:
    call, events = gateway.open(who, prompt)
    await collect(events)
    await drain()
    found: dict[str, Any] = call.trail["recall"]
    return found


# -- what is served -----------------------------------------------------------------------------


async def test_the_very_same_question_is_served_at_once_whatever_its_blanks() -> None:
    some = kit()
    gateway = some.gateway(**recall())
    await run(gateway, ask("How do I boil an egg?"))
    call, events = await run(gateway, ask("  How do I  boil an egg?\n"))
    assert (call.trail["recall"]["result"], call.hit, text_of(events)) == ("exact", True, "Eight minutes.")
    assert len(some.engines["a"].requests) == 1


async def test_another_wording_is_generated_while_nothing_is_proven_and_teaches_the_cache() -> None:
    some = kit()
    gateway = some.gateway(**recall())
    await run(gateway, ask(ALIKE))
    found = await trail(gateway, ask(OTHER))
    assert (found["result"], found["judged"], found["tries"]) == ("explore", 0.99, 0)
    assert len(some.engines["a"].requests) == 2
    assert some.index.evidence["acme"] == ((0.99, True),)


async def test_another_wording_is_served_once_the_tenants_evidence_proves_it() -> None:
    some = kit()
    gateway = some.gateway(**recall())
    await run(gateway, ask(ALIKE))
    some.index.evidence["acme"] = PROVEN
    found = await trail(gateway, ask(OTHER))
    assert (found["result"], found["tries"]) == ("hit", 160)
    assert found["risk"] <= 0.02
    assert len(some.engines["a"].requests) == 1
    assert some.rows[-1].outcome == "hit"
    assert some.rows[-1].cost == some.rows[0].cost / 10


@pytest.mark.parametrize("index", [FakeIndex, FaissIndex])
async def test_from_no_evidence_to_hits_by_asking_only(index: type[Any]) -> None:
    """The whole loop: generate, compare, learn, serve."""
    some = kit(index=index())
    gateway = some.gateway(**recall(error=0.2))
    await run(gateway, ask(ALIKE))
    results = [
        (await trail(gateway, ask(f"How do I boil an egg {word}?")))["result"] for word in map(str, range(1, 20))
    ]
    assert results[:13] == ["explore"] * 13  # 0.8 ** 14 < 5 %
    assert set(results[14:]) == {"hit"}


async def test_an_audited_hit_is_generated_and_compared() -> None:
    some = kit()
    gateway = some.gateway(**recall(shadow_share=1))
    await run(gateway, ask(ALIKE))
    some.index.evidence["acme"] = PROVEN
    assert (await trail(gateway, ask(OTHER)))["result"] == "explore"
    assert len(some.index.evidence["acme"]) == len(PROVEN) + 1


async def test_a_tenants_own_bound_goes_before_the_configs() -> None:
    lax, strict = (
        Principal(name, f"key_{name}", safety=Safety(cache_error=e)) for name, e in (("lax", 0.2), ("no", 0.0))
    )
    some = kit()
    gateway = some.gateway(**recall())
    for who in (WHO, lax, strict):
        await trail(gateway, ask(ALIKE), who)
        some.index.evidence[who.tenant] = PROVEN[:20]
    assert (await trail(gateway, ask(OTHER), lax))["result"] == "hit"
    assert (await trail(gateway, ask(OTHER), WHO))["result"] == "explore"
    some.index.evidence["no"] = PROVEN
    assert (await trail(gateway, ask(OTHER), strict))["result"] == "explore"


async def test_an_entry_that_was_wrong_once_is_passed_over_for_the_next() -> None:
    some = kit()
    gateway = some.gateway(**recall())
    await run(gateway, ask(ALIKE))
    await run(gateway, ask(OTHER))
    await drain()
    some.index.evidence["acme"] = PROVEN
    barred, good = some.index.held.values()
    barred.tried, good.tried = ((0.99, False),), ()
    good.entry = good.entry.replace("Eight", "Nine")
    call, events = await run(gateway, ask("How do I boil egg?"))
    assert (call.trail["recall"]["result"], text_of(events)) == ("hit", "Nine minutes.")


async def test_a_judge_who_sees_a_difference_is_heard_however_near_the_vectors_are() -> None:
    some = kit(judge=0.1)
    gateway = some.gateway(**recall())
    await run(gateway, ask(ALIKE))
    some.index.evidence["acme"] = PROVEN
    found = await trail(gateway, ask(OTHER))
    assert found == {"result": "miss"}


async def test_without_a_judge_the_cosine_is_the_score() -> None:
    some = Kit(engines={"a": FakeEngine("Eight minutes."), "b": FakeEngine()})
    gateway = some.gateway(**recall(threshold=0.5))
    await run(gateway, ask(ALIKE))
    found = await trail(gateway, ask(OTHER))
    assert found["result"] == "explore"
    assert found["judged"] == found["score"] < 1


async def test_a_long_question_is_met_by_the_very_same_only() -> None:
    some = kit()
    gateway = some.gateway(**recall(max_compared_chars=30))
    long = "How do I boil an egg that is very large?"
    await run(gateway, ask(long))
    some.index.evidence["acme"] = PROVEN
    assert (await trail(gateway, ask(long)))["result"] == "exact"
    assert (await trail(gateway, ask(long + " Please?")))["result"] == "miss"


# -- what is kept apart -------------------------------------------------------------------------


async def test_on_the_real_index_two_tenants_with_equal_prompts_each_get_their_own_answer() -> None:
    engine = FakeEngine("For acme alone.")
    some = Kit(
        engines={"a": engine, "b": FakeEngine()}, paraphrase=FakeParaphraseJudge(lambda *_: 1.0), index=FaissIndex()
    )
    gateway = some.gateway(**recall(error=0.5))
    globex = Principal("globex", "key_2")
    await run(gateway, ask(ALIKE))
    for number in range(12):
        await trail(gateway, ask(f"How do I boil an egg {number}?"))
    engine.answer = "For globex alone."
    for prompt in (ask(ALIKE), ask(OTHER), ask("How do I boil an egg 3?")):
        _, events = gateway.open(globex, prompt)
        assert text_of(await collect(events)) == "For globex alone."
        call, events = gateway.open(WHO, prompt)
        assert text_of(await collect(events)) == "For acme alone."
        assert call.hit


async def test_no_tenant_is_served_or_taught_by_another_with_equal_prompts() -> None:
    some = kit()
    gateway = some.gateway(**recall())
    globex = Principal("globex", "key_2")
    await run(gateway, ask(ALIKE))
    some.index.evidence["acme"] = PROVEN
    assert (await trail(gateway, ask(ALIKE), globex))["result"] == "miss"
    assert (await trail(gateway, ask(OTHER), globex))["result"] == "explore"
    assert (await trail(gateway, ask(OTHER), WHO))["result"] == "hit"
    assert some.index.evidence == {"acme": PROVEN, "globex": ((0.99, True),)}
    assert len({key[0].split("/")[0] for key in some.index.held}) == 2


@pytest.mark.parametrize("tenant", ["a/b", "a%2Fb", "a", "../a", "ä b", ""])
def test_a_partition_has_four_parts_whatever_the_names(tenant: str) -> None:
    call = Call("c", Principal(tenant, "key"), 0.0)
    parts = partition(call, replace(ask("x", model="m/1"), version="v/2")).split("/")
    assert (len(parts), parts[1:3]) == (4, ["m%2F1", "v%2F2"])


def test_tenants_whose_names_look_alike_never_share_a_partition() -> None:
    names = ["a/b", "a%2Fb", "a", "A", "a ", "a+b", "a b"]
    made = {partition(Call("c", Principal(name, "key"), 0.0), ask("x")) for name in names}
    assert len(made) == len(names)


async def test_another_version_of_the_callers_prompt_starts_anew() -> None:
    gateway = kit().gateway(**recall())
    first, second = (replace(ask(ALIKE), version=version) for version in ("1", "2"))
    results = [(await trail(gateway, prompt))["result"] for prompt in (first, first, second)]
    assert results == ["miss", "exact", "miss"]


async def test_a_follow_up_is_served_only_in_the_same_conversation() -> None:
    gateway = kit().gateway(**recall())

    def about(dish: str) -> Prompt:
        return Prompt((Message("user", dish), Message("assistant", "Sure."), Message("user", "And how long?")))

    results = [(await trail(gateway, about(dish)))["result"] for dish in ("Eggs", "Eggs", "Rice")]
    assert results == ["miss", "exact", "miss"]


# -- what is left out ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "why"),
    [
        (ask("What is the weather?"), "time"),
        (ask("Continue"), "context"),
        (ask("Greet Ada Lovelace"), "personal"),
        (ask("Hello there", system="You serve Ada Lovelace"), "personal"),
        (ask("Write a poem", temperature=1.2), "temperature"),
        (ask("Write a poem", n=2), "choices"),
    ],
)
async def test_what_a_rule_forbids_is_neither_looked_up_nor_kept_and_the_trail_says_why(
    prompt: Prompt, why: str
) -> None:
    some = kit()
    gateway = some.gateway(**recall())
    found = [await trail(gateway, prompt) for _ in range(2)]
    assert found == [{"result": "bypass", "why": why}] * 2
    assert await some.index.size() == 0


async def test_who_asks_for_a_fresh_answer_gets_one_and_it_is_kept() -> None:
    some = kit()
    gateway = some.gateway(**recall())
    call, events = gateway.open(WHO, ask(ALIKE), read_cache=False)
    await collect(events)
    assert call.trail["recall"] == {"result": "bypass", "why": "asked"}
    assert (await trail(gateway, ask(ALIKE)))["result"] == "exact"


async def test_let_in_by_the_config_a_hit_restores_the_second_callers_own_data() -> None:
    some = Kit(scrubber=FakeScrubber(names=["Ada Lovelace", "Alan Turing"]))
    gateway = some.gateway(**recall(rules={"personal": True}))
    await run(gateway, ask("Greet Ada Lovelace"))
    call, events = await run(gateway, ask("Greet Alan Turing"))
    assert (call.hit, text_of(events)) == (True, "You said: Greet Alan Turing")


# -- what breaks --------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [PortError("cache", "gone"), RuntimeError("the secret question")])
@pytest.mark.parametrize("port", ["index", "encoder", "paraphrase"])
async def test_a_cache_that_is_down_costs_hits_and_no_call(
    port: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    some = kit()
    gateway = some.gateway(**recall())
    await run(gateway, ask(ALIKE, model="small"))
    getattr(some, port).error = error
    call, events = await run(gateway, ask("Is the secret question how to boil an egg?", model="small"))
    await drain()
    assert text_of(events) == "Eight minutes."
    assert some.rows[-1].outcome == "ok"
    assert (call.trail["recall"]["result"], call.trail["recall"]["why"]) == ("miss", "down")
    assert "secret" not in caplog.text


# -- the replay ---------------------------------------------------------------------------------


def stored(*texts: str) -> dict[str, Any]:
    return {"answers": [{"choice": i, "text": t, "finish_reason": "stop", "stop": None} for i, t in enumerate(texts)]}


@given(st.lists(st.text(max_size=200), min_size=1, max_size=3))
def test_a_replay_says_what_was_stored_and_ends_each_choice_once(texts: list[str]) -> None:
    tokens = list(replay(stored(*texts)))
    for choice, text in enumerate(texts):
        own = [token for token in tokens if token.choice == choice]
        assert "".join(token.text for token in own) == text
        assert [token.finish_reason for token in own] == [None] * (len(own) - 1) + ["stop"]


@pytest.mark.parametrize("text", ["one two three four five " * 20, "漢字" * 200, "x" * 500])
def test_a_long_answer_comes_as_many_small_pieces(text: str) -> None:
    pieces = list(replay(stored(text)))
    assert len(pieces) >= 15
    assert max(len(piece.text) for piece in pieces) <= 25


async def test_a_hit_streams_like_an_engine_and_is_moderated_again() -> None:
    some = Kit(engines={"a": FakeEngine("a fine answer " * 20), "b": FakeEngine()})
    gateway = some.gateway(**recall())
    first = await run(gateway, ask("Tell me something"))
    again, events = await run(gateway, ask("Tell me something"))
    assert again.hit
    assert text_of(events) == text_of(first[1])
    assert sum(isinstance(event, Token) for event in events) > 3
    assert "toxicity" in again.trail["moderate"]


def test_the_defaults_hold_the_promise_of_two_percent() -> None:
    assert (Settings().error, Settings().confidence) == (0.02, 0.95)
    assert Policy.model_fields["cache"].default == Settings()


async def test_the_stage_can_be_built_without_a_judge_or_a_seed() -> None:
    Recall(FakeEncoder(), FakeIndex(), Settings(), None, random.Random(1))
