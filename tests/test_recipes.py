"""CONTRIBUTING's recipes are short and true: their paths exist, and a new judge takes no more than they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^## (Add [^\n]+)\n(.*?)(?=^## )", GUIDE, re.MULTILINE | re.DOTALL))
STAGE = "app/pipeline/stages/loudness.py"

# What each step of "Add a judge" adds, by file: after the line that is named, or as a new file.
STEPS: list[dict[str, tuple[str, str]]] = [
    {
        "app/core/ports.py": (
            "class ParaphraseJudge(Protocol):",
            """
class Loudness(Protocol):
    \"\"\"Judges how loud texts are.\"\"\"

    async def loud(self, texts: Sequence[str]) -> list[float]:
        \"\"\"For each text its share of capitals, 0..1.\"\"\"
        ...


""",
        )
    },
    {
        "app/safety/capitals.py": (
            "",
            """
class Capitals:
    async def loud(self, texts):
        return [sum(c.isupper() for c in text) / max(1, len(text)) for text in texts]
""",
        )
    },
    {
        "app/config/ports.py": (
            "}\nLEDGER =",
            """    "loudness": PortSpec(
        protocols.Loudness,
        {"capitals": "app.safety.capitals:Capitals"},
        asked_by=("loudness",),
        deployment="Loudness",
        optional="what refuses shouting; None: everybody may shout",
    ),
""",
        )
    },
    {
        STAGE: (
            "",
            """
from contextlib import aclosing

from app.core import errors
from app.core.events import Prompt, Refusal


class Loud:
    name = "loudness"

    def __init__(self, judge):
        self._judge = judge

    @classmethod
    def of(cls, parts):
        return cls(parts.ports["loudness"])

    async def __call__(self, call, events):
        async with aclosing(events):
            async for event in events:
                if self._judge and isinstance(event, Prompt) and max(await self._judge.loud(event.texts)) > 0.5:
                    yield Refusal(self.name, errors.bad_request("Do not shout.", "messages", "too_loud"))
                    return
                yield event
""",
        )
    },
    {
        "app/config/stage_order.py": (
            '    "screen": StageSpec(',
            '    "loudness": StageSpec(before={"generate": "nobody shouts at an engine"}),\n',
        ),
        "app/pipeline/build.py": ("    Screen,\n", "    Loud,\n"),
    },
]
IMPORT = ("from app.pipeline.stages.moderate import", "from app.pipeline.stages.loudness import Loud\n")
CALLS = """
import asyncio
from app.cli.diagram import lines
from app.config import Config, STAGES
from app.config.stage_order import running
from app.pipeline.gateway import Gateway
from app.runtime.wiring import wire
from deployments.methods import methods
from tests.kit import Kit, ask, graph, policy, run
import app

kit = Kit()
runtime = kit.gateway().ports
ONE = {"adapter": "capitals", "placement": "inline"}

def gateway(**ports):
    made = graph(**ports)
    class Runtime:
        authenticator, ledger, outbox, contents, observe, pseudonym_key = (
            runtime.authenticator, runtime.ledger, runtime.outbox, runtime.contents, runtime.observe, runtime.key)
    one = Gateway(made, wire(made, Runtime))
    one.apply(policy())
    return one

def said(one, text):
    return asyncio.run(run(one, ask(text)))[1][-1]

judged, plain = gateway(loudness=ONE), gateway()
print(app.__file__)
print(said(judged, "DO IT").error.code, type(said(judged, "do it")).__name__, type(said(plain, "DO IT")).__name__)
print(judged.needs("loudness"), plain.needs("loudness"), asyncio.run(judged.pulse())["loudness"])
print([text for _, text in lines(Config(graph=judged.graph, policy=judged.policy)) if "loudness" in text])
print([(m.name, m.joined, m.listed) for m in methods("loudness")], "loudness" in running(policy()))
print(kit.rows[0].refused_by)
"""


def added(text: str, anchor: str, new: str) -> str:
    """`text` with `new` ahead of its one anchor; a new file where there is no anchor."""
    assert not anchor or 1 == text.count(anchor), anchor
    return text.replace(anchor, new + anchor) if anchor else new


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code, with the judge added step by step."""
    folder = tmp_path_factory.mktemp("recipe")
    for package in ("app", "deployments", "graphs"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("weights", "__pycache__"))
    (folder / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "kit.py", folder / "tests" / "kit.py")
    for step in STEPS:
        for name, (anchor, new) in step.items():
            file = folder / name
            before = file.read_text(encoding="utf-8") if file.exists() else ""
            file.write_text(added(before, anchor, new), encoding="utf-8")
    build = folder / "app/pipeline/build.py"
    build.write_text(added(build.read_text(encoding="utf-8"), *IMPORT), encoding="utf-8")
    return folder


def test_a_judge_made_by_the_recipe_is_asked_shown_served_and_can_be_left_out(tree: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run([sys.executable, "-c", CALLS], cwd=tree, env=env, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    where, outcomes, needs, drawn, served, refused = done.stdout.splitlines()
    assert str(tree / "app" / "__init__.py") == where
    assert "too_loud Usage Usage" == outcomes
    assert "('loudness',) () True" == needs
    assert "['loudness  loudness: capitals (inline)']" == drawn
    assert "[('loud', True, True)] True" == served
    assert "loudness" == refused


def test_the_recipe_names_every_file_that_the_judge_touches_and_has_as_many_steps() -> None:
    recipe = RECIPES["Add a judge"]
    steps = re.split(r"^\d\. ", recipe, flags=re.MULTILINE)[1:]
    assert len(STEPS) == len(steps)
    for text, step in zip(steps, STEPS, strict=True):
        for name in step:
            folder = f"`{name.split('/')[0]}/`"
            assert f"`{name}`" in text.replace("NAME", "loudness") or folder in text, name


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_has_at_most_five_steps_and_names_files_that_are_there(title: str) -> None:
    assert 1 <= len(re.findall(r"^\d\. ", RECIPES[title], re.MULTILINE)) <= 5
    paths = re.findall(r"`((?:app|deployments|graphs|tests|evals|bench)(?:/[\w./]+)?)/?`", RECIPES[title])
    missing = [path for path in paths if "NAME" not in path and not (ROOT / path).exists()]
    assert paths
    assert [] == missing


def test_there_is_a_recipe_for_each_thing_that_grows() -> None:
    assert {"Add a stage", "Add a judge", "Add an adapter to a port", "Add an engine", "Add an endpoint"} == set(
        RECIPES
    )
