"""Presidio and spaCy as a Scrubber: which kinds, cards and addresses it finds, and how spans are cut."""

from __future__ import annotations

import asyncio
import socket
from itertools import pairwise
from pathlib import Path

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st

from app.core.ports import Span
from app.models.errors import ModelError
from app.privacy.presidio.scrubber import OVERLAP, PIECE, PresidioScrubber, pieces, resolve_overlaps
from app.runtime.prepare import prepare
from tests.kit import turns_while


@pytest.fixture(scope="module", autouse=True)
def models() -> None:
    prepare(["bundled:names-minilm", "bundled:en-core-web-sm"])


@pytest.fixture(scope="module")
def scrubber(models: None) -> PresidioScrubber:
    return PresidioScrubber()


async def found(scrubber: PresidioScrubber, text: str) -> list[tuple[str, str]]:
    (spans,) = await scrubber.scan([text])
    return [(s.type, text[s.start : s.end]) for s in spans]


def luhn(digits: str) -> str:
    """The digits with the check digit that makes them a card's number."""
    doubled = [int(d) * (2 - i % 2) for i, d in enumerate(reversed(digits))]
    return digits + str(-sum(d - 9 * (d > 9) for d in doubled) % 10)


@pytest.mark.parametrize(
    "number",
    [
        luhn("222300003122003"),
        luhn("270012345678901"),
        luhn("21312345678901"),
        luhn("18001234567890"),
        luhn("401234567890123"),
        luhn("37123456789012"),
    ],
)
@pytest.mark.parametrize("spaced", [False, True])
async def test_a_card_of_every_range_is_found_when_its_check_digit_is_right(
    scrubber: PresidioScrubber, number: str, spaced: bool
) -> None:
    shown = " ".join(number[i : i + 4] for i in range(0, len(number), 4)) if spaced else number
    assert await found(scrubber, f"I paid with {shown} last week") == [("CREDIT_CARD", shown)]


async def test_a_number_with_a_wrong_check_digit_is_no_card(scrubber: PresidioScrubber) -> None:
    right = luhn("222300003122003")
    wrong = right[:-1] + str((int(right[-1]) + 1) % 10)
    assert await found(scrubber, f"the part is {wrong} in our list") == []


async def test_amounts_and_bare_numbers_stay(scrubber: PresidioScrubber) -> None:
    assert await found(scrubber, "Order 12345678 costs 1,299.00 and weighs 4512345 grams.") == []


async def test_only_the_types_asked_for_are_found() -> None:
    scrubber = PresidioScrubber(types=["DATE_TIME"])
    assert await found(scrubber, "Ada Lovelace wrote to a@b.com on 2024-03-05") == [("DATE_TIME", "2024-03-05")]


async def test_no_types_find_nothing() -> None:
    assert await found(PresidioScrubber(types=[]), "Ada Lovelace wrote to a@b.com") == []


def test_an_unknown_type_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"`NAME` is not known: choose from .*CREDIT_CARD.*PERSON"):
        PresidioScrubber(types=["NAME"])


async def test_what_is_allowed_stays_in_any_case() -> None:
    scrubber = PresidioScrubber(allow=["PARIS", "help@example.com"])
    text = "Angela Merkel flew to Paris and wrote to help@example.com"
    assert await found(scrubber, text) == [("PERSON", "Angela Merkel")]


@pytest.mark.parametrize(("threshold", "kinds"), [(0.95, ["EMAIL_ADDRESS"]), (0.5, ["PERSON", "EMAIL_ADDRESS"])])
async def test_nothing_below_the_threshold_is_found(threshold: float, kinds: list[str]) -> None:
    scrubber = PresidioScrubber(threshold=threshold)
    assert kinds == [kind for kind, _ in await found(scrubber, "Angela Merkel reads angela@example.com daily")]


async def test_an_address_under_a_companys_own_domain_is_found(scrubber: PresidioScrubber) -> None:
    assert ("EMAIL_ADDRESS", "ops@mail.corp") in await found(scrubber, "please write to ops@mail.corp today")


@pytest.mark.parametrize("number", ["GB82 WEST 1234 5698 7654 32", "gb82west12345698765432"])
async def test_an_iban_is_found_in_either_case_by_its_check_digits(scrubber: PresidioScrubber, number: str) -> None:
    assert await found(scrubber, f"my iban is {number}") == [("IBAN_CODE", number)]


async def test_a_social_security_number_is_not_taken_for_a_telephone_number(scrubber: PresidioScrubber) -> None:
    assert await found(scrubber, "it reads 536-22-8741 on the form") == [("US_SSN", "536-22-8741")]


