"""What a replica is taken to do: between measured points, and from data sheets."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.config import ConfigError, load_file
from app.planner.profile import DecodePoint, PrefillPoint, Profile, ProfileError, load, save
from app.planner.roofline import hardware, roofline
from app.planner.scenario import Assumptions, profile_of, scenario
from tests.planner.kit import ROOT, profile

LLAMA = "meta-llama/Llama-3.3-70B-Instruct"
MISTRAL = "mistralai/Mistral-7B-Instruct-v0.3"


def test_between_points_lie_lines_and_outside_them_the_nearest_point() -> None:
    one = profile(
        prefill=[PrefillPoint(prompt_tokens=n, tokens_per_second=rate) for n, rate in ((100, 1000), (300, 2000))],
        decode=[DecodePoint(batch=2, step_s=0.02), DecodePoint(batch=4, step_s=0.04)],
        kv_read_s=1e-6,
    )  # fmt: skip
    assert [pytest.approx(seconds) for seconds in (0.05, 200 / 1500, 0.5)] == [
        one.prefill_s(n) for n in (50, 200, 1000)
    ]
    assert [pytest.approx(seconds) for seconds in (0.02, 0.03, 0.04)] == [one.step_s(n, 0) for n in (1, 3, 9)]
    assert pytest.approx(0.021) == one.step_s(2, 1000)


def test_points_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="in order"):
        profile(decode=[DecodePoint(batch=4, step_s=0.02), DecodePoint(batch=2, step_s=0.04)])


def test_a_saved_profile_is_loaded_as_it_was(tmp_path: Path) -> None:
    save(tmp_path / "p.json", {"a": profile()})
    again = load(tmp_path / "p.json").pools["a"]
    assert isinstance(again, Profile)
    assert profile().model_dump() == again.model_dump()


@pytest.mark.parametrize("text", ["{}", "no", '{"pools": {"a": {"name": 1}}}'])
def test_a_file_that_is_no_profile_is_refused_by_its_place(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(ProfileError, match=r"p\.json"):
        load(tmp_path / "p.json")


def test_a_lone_answers_step_reads_the_weights_once_at_the_reached_bandwidth() -> None:
    data = hardware()
    found = roofline("H100", MISTRAL)
    reads = data.models[MISTRAL].weight_bytes / (data.gpus["H100"].bandwidth * data.efficiency.decode)
    assert pytest.approx(reads + data.efficiency.step_overhead_s) == found.step_s(1, 0)


@pytest.mark.parametrize("model", [MISTRAL, LLAMA])
def test_a_faster_gpu_is_faster_at_everything_and_never_slower(model: str) -> None:
    older, newer = roofline("A100", model, 4), roofline("H100", model, 4)
    assert newer.prefill_s(2000) < older.prefill_s(2000)
    assert all(newer.step_s(batch, 10_000) < older.step_s(batch, 10_000) for batch in (1, 16, 256))
    assert older.tokens_per_second(64, 1000) > older.tokens_per_second(1, 1000)


def test_a_model_that_does_not_fit_is_refused_in_gigabytes() -> None:
    with pytest.raises(ConfigError, match="141 GB and does not fit on 1 x H100"):
        roofline("H100", LLAMA)


@pytest.mark.parametrize(("gpu", "model"), [("H1000", LLAMA), ("H100", "nobody/nothing")])
def test_what_no_data_sheet_is_bundled_for_is_refused_with_the_choices(gpu: str, model: str) -> None:
    with pytest.raises(ConfigError, match="choose from"):
        roofline(gpu, model, 8)


def test_every_bundled_figure_names_its_source_and_says_where_it_is_reckoned() -> None:
    data = hardware()
    assert {"H200", "H100", "A100", "L40S", "L4"} <= set(data.gpus)
    assert all("data sheet" in gpu.source for gpu in data.gpus.values())
    assert all(one.source.startswith("measured") for one in data.measured.values())
    assert roofline("H100", MISTRAL).source.startswith("roofline, not measured")


@pytest.mark.parametrize("name", ["gpu", "local", "disaggregated"])
def test_every_shipped_config_can_be_planned_without_a_profile(name: str) -> None:
    made = scenario(load_file(ROOT / "configs" / f"{name}.yaml"), Assumptions())
    assert all(pool.profile or any(pool.bought) for pool in made.pools.values())
    assert pytest.approx(1.0) == sum(made.assumed.shares.values())


def test_a_pool_that_nothing_is_known_of_names_the_command_that_measures_it() -> None:
    config = load_file(ROOT / "configs" / "gpu.yaml")
    unknown = config.graph.pools["llama-70b"].model_copy(update={"source": "path:mine"})
    with pytest.raises(ConfigError, match="penstock profile FILE --pool mine"):
        profile_of("mine", unknown, {})
    assert "measured by me" == profile_of("mine", unknown, {"mine": profile(source="measured by me")}).source


def test_a_judge_that_is_not_as_bundled_takes_what_it_is_said_to_and_one_unknown_is_refused() -> None:
    config = load_file(ROOT / "configs" / "gpu.yaml")
    told = scenario(config, Assumptions(judges={"guard": (0.5, 0.001, 100)})).judges
    assert pytest.approx(0.6) == told["guard"].cost.seconds(5000)
    assert told["scrubber"] == scenario(config, Assumptions()).judges["scrubber"]
    with pytest.raises(ConfigError, match="judges: `oracle` is not known: choose from"):
        scenario(config, Assumptions(judges={"oracle": (0.5, 0.0, 0)}))


def test_judges_are_not_counted_again_where_the_profile_was_measured_behind_them() -> None:
    config = load_file(ROOT / "configs" / "local.yaml")
    assert {"scrubber", "guard", "moderator"} <= set(scenario(config, Assumptions()).judges)
    measured = {name: profile(overhead_s=0.1) for name in config.graph.pools}
    assert {} == scenario(config, Assumptions(), measured).judges
