"""`penstock profile` on an engine that only pretends: what it asks, and what it makes of the answers' times."""

from __future__ import annotations

import httpx
import pytest

from app.planner import measure
from app.planner.measure import Fixed, Target, Timing
from app.planner.profile import ProfileError
from tests.planner.engine import engine


async def test_it_finds_points_for_growing_prompts_and_batches_without_repeating_a_prompt() -> None:
    with engine() as fake:
        found = await measure.measure(Target(fake.url, "key", "small", 128, 4), Fixed(2.0, 500, 9000))
    assert [32, 64, 128] == [point.prompt_tokens for point in found.prefill]
    assert [1, 2, 4] == [point.batch for point in found.decode]
    assert ("measured", 2.0, 500, 9000, 4) == (
        found.kind, found.gpus, found.kv_bytes_per_token, found.kv_tokens, found.max_batch,
    )  # fmt: skip
    prompts = [body["messages"][0]["content"] for body in fake.asked]
    assert len(prompts) == len(set(prompts))
    assert all(point.step_s > 0 for point in found.decode)


async def test_an_engine_that_refuses_or_does_not_count_cannot_be_measured() -> None:
    for settings in ({"status": 401}, {"usage": False}):
        with engine(**settings) as fake, pytest.raises(ProfileError):
            await measure.measure(Target(fake.url, "key", "small", 64, 1), Fixed())


async def test_nobody_at_home_is_an_error_of_the_network() -> None:
    with engine() as fake:
        url = fake.url
    with pytest.raises(httpx.HTTPError):
        await measure.measure(Target(url, "key", "small", 64, 1), Fixed())


def test_what_does_not_grow_with_the_prompt_is_overhead() -> None:
    overhead, rates = measure._prefill([(n, 0.05 + n / 2000) for n in (32, 64, 128, 256)])
    assert pytest.approx(0.05) == overhead
    assert [pytest.approx(2000)] * 4 == [point.tokens_per_second for point in rates]


def test_times_that_do_not_grow_are_overhead_and_never_a_negative_speed() -> None:
    overhead, rates = measure._prefill([(32, 0.06), (64, 0.05), (128, 0.055)])
    assert 0 < overhead < 0.05
    assert all(point.tokens_per_second > 0 for point in rates)


def test_a_step_is_what_longer_answers_take_longer_however_the_first_words_were_held_back() -> None:
    short = [Timing(0.4, 0.5, 0.6, 32, 8)]
    assert pytest.approx(0.02) == measure._step(short, [Timing(0.1, 0.5 + 32 * 0.02, 2.0, 32, 40)])
    with pytest.raises(ProfileError, match="longer"):
        measure._step(short, short)


async def test_calls_that_are_refused_are_left_out_and_only_all_of_them_are_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def some(_http: object, _model: str, prompt: str, _tokens: int) -> Timing:
        if "no" in prompt:
            raise ProfileError(prompt)
        return Timing(0.1, 0.2, 0.3, 5, 6)

    monkeypatch.setattr(measure, "ask", some)
    target = Target("", "", "small")
    async with measure.client(target) as http:
        assert 2 == len(await measure._several(http, target, ["yes", "no", "yes"], 1))
        with pytest.raises(ProfileError, match="no"):
            await measure._several(http, target, ["no", "no way"], 1)


def test_prompts_of_one_length_tell_nothing() -> None:
    with pytest.raises(ProfileError, match="equally long"):
        measure._prefill([(32, 0.06), (32, 0.05)])


def test_filler_is_about_as_long_as_asked_and_differs_from_its_first_words() -> None:
    texts = [measure.words(64, seed) for seed in range(50)]
    assert {64} == {len(text.split()) for text in texts}
    assert len({" ".join(text.split()[:12]) for text in texts}) == 50
