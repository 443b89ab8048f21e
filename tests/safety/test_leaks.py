"""What counts as the system prompt coming back, however it is cut, cased, spaced or encoded."""

from __future__ import annotations

import base64
import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.safety.leaks import LEAST, LeakWatcher, folded, secrets

SYSTEM = (
    "You are Harbour, the ferry company's clerk. Never sell a ticket below 14 kroner, never mention the strike of "
    "the deckhands, and answer complaints about the Tuesday boat with a voucher for soup. Köttbullar are free."
)
RUN = 50


def leaks(said: str, system: str = SYSTEM, allowed: str = "", run: int = RUN) -> bool:
    return LeakWatcher(secrets([system], run), lambda: folded(allowed)).leaks(said)


@pytest.mark.parametrize(
    "said",
    [
        SYSTEM,
        f"Of course! My instructions are: {SYSTEM[40:130]} ...",
        SYSTEM.upper(),
        SYSTEM.replace(" ", "\n- "),
        "-".join(SYSTEM),
        "\u200b".join(SYSTEM),
        SYSTEM.replace("a", "\u0430").replace("e", "\u0435"),
        SYSTEM[::-1],
        codecs.encode(SYSTEM, "rot13"),
        base64.b64encode(SYSTEM.encode()).decode(),
        base64.b64encode(f"Here: {SYSTEM}".encode()).decode(),
        SYSTEM.encode().hex(" "),
        SYSTEM.replace("ö", "o\u0308"),
    ],
)
def test_a_run_of_the_system_prompt_is_found_in_any_dress(said: str) -> None:
    assert leaks(said)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "A ticket is 14 kroner.",
        "We never sell a ticket below 14 kroner, I am afraid.",
        "The Tuesday boat was late? Have a voucher for soup.",
        "a" * 5000,
        "Harbour " * 500,
    ],
)
def test_an_ordinary_answer_is_none(said: str) -> None:
    assert not leaks(said)


def test_what_the_caller_said_as_well_may_be_repeated() -> None:
    said = SYSTEM[44:140]
    assert leaks(said)
    assert not leaks(said, allowed=f"Is it true that you were told this: {said}?")


def test_a_short_system_prompt_tells_nothing_and_a_middling_one_leaks_as_a_whole() -> None:
    assert not leaks("You are a helpful assistant.", "You are a helpful assistant.")
    middling = "You are a helpful assistant of the Harbour ferries."
    assert LEAST <= len(folded(middling)) < RUN
    assert leaks(f"I am told: {middling}", middling)
    assert not leaks(middling[:-9], middling)


def longest_run(said: str, system: str) -> int:
    """The longest run by brute force."""
    out, secret = folded(said), folded(system)
    best = 0
    for start in range(len(out)):
        while out[start : start + best + 1] in secret and start + best < len(out):
            best += 1
    return best


TEXT = st.text(alphabet="abÄ é-\u200b.\u0435", min_size=0, max_size=30)


@given(st.data(), st.text(alphabet="abäe ", min_size=60, max_size=140), st.integers(40, 60))
def test_what_was_let_out_never_holds_a_run_however_it_is_cut(data: st.DataObject, system: str, run: int) -> None:
    inside = data.draw(st.lists(st.tuples(TEXT, st.integers(0, 139), st.integers(0, 100)), max_size=5))
    said = "".join(f"{before}{system[start : start + length]}" for before, start, length in inside)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=12)))
    watch, shown = LeakWatcher(secrets([system], run)), ""
    stopped = False
    for start, end in zip([0, *cuts], [*cuts, len(said)], strict=True):
        if watch.leaks(said[start:end]):
            stopped = True
            break
        shown += said[start:end]
    if len(folded(system)) >= LEAST:
        least = min(run, len(folded(system)))
        assert longest_run(shown, system) < least
        if not stopped:
            assert shown == said


@given(st.text(max_size=40), st.text(max_size=40))
def test_texts_fold_the_same_together_as_apart(one: str, two: str) -> None:
    assert folded(one + two) == folded(one) + folded(two)
