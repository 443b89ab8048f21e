"""PromQL, as far as our dashboards and alerts use it: parsed whole, and checked against the series that exist.

`labels(expression, known)` says which labels its result has, or fails where a metric or a label does not exist, a
function is not known, a counter is read without `rate`, or two sides of an operator cannot match.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

Labels = frozenset[str]
SCALAR = frozenset({"*"})
"""What a number has for labels: it goes with all."""
COUNTS = ("rate", "increase")
GAUGES = ("max_over_time", "min_over_time", "avg_over_time")
SUMS = ("sum", "min", "max", "avg", "count")
PRECEDENCE = {"or": 1, "unless": 2, "and": 2, "==": 3, "!=": 3, ">": 3, "<": 3, ">=": 3, "<=": 3}
PRECEDENCE |= {"+": 4, "-": 4, "*": 5, "/": 5}
TOKEN = re.compile(
    r'\s*(?:(?P<string>"[^"]*")|(?P<duration>\d+[smhdw]\b)|(?P<number>\d+(?:\.\d+)?)'
    r"|(?P<name>[a-zA-Z_:][\w:]*)|(?P<sign>=~|!~|[=!<>]=|[-+*/<>=(){}\[\],]))"
)


class PromqlError(Exception):
    """The expression is wrong, or speaks of what does not exist."""


def labels(expression: str, known: Mapping[str, Labels]) -> Labels:
    """The labels of the expression's result. known: sample name -> its labels."""
    parser = Parser(expression, known)
    found = parser.expression(0)
    parser.take("")
    return found


def tokens(text: str) -> list[tuple[str, str]]:
    out, at, text = [], 0, text.rstrip()
    while at < len(text):
        if not (match := TOKEN.match(text, at)):
            raise PromqlError(f"not PromQL: {text[at:]!r}")
        out.append((str(match.lastgroup), match[match.lastgroup or 0]))
        at = match.end()
    return [*out, ("end", "")]


class Parser:
    def __init__(self, text: str, known: Mapping[str, Labels]) -> None:
        self.tokens = tokens(text)
        self.known = known

    def take(self, wanted: str | None = None, kind: str | None = None) -> str:
        got, text = self.tokens.pop(0)
        if (wanted is not None and text != wanted) or (kind is not None and got != kind):
            raise PromqlError(f"{wanted or kind} expected, not {text!r}")
        return text

    def sees(self, *texts: str) -> bool:
        return self.tokens[0][1] in texts

    def expression(self, above: int) -> Labels:
        left = self.operand()
        while PRECEDENCE.get(self.tokens[0][1], 0) > above:
            operator = self.take()
            right = self.expression(PRECEDENCE[operator])
            if SCALAR not in (left, right) and left != right:
                raise PromqlError(f"{sorted(left)} {operator} {sorted(right)} match nothing")
            left = right if left == SCALAR else left
        return left

    def operand(self) -> Labels:
        if self.sees("("):
            return self.inside(lambda: self.expression(0))
        if self.tokens[0][0] == "number":
            self.take()
            return SCALAR
        name = self.take(kind="name")
        if name in SUMS:
            return self.aggregation()
        if name == "histogram_quantile":
            return self.inside(self.quantile)
        if name in COUNTS or name in GAUGES:
            return self.inside(lambda: self.selector(self.take(kind="name"), by=name))
        return self.selector(name)

    def inside(self, read: object) -> Labels:
        self.take("(")
        found: Labels = read()  # type: ignore[operator]
        self.take(")")
        return found

    def quantile(self) -> Labels:
        self.take(kind="number")
        self.take(",")
        found = self.expression(0)
        if "le" not in found:
            raise PromqlError("histogram_quantile needs `le`")
        return found - {"le"}

    def aggregation(self) -> Labels:
        kept: set[str] = set()
        if self.sees("by"):
            self.take()
            self.take("(")
            while not self.sees(")"):
                kept.add(self.take(kind="name"))
                if self.sees(","):
                    self.take()
            self.take(")")
        found = self.inside(lambda: self.expression(0))
        if not kept <= found:
            raise PromqlError(f"no label {', '.join(sorted(kept - found))} in {sorted(found)}")
        return frozenset(kept)

    def selector(self, metric: str, by: str = "") -> Labels:
        if metric not in self.known:
            raise PromqlError(f"no metric {metric}")
        counts = metric.endswith(("_total", "_bucket", "_sum", "_count"))
        if counts != (by in COUNTS):
            raise PromqlError(f"{metric} is a {'counter' if counts else 'gauge'}, not for {by or 'reading as it is'}")
        if self.sees("{"):
            self.take()
            while not self.sees("}"):
                self.matcher(metric)
            self.take("}")
        if by:
            self.take("[")
            self.take(kind="duration")
            self.take("]")
        return self.known[metric]

    def matcher(self, metric: str) -> None:
        if (label := self.take(kind="name")) not in self.known[metric]:
            raise PromqlError(f"{metric} has no label {label}")
        if self.take(kind="sign") not in ("=", "!=", "=~", "!~"):
            raise PromqlError("a matcher compares")
        self.take(kind="string")
        if self.sees(","):
            self.take()
