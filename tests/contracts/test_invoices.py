"""Invoices: a month's usage rows to the nano, in both databases, and three forms that say the same."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from app.billing.invoice import Invoice, InvoiceLine, Period
from app.billing.invoicing import as_csv, as_html, as_json, invoice
from app.core.refusals import UnfitError
from app.db.schema import projects, tenants
from app.db.store import Store
from tests.contracts.usage_kit import NOON, fill, fresh, used
from tests.examples import examples

MARCH = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
APRIL = datetime(2026, 4, 1, tzinfo=UTC).timestamp()
DAY = 86_400.0


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    made = Store(database_url)
    await register(made, "acme", "Acme & Sons", web="Web shop")
    yield made
    await made.close()


async def register(store: Store, tenant: str, name: str, **named: str) -> None:
    of = {"terms": {}, "created": 0.0}
    who = {"id": tenant, "name": name, "plan": "unlimited", "keeps_content": False, **of}
    made = [{"id": one, "tenant": tenant, "name": title, "archived": False, **of} for one, title in named.items()]
    await store.write(lambda connection: connection.execute(insert(tenants), [who]))
    if made:
        await store.write(lambda connection: connection.execute(insert(projects), made))


# -- what is on it -----------------------------------------------------------------------------------


async def test_calls_that_were_sold_alike_are_one_line(store: Store) -> None:
    await fill(store, used(), used(input_cost=700))
    line = InvoiceLine(
        project="web", project_name="Web shop", tier="small", model="model-a", kind="generation",
        price_list="default@00000000", calls=2, input_tokens=180, cached_tokens=20, output_tokens=40,
        input_amount=Decimal("0.0000012"), cached_amount=Decimal("0.0000002"), output_amount=Decimal("0.0000008"),
        amount=Decimal("0.0000022"),
    )  # fmt: skip
    assert (line,) == (await invoice(store, "acme", "2026-03", APRIL)).lines


@pytest.mark.parametrize(
    ("column", "value", "field"),
    [
        ("project", "app", "project"),
        ("tier", "large", "tier"),
        ("model_id", "model-b", "model"),
        ("price_list", "gold@11111111", "price_list"),
    ],
)
async def test_what_was_sold_otherwise_is_a_line_of_its_own(store: Store, column: str, value: str, field: str) -> None:
    await fill(store, used(), used(**{column: value}))
    lines = (await invoice(store, "acme", "2026-03", APRIL)).lines
    assert [1, 1] == [line.calls for line in lines]
    assert value in {getattr(line, field) for line in lines}


async def test_generations_cache_hits_and_batches_are_told_apart(store: Store) -> None:
    await fill(store, used(), used(outcome="hit", model_id=None, pool=None), used(batch=True), used(outcome="hangup"))
    found = {(line.kind, line.model, line.calls) for line in (await invoice(store, "acme", "2026-03", APRIL)).lines}
    assert {("generation", "model-a", 2), ("cache hit", "", 1), ("batch", "model-a", 1)} == found


async def test_a_call_that_took_no_tokens_is_not_listed_but_a_free_one_is(store: Store) -> None:
    free = {"input_cost": 0, "cached_cost": 0, "output_cost": 0}
    nothing = {**free, "prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0, "tier": None}
    await fill(store, used(**nothing, outcome="refused"), used(**free, tier="free"))
    assert ["free"] == [line.tier for line in (await invoice(store, "acme", "2026-03", APRIL)).lines]


async def test_more_cached_tokens_than_prompt_tokens_count_as_the_whole_prompt(store: Store) -> None:
    await fill(store, used(prompt_tokens=5, cached_tokens=9))
    total = (await invoice(store, "acme", "2026-03", APRIL)).total
    assert (0, 5) == (total.input_tokens, total.cached_tokens)


async def test_another_tenants_calls_are_on_another_invoice(store: Store) -> None:
    await register(store, "other", "Other")
    await fill(store, used(), used(tenant="other"), used(tenant="other"))
    assert [1, 2] == [(await invoice(store, who, "2026-03", APRIL)).total.calls for who in ("acme", "other")]


async def test_the_month_is_utc_to_the_last_fraction_of_a_second(store: Store) -> None:
    await fill(store, *(used(created=at) for at in (math.nextafter(MARCH, 0), MARCH, math.nextafter(APRIL, 0), APRIL)))
    calls = [(await invoice(store, "acme", f"2026-0{n}", APRIL)).total.calls for n in (2, 3, 4)]
    assert [1, 2, 1] == calls


async def test_an_invoice_names_its_tenant_as_it_is_told_to(store: Store) -> None:
    names = [(await invoice(store, "acme", "2026-03", APRIL, **told)).tenant_name for told in ({}, {"name": "Acme"})]
    assert ["acme", "Acme"] == names


async def test_a_month_without_calls_is_an_invoice_over_nothing(store: Store) -> None:
    empty = await invoice(store, "acme", "2026-03", APRIL)
    assert (0, "0.000000000") == (empty.total.calls, f"{empty.total.amount:f}")
    assert "Nothing was billed" in as_html(empty)


@pytest.mark.parametrize(
    "month", ["2026-13", "2026-00", "0000-01", "2026-1", "26-01", "2026-01-01", "2026-0\u0661", ""]
)
async def test_what_is_no_month_is_refused_with_an_example(store: Store, month: str) -> None:
    with pytest.raises(UnfitError, match=r"is no month: write it like 2026-01"):
        await invoice(store, "acme", month, APRIL)


rows = st.builds(
    used,
    created=st.floats(MARCH - DAY, APRIL + DAY),
    project=st.sampled_from(["", "web", "gone"]),
    tier=st.sampled_from(["small", "large", None]),
    model_id=st.sampled_from(["model-a", "model-b", None]),
    outcome=st.sampled_from(["ok", "hit", "refused", "failed", "hangup", "lost"]),
    batch=st.booleans(),
    prompt_tokens=st.integers(0, 3),
    cached_tokens=st.integers(0, 3),
    completion_tokens=st.integers(0, 3),
    input_cost=st.integers(0, 2) | st.integers(0, 10**15),
    cached_cost=st.integers(0, 2) | st.integers(0, 10**15),
    output_cost=st.integers(0, 2) | st.integers(0, 10**15),
)


@given(st.lists(rows, max_size=25))
@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_an_invoice_is_the_months_usage_to_the_nano_in_every_form(
    store: Store, calls: list[dict[str, Any]]
) -> None:
    tenant = fresh("tenant")  # usage rows are never deleted: each example has its own
    await register(store, tenant, "Tenant")
    if calls:
        await fill(store, *({**row, "id": fresh("call"), "tenant": tenant} for row in calls))
    billed = Decimal(sum(row["cost"] for row in calls if MARCH <= row["created"] < APRIL)).scaleb(-9)
    made = await invoice(store, tenant, "2026-03", APRIL)
    assert billed == made.total.amount == sum(sums.amount for _, _, sums in made.projects)
    assert all(one.amount == one.input_amount + one.cached_amount + one.output_amount for one in made.lines)
    document = json.loads(as_json(made))
    assert billed == Decimal(document["total"]["amount"]) == sum(Decimal(one["amount"]) for one in document["lines"])
    assert billed == sum(Decimal(row["amount"]) for row in csv.DictReader(io.StringIO(as_csv(made))))
    assert f"exactly {billed:f}<" in as_html(made)


# -- when it is final --------------------------------------------------------------------------------


def made_of(*lines: InvoiceLine, month: str = "2026-03", now: float = APRIL, name: str = "Acme") -> Invoice:
    return Invoice.of(Period.of(month), lines, now, tenant="acme", tenant_name=name, currency="EUR")


def sold(amount: str = "12.345678901", **changes: Any) -> InvoiceLine:
    names = {"project": "web", "project_name": "Web", "tier": "small", "model": "m", "kind": "generation"}
    money = {"input_amount": Decimal(amount), "amount": Decimal(amount)}
    return InvoiceLine(**{**names, "price_list": "default@0", "calls": 1, "input_tokens": 1234, **money, **changes})


@pytest.mark.parametrize(
    ("now", "status"),
    [(NOON, "draft"), (APRIL, "draft"), (math.nextafter(APRIL + DAY, 0), "draft"), (APRIL + DAY, "final")],
)
def test_an_invoice_is_a_draft_until_a_day_after_its_month(now: float, status: str) -> None:
    assert status == made_of(now=now).status


def test_a_final_invoice_is_the_same_whenever_it_is_read() -> None:
    early, late = (made_of(sold(), now=now) for now in (APRIL + DAY, APRIL + 1000 * DAY))
    assert [form(early) for form in (as_json, as_csv, as_html)] == [form(late) for form in (as_json, as_csv, as_html)]


def test_its_number_is_the_tenant_and_the_month_from_the_first_draft_on() -> None:
    assert ["acme-2026-03"] * 2 == [made_of(now=now).number for now in (NOON, APRIL + DAY)]


@given(st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)), st.integers(-1, 1))  # noqa: DTZ001 - made UTC below
def test_a_moment_is_in_its_own_utc_month_and_in_no_other(moment: datetime, shift: int) -> None:
    number = moment.year * 12 + moment.month - 1 + shift
    period = Period.of(f"{number // 12:04}-{number % 12 + 1:02}")
    assert (shift == 0) == (period.since <= moment.replace(tzinfo=UTC).timestamp() < period.until)


def test_a_leap_february_has_its_last_day() -> None:
    assert "2028-02-29" == Period.of("2028-02").last.isoformat()


# -- its three forms ---------------------------------------------------------------------------------


def test_json_holds_amounts_as_plain_strings_of_nine_places() -> None:
    document = json.loads(as_json(made_of(sold("0.000000001"))))
    assert {
        "calls": 1, "input_tokens": 1234, "cached_tokens": 0, "output_tokens": 0, "input_amount": "0.000000001",
        "cached_amount": "0.000000000", "output_amount": "0.000000000", "amount": "0.000000001",
    } == document["total"]  # fmt: skip
    about = ("number", "status", "tenant", "month", "from", "to", "currency", "made")
    assert [
        "acme-2026-03", "draft", "acme", "2026-03", "2026-03-01", "2026-03-31", "EUR", "2026-04-01T00:00:00+00:00",
    ] == [document[name] for name in about]  # fmt: skip


def test_csv_has_a_row_a_line_that_says_whose_it_is() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(made_of(sold("1.5"), sold("0.000000001", tier="large"))))))
    columns = ("number", "status", "month", "currency", "tier", "amount", "cached_amount")
    assert [
        ("acme-2026-03", "draft", "2026-03", "EUR", "large", "0.000000001", "0.000000000"),
        ("acme-2026-03", "draft", "2026-03", "EUR", "small", "1.5", "0.000000000"),
    ] == [tuple(row[name] for name in columns) for row in rows]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_name_that_a_spreadsheet_would_run_is_text_in_csv(name: str) -> None:
    made = made_of(sold(project_name=name), name=name)
    row = next(csv.DictReader(io.StringIO(as_csv(made), newline="")))
    assert (f"'{name}", f"'{name}") == (row["tenant_name"], row["project_name"])


class Page(HTMLParser):
    """Which elements a page has, what they refer to, and its text; fails where tags do not close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.refers: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.refers += [name for name, _ in attrs if name in {"src", "href", "action", "srcset", "data"}]
        if tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag == self._open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "& <b>"]
)
def test_names_are_text_on_the_page_whatever_they_hold(name: str) -> None:
    plain = Page(as_html(made_of(sold())))
    page = Page(as_html(made_of(sold(project_name=name, tier=name, model=name, price_list=name), name=name)))
    assert plain.tags == page.tags
    assert page.text.count(name) == 5


def test_the_page_needs_nothing_from_elsewhere() -> None:
    html = as_html(made_of(sold()))
    page = Page(html)
    assert [] == page.refers
    assert not {"link", "script", "img", "iframe", "object"} & set(page.tags)
    assert not re.search(r"url\(|@import|https?:", html)


def test_the_page_shows_cents_and_the_exact_total_beside_them() -> None:
    text = " ".join(Page(as_html(made_of(sold("1234.565000001"), sold("0.004999999", tier="large")))).text.split())
    assert "EUR 1,234.57 exactly 1234.570000000" in text
    assert " 0.00 small" in text


def test_a_project_with_several_lines_has_its_sum_and_one_with_a_single_line_has_not() -> None:
    page = Page(as_html(made_of(sold("1"), sold("2", tier="large"), sold("4", project="app", project_name="App"))))
    assert [4, 2, 1, 3, 7, 7] == [int(amount) for amount in re.findall(r"\b([1-7])\.00\b", page.text)]


def test_only_a_draft_calls_itself_one() -> None:
    draft, final = (Page(as_html(made_of(sold(), now=now))).text for now in (NOON, APRIL + DAY))
    assert (True, False) == ("A draft:" in draft, "A draft:" in final)