async def test_nothing_is_asked_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **_: asked.append(args) or [])
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: asked.append(address))
    assert await found(PresidioScrubber(), "mail bob@example.co.uk") == [("EMAIL_ADDRESS", "bob@example.co.uk")]
    assert asked == []


async def test_an_address_is_found_wherever_a_long_text_is_cut(scrubber: PresidioScrubber) -> None:
    words = "the water runs down " * (PIECE // 20)
    for shift in (-30, -10, 0, 10):
        text = f"{words[: PIECE + shift]} bob@example.com {words}"
        assert await found(scrubber, text) == [("EMAIL_ADDRESS", "bob@example.com")]


async def test_the_event_loop_turns_while_a_long_text_is_scanned(scrubber: PresidioScrubber) -> None:
    scan = asyncio.ensure_future(scrubber.scan(["Angela Merkel flew to Paris. " * 600]))
    assert await turns_while(scan) > 5


def test_without_the_tagger_the_pipeline_is_nothing_but_spacys_name_finder() -> None:
    assert PresidioScrubber(names=None)._engine.nlp_engine.get_nlp("en").pipe_names == ["ner"]


async def test_without_the_tagger_spacy_finds_the_names() -> None:
    assert await found(PresidioScrubber(names=None), "Angela Merkel reads") == [("PERSON", "Angela Merkel")]


def test_a_language_whose_pipeline_is_missing_is_refused_with_what_to_install() -> None:
    with pytest.raises(ModelError, match=r"language `de` needs a spaCy pipeline .*de_core_news_sm.*package:"):
        PresidioScrubber(language="de")
    with pytest.raises(ModelError, match=r"`de_core_news_sm` is not installed"):
        PresidioScrubber(language="de", model="package:de_core_news_sm")


async def test_another_language_is_read_with_its_own_pipeline_and_the_same_patterns(tmp_path: Path) -> None:
    german = spacy.blank("de")
    german.add_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Jürgen Habermas"}])
    german.to_disk(tmp_path)
    scrubber = PresidioScrubber(language="de", model=f"path:{tmp_path}")
    text = "Jürgen Habermas zahlte mit 4111 1111 1111 1111 und schrieb an j@example.de"
    assert [kind for kind, _ in await found(scrubber, text)] == ["PERSON", "CREDIT_CARD", "EMAIL_ADDRESS"]


# -- the kinds ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("please call oluwaseun adeyemi", [("PERSON", "oluwaseun adeyemi")]),
        ("We moved here from Ljubljana.", [("LOCATION", "Ljubljana")]),
        ("I live at 12 Elm Street", [("ADDRESS", "12 Elm Street")]),
        ("my zip code is 90210", [("ZIP_CODE", "90210")]),
        ("She is 50 years old.", [("AGE", "50")]),
        ("I paid for 50 apples.", []),
        ("password=hunter2-and-more!!", [("SECRET", "hunter2-and-more!!")]),
    ],
)
async def test_each_kind_is_found_as_what_it_is(
    scrubber: PresidioScrubber, text: str, expected: list[tuple[str, str]]
) -> None:
    assert await found(scrubber, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "A baker sells 40 loaves on Monday and 25 on Tuesday. How many loaves does he sell?",
        "def total(rows):\n    return sum(row.price for row in rows if row.active)",
        "for (let i = 0; i < items.length; i++) { console.log(items[i].name); }",
        "What is the derivative of x squared?",
        "Explain how a binary search works.",
        "It was released in 1998 and sold 250000 copies.",
    ],
)
async def test_sums_code_and_general_questions_hold_nothing_personal(scrubber: PresidioScrubber, text: str) -> None:
    assert await found(scrubber, text) == []


async def test_a_placeholder_is_not_found_again(scrubber: PresidioScrubber) -> None:
    assert await found(scrubber, "Dear <PERSON_1>, I live in <ADDRESS_2>.") == []


# -- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hidden", "kind"),
    [
        ("4111\u200b1111\u200b1111\u200b1111", "CREDIT_CARD"),
        ("\uff14\uff11\uff11\uff11 1111 1111 1111", "CREDIT_CARD"),
        ("ann\u200d.lee@exa\u00admple.com", "EMAIL_ADDRESS"),
        ("\u0430nn.lee@example.com", "EMAIL_ADDRESS"),
        ("536\u201122\u20118741", "US_SSN"),
        ("\u0665\u0663\u0666-22-8741", "US_SSN"),
    ],
)
async def test_what_is_hidden_by_signs_is_found_where_it_stands(
    scrubber: PresidioScrubber, hidden: str, kind: str
) -> None:
    assert (kind, hidden) in await found(scrubber, f"it reads {hidden} on the form")


