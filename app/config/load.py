"""Read a config file, check its parts and that they fit together, and say what is wrong line by line."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from app.config.base import ConfigError, Strict, choose
from app.config.graph import Graph
from app.config.policy import Policy
from app.config.renamed import GRAPH, POLICY, renewed

log = logging.getLogger(__name__)
T = TypeVar("T", bound=Strict)


class Config(Strict):
    """A whole config file, checked: the graph, the policy, and that they fit together."""

    graph: Graph
    policy: Policy


def check(graph: Graph, policy: Policy) -> None:
    """What only graph and policy together can tell. Raises ConfigError."""
    models = {pool.model_id for pool in graph.pools.values()}
    for what, names, known in (("costs", policy.costs, graph.pools), ("model_prices", policy.model_prices, models)):
        if unknown := sorted(set(names) - set(known)):
            raise choose(what, unknown[0], known)
    for name, tier in policy.tiers.items():
        if not tier.pools:
            msg = f"tiers.{name}.pools: name at least one of {', '.join(sorted(graph.pools))}"
            raise ConfigError(msg)
        for pool in tier.pools:
            if pool not in graph.pools:
                raise choose(f"tiers.{name}.pools", pool, graph.pools)
    for name, one in graph.pools.items():
        if one.model_id in policy.tiers or one.model_id == "auto":
            msg = f"pools.{name}.model_id: `{one.model_id}` is also a tier's name; a caller could mean either"
            raise ConfigError(msg)
    _check_aliases(policy, models)


def _check_aliases(policy: Policy, models: Collection[str]) -> None:
    known = {"auto", *policy.tiers, *models, *policy.judges}
    for alias, target in policy.aliases.items():
        if alias in known:
            msg = f"aliases.{alias}: that is a model's own name"
            raise ConfigError(msg)
        if target not in known:
            raise choose(f"aliases.{alias}", target, known)


def parse_graph(args: Mapping[str, Any]) -> Graph:
    """The Serve application's args as a Graph. Raises ConfigError."""
    return _parse(Graph, _renewed(args, GRAPH), "args")


def parse_policy(user_config: Mapping[str, Any]) -> Policy:
    """The Gateway's user_config as a Policy. Raises ConfigError."""
    return _parse(Policy, _renewed(user_config, POLICY), "user_config")


def load_file(path: str | Path) -> Config:
    """Read and check a Serve config file that holds a Penstock application. Raises ConfigError."""
    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{path}: {error.strerror or error}"
        raise ConfigError(msg) from error
    except yaml.YAMLError as error:
        msg = f"{path}: not valid YAML: {error}"
        raise ConfigError(msg) from error
    app = application(document, str(path))
    graph = parse_graph(app.get("args") or {})
    named = {deployment.get("name"): deployment for deployment in app.get("deployments") or []}
    gateway = named.get("Gateway", {})
    if not gateway.get("user_config"):
        msg = f"{path}: no `user_config` under the deployment `Gateway`: that is where the policy stands"
        raise ConfigError(msg)
    policy = parse_policy(gateway["user_config"])
    check(graph, policy)
    return Config(graph=graph, policy=policy)


def application(document: Any, path: str) -> dict[str, Any]:
    """The Penstock application in a Serve config document. Raises ConfigError."""
    apps = document.get("applications") if isinstance(document, dict) else None
    for app in apps or []:
        if isinstance(app, dict) and str(app.get("import_path", "")).startswith("graphs."):
            return app
    msg = f"{path}: no application with `import_path: graphs.chat:build`"
    raise ConfigError(msg)


def _renewed(data: Mapping[str, Any], table: Mapping[tuple[str, ...], str]) -> Mapping[str, Any]:
    """The data with today's names; each old one is told in the log."""
    new, found = renewed(data, table)
    for old, name in found:
        log.warning("config: `%s` is now called `%s`; `penstock config migrate FILE` rewrites it", old, name)
    return dict(new)


def _parse(model: type[T], data: Mapping[str, Any], root: str) -> T:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(_lines(error, model, root))) from error


def _lines(error: ValidationError, model: type[BaseModel], root: str) -> Iterator[str]:
    """Pydantic's faults as `key: what is wrong`, with the choices where a key is unknown."""
    for fault in error.errors(include_url=False):
        where = ".".join([root, *map(str, fault["loc"])])
        if fault["type"] == "extra_forbidden":
            known = {name for found in _models_at(model, fault["loc"][:-1]) for name in found.model_fields}
            yield f"{where}: unknown key: choose from {', '.join(sorted(known))}"
        elif fault["loc"]:
            yield f"{where}: {fault['msg'].removeprefix('Value error, ')}"
        else:
            yield fault["msg"].removeprefix("Value error, ")


def _models_at(annotation: Any, loc: Sequence[int | str]) -> list[type[BaseModel]]:
    """The models that may stand where `loc` points, through dicts, unions and their tags."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        if not loc:
            return [annotation]
        field = annotation.model_fields.get(str(loc[0]))
        if field is not None:
            return _models_at(field.annotation, loc[1:])
        tag = annotation.model_fields.get("kind")
        return _models_at(annotation, loc[1:]) if tag and loc[0] in get_args(tag.annotation) else []
    inner = get_args(annotation)
    if get_origin(annotation) is dict:
        return _models_at(inner[1], loc[1:]) if loc else []
    return [found for part in inner for found in _models_at(part, loc)]
