"""How an admin command is made: its own arguments, those that all of them take, and a client to ask with.

main -> [tenants, money, audit -> admin] -> client.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from app.cli import output
from app.cli.client import AdminError, Client

EXAMPLES = Path(__file__).parents[1] / "config/examples"
"""The config files that come with the installation: a checkout's `configs`."""


def default_file() -> Path:
    """What a command that is given no file works on: this folder's serve_config.yaml, else the packaged local.yaml."""
    own = Path("serve_config.yaml")
    return own if own.exists() else EXAMPLES / "local.yaml"


DEFAULT = default_file()
Work = Callable[..., None]
Change = Callable[[dict[str, Any]], dict[str, Any]]
"""From the terms that were to those that are asked for."""

_COMMON = {
    "config": (
        Annotated[Path, typer.Option(help="Whose ledger, where no --url is given.")],
        DEFAULT,
    ),
    "url": (
        Annotated[str | None, typer.Option(envvar="PENSTOCK_URL", help="A running graph to ask instead.")],
        None,
    ),
    "json": (Annotated[bool, typer.Option("--json", help="Print what the API answers.")], False),
}
_TERMS = {
    "rpm": (Annotated[int | None, typer.Option(min=0, help="Requests a minute; 0 is unlimited.")], None),
    "tpm": (Annotated[int | None, typer.Option(min=0, help="Tokens a minute; 0 is unlimited.")], None),
    "rpd": (Annotated[int | None, typer.Option(min=0, help="Requests a day; 0 is unlimited.")], None),
    "tpd": (Annotated[int | None, typer.Option(min=0, help="Tokens a day; 0 is unlimited.")], None),
    "concurrent": (Annotated[int | None, typer.Option(min=0, help="Calls at once; 0 is unlimited.")], None),
    "budget": (Annotated[str | None, typer.Option(help="Money in each period, or `none`.")], None),
    "period": (Annotated[str | None, typer.Option(help="The budget's: total, month or day.")], None),
    "safety": (Annotated[str | None, typer.Option(help="Safety as JSON, over what was said, field by field.")], None),
    "terms": (Annotated[str | None, typer.Option(help="All terms as JSON; the other options go over it.")], None),
}
_SAID = {
    "rpm": "requests_per_minute",
    "tpm": "tokens_per_minute",
    "rpd": "requests_per_day",
    "tpd": "tokens_per_day",
    "concurrent": "concurrent_requests",
    "budget": "budget",
    "period": "budget_period",
}
_EXAMPLES = {"terms": '{"models": ["small"]}', "safety": '{"injection": "flag"}'}


@dataclass(frozen=True, slots=True)
class CommandContext:
    """What a command works with. as_json: print what the API answered, for a program. config: the file of --config."""

    api: Client
    as_json: bool
    config: Path = DEFAULT

    def told(self, thing: dict[str, Any], text: str) -> None:
        """Print what was done."""
        if self.as_json:
            output.as_json(thing)
        else:
            output.line(text)

    def listed(
        self, things: Iterable[dict[str, Any]], columns: Sequence[str], row: Callable[[dict[str, Any]], Sequence[Any]]
    ) -> None:
        """Print a list."""
        if self.as_json:
            output.as_json({"object": "list", "data": list(things), "has_more": False})
        else:
            output.table(columns, [row(thing) for thing in things])


def command(group: typer.Typer, name: str, *, terms: bool = False) -> Callable[[Work], Work]:
    """Register `work(ctx, ...)`. It takes --config, --url and --json too, and where `terms` the options of terms,
    which reach it as `terms`: a function from the terms that were to those that are asked for.
    """

    def register(work: Work) -> Work:
        own = list(inspect.signature(work, eval_str=True).parameters.values())[2 if terms else 1 :]
        more = [
            inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
            for option, (kind, default) in ((_TERMS if terms else {}) | _COMMON).items()
        ]

        @wraps(work)
        def run(**given: Any) -> None:
            common = {option: given.pop(option) for option in _COMMON}
            asked = {option: given.pop(option) for option in _TERMS} if terms else {}
            change = (lambda was: _over(was, asked),) if terms else ()
            with _api(common["config"], common["url"]) as api:
                try:
                    work(CommandContext(api, common["json"], common["config"]), *change, **given)
                except AdminError as error:
                    output.fail(str(error))

        parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + more
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        group.command(name)(run)
        return work

    return register


def said(**values: Any) -> dict[str, Any]:
    """Those that were given, as a body."""
    return {name: value for name, value in values.items() if value is not None}


def _api(config: Path, url: str | None) -> Client:
    from app.config import ConfigError
    from app.core.ports import PortError
    from app.installation.paths import StateError

    try:
        return Client(config, url)
    except (ConfigError, StateError, PortError) as error:
        output.fail(str(error))


def _over(was: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """The terms that were, with what was asked for."""
    given = {_SAID[name]: _value(name, value) for name, value in asked.items() if name in _SAID and value is not None}
    terms = (was if asked["terms"] is None else _parsed("terms", asked["terms"])) | given
    if asked["safety"] is not None:
        terms["safety"] = terms.get("safety", {}) | _parsed("safety", asked["safety"])
    return terms


def _value(name: str, value: Any) -> Any:
    if name == "budget":
        return None if value == "none" else value
    return None if value == 0 else value


def _parsed(option: str, text: str) -> dict[str, Any]:
    import json

    try:
        found = json.loads(text)
    except ValueError as error:
        _bad(f"--{option}: not JSON: {error}")
    if not isinstance(found, dict):
        _bad(f"--{option}: write an object, like {_EXAMPLES[option]}")
    return found


def _bad(message: str) -> NoReturn:
    raise typer.BadParameter(message)
