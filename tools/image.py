"""Run the steps of configs/docker/Dockerfile without Docker, as root, in a bare Debian of its own.

    sudo python -m tools.image /var/tmp/image                                    every stage; the last one is left there
    sudo python -m tools.image /var/tmp/image --bind /etc/ssl/certs --run 'penstock --version'

For machines where no Docker runs: what the file says (FROM, ARG, ENV, WORKDIR, COPY, RUN, USER) is done as it stands,
in folders by `chroot`. Needs `debootstrap`. `python:3.11-slim-bookworm` is Debian 12 with Python 3.11, and so is the
base here. --bind: a path of this machine that steps see (certificates, settings of pip). --run: as the image's user.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).parents[1]
FILE = ROOT / "configs" / "docker" / "Dockerfile"
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates,bash"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KERNEL = (Path("/proc"), Path("/sys"), Path("/dev"))
"""What a container sees of the kernel."""
VARIABLE = re.compile(r"\$\{?(\w+)\}?")


def steps(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction with its argument; comments are left out and continued lines joined."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in lines.replace("\\\n", " ").splitlines():
        name, _, rest = line.strip().partition(" ")
        if name:
            yield name.upper(), rest.strip()


@dataclass
class Stage:
    """root: its files. env, user, folder: what ENV, USER and WORKDIR set."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    user: str = "0"
    folder: str = "/"

    def run(self, command: str, binds: Sequence[Path], arguments: Mapping[str, str] = MappingProxyType({})) -> None:
        """A shell line in it. arguments: what ARG set, which a step sees. Raises CalledProcessError."""
        with ExitStack() as stack:
            for bind in (*KERNEL, *binds):
                stack.enter_context(bound(bind, self.root))
            shell = f"cd {shlex.quote(self.folder)} && {command}"
            spec = [] if self.user == "0" else [f"--userspec={self.user}:{self.user}"]
            full = ["chroot", *spec, str(self.root), "/bin/sh", "-ec", shell]
            home = "/root" if self.user == "0" else "/home/penstock"
            subprocess.run(full, env={"HOME": home, **arguments, **self.env}, check=True)

    def copy(self, sources: Sequence[Path], target: str) -> None:
        """Files into it, as COPY has it."""
        place = self.root / (target if target.startswith("/") else f"{self.folder}/{target}").lstrip("/")
        for source in sources:
            if source.is_dir():
                skipped = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True, ignore=skipped)
            else:
                end = place / source.name if target.endswith("/") else place
                end.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, end)


@contextmanager
def bound(path: Path, root: Path) -> Iterator[None]:
    """The path of this machine, seen in `root` while the block runs."""
    place = root / str(path).lstrip("/")
    if path.is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch(exist_ok=True)
    subprocess.run(["mount", "--bind", str(path), str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def build(folder: Path, binds: Sequence[Path], arguments: dict[str, str]) -> Stage:
    """All stages; the last one."""
    base = folder / "base"
    if not base.exists():
        subprocess.run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(base)], check=True)
        (base / "etc/resolv.conf").write_text(Path("/etc/resolv.conf").read_text(encoding="utf-8"), encoding="utf-8")
    stages: dict[str, Stage] = {}
    stage = Stage(base)
    for name, argument in steps(FILE.read_text(encoding="utf-8")):
        said = filled(argument, {**arguments, **stage.env})
        print(f"{name} {said}", flush=True)
        if name == "FROM":
            label = said.split(" AS ")[1] if " AS " in said else "image"
            stage = stages[label] = Stage(folder / label)
            shutil.rmtree(stage.root, ignore_errors=True)
            subprocess.run(["cp", "-a", str(base), str(stage.root)], check=True)
        elif name == "ARG":
            key, _, value = argument.partition("=")
            arguments.setdefault(key, value)
        elif name == "ENV":
            stage.env |= dict(word.partition("=")[::2] for word in shlex.split(said))
        elif name == "WORKDIR":
            stage.folder = said
            (stage.root / said.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif name == "USER":
            stage.user = said
        elif name == "COPY":
            *sources, target = said.split()
            origin = stages[sources.pop(0).partition("=")[2]].root if said.startswith("--from=") else ROOT
            stage.copy([origin / source.lstrip("/") for source in sources], target)
        elif name == "RUN":
            stage.run(argument, binds, arguments)
    return stage


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with `${NAME}` replaced where NAME has a value."""
    return VARIABLE.sub(lambda found: values.get(found[1], found[0]), text)


def sent() -> list[str]:
    """What .dockerignore lets into the build."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [line[1:] for line in lines if line.startswith("!")]


def reaches(source: str) -> bool:
    """Whether a COPY's source is sent to the build at all."""
    return any(source == name or source.startswith(f"{name}/") or fnmatch(source, name) for name in sent())


def main() -> None:
    """Build, and run one command in what was built."""
    parser = argparse.ArgumentParser(description="the Dockerfile's steps without Docker")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bind", type=Path, action="append", default=[])
    parser.add_argument("--arg", action="append", default=[], help="NAME=VALUE, as --build-arg")
    parser.add_argument("--run", help="a command in the image, as its user")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    image = build(args.folder, args.bind, dict(word.split("=", 1) for word in args.arg))
    if args.run:
        image.run(args.run, args.bind)


if __name__ == "__main__":
    os.umask(0o022)
    main()