@pytest.mark.parametrize(
    "text", ["", " ", "\x00\x01\x02\xff", "\ud800 a \udfff", "\u200b" * 50, "\U0001f468\u200d\U0001f469"]
)
async def test_strange_input_gives_spans_or_none(scrubber: PresidioScrubber, text: str) -> None:
    assert await found(scrubber, text) == []


@pytest.mark.parametrize("shape", ["(", "0-", "1:", "a.", "a@", "+1(", "-----BEGIN PRIVATE KEY-----", "://b:"])
@pytest.mark.timeout(120)  # seconds: in quadratic time it would be hours
async def test_no_shape_takes_more_than_linear_time(shape: str) -> None:
    """Patterns alone: what the tagger costs is a forward pass for every 160 tokens, whatever they are."""
    scrubber = PresidioScrubber(
        types=["ADDRESS", "SECRET", "URL", "EMAIL_ADDRESS", "IBAN_CODE", "IP_ADDRESS", "CREDIT_CARD"]
    )
    scrubber._engine.registry.remove_recognizer("Names")
    [spans] = await scrubber.scan([shape * (200_000 // len(shape))])
    assert all(span.end <= 200_000 for span in spans)


# -- cutting and overlaps, without a model ------------------------------------------------------


def span(text: str, part: str, kind: str, score: float) -> Span:
    start = text.index(part)
    return Span(start, start + len(part), kind, score)


def shown(text: str, spans: list[Span]) -> list[tuple[str, str]]:
    return [(s.type, text[s.start : s.end]) for s in resolve_overlaps(text, spans)]


def test_of_two_that_overlap_the_longer_wins() -> None:
    text = "in New York City"
    spans = [span(text, "New York", "PERSON", 0.9), span(text, "New York City", "LOCATION", 0.6)]
    assert shown(text, spans) == [("LOCATION", "New York City")]


def test_of_two_as_long_the_higher_score_wins() -> None:
    spans = [span("ask Paris", "Paris", "PERSON", 0.6), span("ask Paris", "Paris", "LOCATION", 0.85)]
    assert shown("ask Paris", spans) == [("LOCATION", "Paris")]


def test_what_a_checksum_vouches_for_wins_over_the_longer_and_the_rest_stays_found() -> None:
    text = "Ann Lee 4111111111111111"
    spans = [span(text, text, "PERSON", 0.85), span(text, "4111111111111111", "CREDIT_CARD", 1.0)]
    assert shown(text, spans) == [("PERSON", "Ann Lee"), ("CREDIT_CARD", "4111111111111111")]


@pytest.mark.parametrize(
    ("found_as", "cut_to"),
    [
        (" Ann Lee,\n", "Ann Lee"),
        ("\u201cAnn Lee\u201d", "Ann Lee"),
        ("Ann Lee's", "Ann Lee"),
        ("(Ann Lee", "Ann Lee"),
        ("(212) 555-0187.", "(212) 555-0187"),
        ("+1 212", "+1 212"),
    ],
)
def test_spans_have_no_white_space_or_punctuation_around_them(found_as: str, cut_to: str) -> None:
    assert shown(found_as, [Span(0, len(found_as), "PERSON", 0.85)]) == [("PERSON", cut_to)]


def test_a_span_of_punctuation_alone_is_dropped() -> None:
    assert resolve_overlaps("-- , --", [Span(0, 7, "PERSON", 0.85)]) == []


texts = st.text(alphabet="ab1 .,(-)\n", min_size=1, max_size=40)


@given(text=texts, cuts=st.lists(st.tuples(st.integers(0, 39), st.integers(1, 12), st.sampled_from([0.5, 0.85, 1.0]))))
def test_resolved_spans_never_overlap_and_lose_no_letter_or_digit(
    text: str, cuts: list[tuple[int, int, float]]
) -> None:
    spans = [Span(a, min(a + n, len(text)), "LOCATION", score) for a, n, score in cuts if a < len(text)]
    kept = resolve_overlaps(text, spans)
    assert all(before.end <= after.start for before, after in pairwise(kept))
    inside = [{i for s in some for i in range(s.start, s.end) if text[i].isalnum()} for some in (spans, kept)]
    assert inside[0] == inside[1]


@given(words=st.lists(st.integers(1, 3 * PIECE // 2), min_size=1, max_size=4))
def test_pieces_are_bounded_and_overlap_until_the_end(words: list[int]) -> None:
    text = " ".join("x" * n for n in words)
    cut = list(pieces(text))
    assert all(len(piece) <= PIECE and text.startswith(piece, start) for start, piece in cut)
    for (start, piece), (then, _) in pairwise(cut):
        assert start + len(piece) - then == OVERLAP
    assert cut[0][0] == 0
    assert sum(cut[-1][0:1]) + len(cut[-1][1]) == len(text)
