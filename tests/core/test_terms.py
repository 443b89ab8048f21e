"""Terms: one level over another, the limits they come to, and what may not be said."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.core.ports import Limit, Safety
from app.core.terms import DEFAULT_PLANS, Quota, SafetyTerms, Terms, common, tightest

PLAN = Terms(requests_per_minute=60, tokens_per_day=1000, budget=Decimal(5), budget_period="month", models=["small"])
counts = st.none() | st.integers(1, 10**9)
names = st.text("abc", min_size=1, max_size=3)
money = st.decimals(0, 10**6, places=9)
fields = st.fixed_dictionaries(
    {},
    optional={
        "requests_per_minute": counts,
        "tokens_per_day": counts,
        "burst": st.none() | st.floats(0.1, 60),
        "models": st.none() | st.lists(names, max_size=3),
        "budget": st.none() | money,
        "budget_period": st.sampled_from(["total", "month", "day"]),
        "per_model": st.dictionaries(names, st.builds(Quota, tokens_per_minute=counts), max_size=2),
        "safety": st.fixed_dictionaries(
            {},
            optional={
                "injection": st.none() | st.sampled_from(["block", "flag", "throttle"]),
                "personal": st.none() | st.sampled_from(["redact", "hash"]),
                "personal_deny": st.none() | st.lists(names, max_size=2),
                "cache_error": st.none() | st.floats(0, 0.5),
            },
        ),
    },
)
any_terms = fields.map(Terms.model_validate)


def test_own_terms_override_the_plans_field_by_field() -> None:
    own = Terms(requests_per_minute=10).over(PLAN)
    assert (10, 1000, Decimal(5)) == (own.requests_per_minute, own.tokens_per_day, own.budget)


def test_unlimited_said_aloud_overrides_a_limit() -> None:
    own = Terms(requests_per_minute=None, models=None).over(PLAN)
    assert (None, None) == (own.requests_per_minute, own.models)
    assert own.tokens_per_day == 1000


def test_own_safety_overrides_the_plans_field_by_field() -> None:
    plan = Terms(safety=SafetyTerms(injection="block", personal="redact", cache_error=0.1))
    own = Terms(safety=SafetyTerms(injection="throttle", cache_error=None)).over(plan)
    assert Safety(injection="throttle", personal="redact") == own.safety.safety()


def test_terms_that_say_nothing_leave_everything() -> None:
    assert PLAN == Terms().over(PLAN)
    assert PLAN == PLAN.over(Terms())


@given(any_terms, any_terms, any_terms)
def test_it_does_not_matter_which_two_of_three_levels_are_joined_first(one: Terms, two: Terms, three: Terms) -> None:
    assert one.over(two).over(three) == one.over(two.over(three))


@given(any_terms)
def test_stored_terms_come_back_as_they_were(terms: Terms) -> None:
    again = Terms.model_validate_json(terms.model_dump_json(exclude_unset=True))
    assert terms == again
    assert terms.model_fields_set == again.model_fields_set


def test_every_quota_becomes_one_limit_and_only_minutes_burst() -> None:
    terms = Terms(
        requests_per_minute=1, tokens_per_minute=2, requests_per_day=3, tokens_per_day=4, concurrent_requests=5, burst=2
    )
    assert [
        Limit("key:k", "requests", "minute", 1, 2.0),
        Limit("key:k", "tokens", "minute", 2, 2.0),
        Limit("key:k", "requests", "day", 3),
        Limit("key:k", "tokens", "day", 4),
        Limit("key:k", "concurrent", "now", 5),
    ] == list(terms.limits("key:k"))


def test_limits_of_a_model_stand_beside_the_common_ones_with_names_of_their_own() -> None:
    terms = Terms(tokens_per_day=9, per_model={"large": Quota(tokens_per_day=4, concurrent_requests=1)})
    limits = list(terms.limits("tenant:t"))
    assert [("*", 9), ("large", 4), ("large", 1)] == [(limit.model, limit.amount) for limit in limits]
    assert ["tokens/day/*", "tokens/day/large", "concurrent/now/large"] == [limit.name for limit in limits]


@given(any_terms)
def test_no_two_limits_of_an_owner_share_a_name(terms: Terms) -> None:
    limits = list(terms.limits("tenant:t"))
    assert len(limits) == len({limit.name for limit in limits})


def test_nothing_said_is_nothing_limited() -> None:
    assert list(Terms().limits("key:k")) == []


@pytest.mark.parametrize(
    "said",
    [
        {"requests_per_minute": 0},
        {"tokens_per_day": -1},
        {"burst": 0},
        {"burst": 61},
        {"budget": -1},
        {"budget": "0.0000000001"},
        {"budget": "NaN"},
        {"budget_period": "week"},
        {"retention_days": 0},
        {"per_model": {"large": {"burst": 2}}},
        {"requests": 5},
        {"safety": {"injection": "ignore"}},
        {"safety": {"injection_threshold": 0}},
        {"safety": {"leak": "redact"}},
        {"safety": {"personal": "mask"}},
        {"safety": {"personal_types": ["person"]}},
        {"safety": {"personal_deny": ["  "]}},
        {"safety": {"personal_allow": ["x"] * 501}},
        {"safety": {"cache_error": 0.6}},
        {"safety": {"toxicity": "block"}},
    ],
)
def test_what_cannot_be_a_term_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(said))):
        Terms.model_validate(said)


def test_an_unknown_choice_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(ValidationError, match="'placeholder', 'redact', 'hash', 'synthetic' or 'block'"):
        Terms.model_validate({"safety": {"personal": "mask"}})


def test_the_tightest_is_the_smallest_that_is_set() -> None:
    assert tightest(None, 7, 3) == 3
    assert tightest(None, None) is None


def test_only_what_every_list_allows_is_allowed() -> None:
    assert frozenset({"a"}) == common(["a", "b"], None, ["a", "c"])
    assert frozenset() == common(["a"], ["b"])
    assert common(None, None) is None


def test_the_free_plan_is_limited_in_every_way_and_an_enterprises_has_no_budget() -> None:
    free = DEFAULT_PLANS["free"]
    kinds = {(limit.kind, limit.per) for limit in free.limits("tenant:t")}
    assert kinds == {("requests", "minute"), ("tokens", "minute"), ("requests", "day"), ("concurrent", "now")}
    assert (Decimal(1), "month") == (free.budget, free.budget_period)
    assert DEFAULT_PLANS["enterprise"].budget is None
