"""Config keys that have a new name: the old is accepted for one version, `penstock config migrate` rewrites it.

parse_graph, parse_policy -> [renamed]; cli -> [migrate].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from app.config.base import ConfigError

Path = tuple[str, ...]

ANY = "*"
"""Stands for every name at its place in a path."""
GRAPH: Mapping[Path, str] = {("same",): "paraphrase"}
"""Old key below `args`, its parents by their new names -> its new name."""
POLICY: Mapping[Path, str] = {
    ("rooms",): "stages",
    ("recall",): "cache",
    ("cache", "floor"): "min_similarity",
    ("cache", "longest"): "max_compared_chars",
    ("cache", "audit"): "shadow_share",
    ("cache", "agree"): "min_answer_similarity",
    ("route", "at_least"): "min_tier",
    ("tiers", ANY, "above"): "min_complexity",
    ("goods",): "costs",
    ("watch",): "alerts",
    ("alerts", "alerts"): "budget_percents",
    ("door",): "ip_limits",
    ("sight",): "observability",
}
"""Old key below the Gateway's `user_config`, its parents by their new names -> its new name."""


def renewed(
    data: Any, table: Mapping[Path, str], written: Path = (), at: Path = ()
) -> tuple[Any, list[tuple[str, str]]]:
    """`data` with the new names, and each old dotted path with its new name. Raises ConfigError where both stand.

    written, at: the path to `data` as it was written, and by the new names.
    """
    if not isinstance(data, Mapping):
        return data, []
    out: dict[Any, Any] = {}
    found: list[tuple[str, str]] = []
    for key, value in data.items():
        path, new = (*written, str(key)), _new((*at, str(key)), table)
        if new is not None:
            if new in data:
                raise ConfigError(f"{'.'.join(path)}: is now `{new}`, which stands beside it: keep the new one")
            found.append((".".join(path), new))
        out[new or key], below = renewed(value, table, path, (*at, new or str(key)))
        found += below
    return out, found


def migrate(text: str) -> tuple[str, list[str]]:
    """A config file's text with the new names, comments and layout kept; and what was renamed, as `old -> new`.

    Raises ConfigError for what is no YAML.
    """
    try:
        root = yaml.compose(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {error}") from error
    edits = {node.start_mark.index: (node.end_mark.index, new, old) for node, new, old in _renames(root)}
    for start in sorted(edits, reverse=True):
        end, new, _ = edits[start]
        text = text[:start] + new + text[end:]
    return text, [f"{edits[start][2]} -> {edits[start][1]}" for start in sorted(edits)]


def _renames(root: yaml.Node | None) -> Iterator[tuple[yaml.Node, str, str]]:
    """Key nodes to rename, with the new name and the old path."""
    for app in _items(_get(root, "applications")):
        yield from _below(_get(app, "args"), GRAPH)
        for deployment in _items(_get(app, "deployments")):
            yield from _below(_get(deployment, "user_config"), POLICY)


def _below(
    node: yaml.Node | None, table: Mapping[Path, str], written: Path = (), at: Path = ()
) -> Iterator[tuple[yaml.Node, str, str]]:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        path, new = (*written, str(key.value)), _new((*at, str(key.value)), table)
        if new:
            yield key, new, ".".join(path)
        yield from _below(value, table, path, (*at, new or str(key.value)))


def _new(path: Path, table: Mapping[Path, str]) -> str | None:
    for old, new in table.items():
        if len(old) == len(path) and all(part in (ANY, name) for part, name in zip(old, path, strict=True)):
            return new
    return None


def _get(node: yaml.Node | None, name: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for key, value in node.value if key.value == name), None)


def _items(node: yaml.Node | None) -> list[yaml.Node]:
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []
