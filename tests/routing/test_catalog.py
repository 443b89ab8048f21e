"""Tiers by score, pools by weight and health."""

from __future__ import annotations

import random
from collections import Counter

from app.routing.catalog import Health, ModelCatalog, order_pools, tier_for
from tests.kit import graph, policy


def test_the_most_demanding_tier_reached_is_taken() -> None:
    tiers = policy().tiers
    assert [tier_for(score, tiers) for score in (0.0, 0.49, 0.5, 1.0)] == ["small", "small", "large", "large"]


def test_pools_are_drawn_by_weight_and_each_comes_once() -> None:
    rng = random.Random(7)
    health = Health(cooldown=10)
    orders = [order_pools([{"a": 3.0, "b": 1.0}, {"b": 1.0, "c": 1.0}], health, rng) for _ in range(2000)]
    firsts = Counter(order[0] for order in orders)
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)
    assert 0.70 < firsts["a"] / 2000 < 0.80
    assert firsts["c"] == 0


def test_a_pool_that_failed_comes_last_until_its_cooldown_is_over() -> None:
    now = 0.0
    health = Health(cooldown=10, clock=lambda: now)
    health.failed("a")
    rng = random.Random(1)
    assert order_pools([{"a": 100.0}, {"b": 1.0}], health, rng) == ("b", "a")
    now = 10.0
    assert order_pools([{"a": 100.0}, {"b": 1.0}], health, rng) == ("a", "b")


def test_a_model_id_is_billed_as_the_lowest_tier_that_has_it() -> None:
    catalog = ModelCatalog.of(graph(), policy())
    assert list(catalog.tiers_of("model-b")) == ["large"]
    assert list(catalog.tiers_of("auto")) == ["small", "large"]
    assert catalog.tiers_of("gpt-9") == {}
    assert catalog.names == ["auto", "small", "large", "model-a", "model-b"]
