"""Who speaks in a chat that was pasted: the names before the colons.  engine -> [Speakers]."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from presidio_analyzer import EntityRecognizer, RecognizerResult

LINE = re.compile(
    r"(?m)^[ \t>*-]{0,4}(?:\[[^\]\n]{1,24}\] ?|\d{1,2}:\d\d(?::\d\d)? ?(?:[ap]m)? ?(?:- )?)?"
    r"([A-Z\u00c0-\u00de][\w'\u2019-]{1,20}(?: [A-Z\u00c0-\u00de][\w'\u2019.-]{0,20}){0,2}): \S"
)
OTHERS = frozenset({
    "note", "notes", "warning", "error", "errors", "question", "questions", "answer", "answers", "user",
    "assistant", "system", "human", "ai", "bot", "agent", "subject", "from", "to", "cc", "bcc", "date", "re", "fw",
    "input", "output", "example", "examples", "step", "steps", "summary", "todo", "person", "name", "names",
    "title", "address", "email", "phone", "tel", "fax", "location", "time", "price", "total", "hint", "tip", "info",
    "debug", "trace", "fatal", "result", "results", "task", "tasks", "goal", "goals", "context", "instruction",
    "instructions", "response", "prompt", "rule", "rules", "format", "constraints", "requirements", "background",
    "introduction", "conclusion", "abstract", "keywords", "author", "authors", "source", "sources", "reference",
    "references", "version", "status", "priority", "description", "details", "option", "options", "pros", "cons",
    "definition", "theorem", "proof", "lemma", "remark", "action", "thought", "observation", "final", "true",
    "false", "premise", "hypothesis", "claim", "evidence", "text", "article", "passage", "document", "review",
    "sentence", "word", "words", "language", "translation", "original", "english", "french", "german", "spanish",
    "code", "file", "path", "url", "link", "problem", "solution", "given", "find", "show", "method", "methods",
    "data", "table", "figure", "chapter", "section", "part", "day", "week", "month", "year", "morning", "evening",
    "breakfast", "lunch", "dinner", "ingredients", "directions", "serves", "yield", "role", "objective", "customer",
    "client", "support", "caller", "operator", "speaker", "interviewer", "interviewee", "narrator", "host", "guest",
    "doctor", "patient", "nurse", "teacher", "student", "q", "a", "important", "update", "edit", "ps", "attention",
    "caution", "usage", "default", "returns", "args", "raises", "yields", "parameters", "attributes",
})  # fmt: skip
"""Words before a colon that are no one."""
FEW = 2


class Speakers(EntityRecognizer):  # type: ignore[misc]
    """PERSON: names before colons, where at least two lines of a text have one."""

    def __init__(self, supported_language: str) -> None:
        super().__init__(supported_entities=["PERSON"], supported_language=supported_language, name="Speakers")

    def load(self) -> None:
        """Nothing to load."""

    def analyze(self, text: str, entities: Sequence[str], nlp_artifacts: Any = None) -> list[RecognizerResult]:
        """Every speaker's name, each time."""
        del entities, nlp_artifacts
        found = [one for one in LINE.finditer(text) if not _is_other(one[1])]
        labels = sum(1 for one in LINE.finditer(text) if _is_other(one[1]))
        if len(found) < FEW or labels >= len(found):
            return []
        return [RecognizerResult("PERSON", one.start(1), one.end(1), 0.8) for one in found]


def _is_other(name: str) -> bool:
    return any(word.casefold() in OTHERS for word in name.split())
