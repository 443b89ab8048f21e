"""Which requests may be answered from the cache: whose answer hangs on nothing but their text.  recall -> [here].

Each rule that forbids it has a name, which stands in the trail as `why`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from app.cache.asker import about_asker
from app.config.cache import Cacheable
from app.core.events import Message, Prompt

MORE_THAN_TEXT = ("logprobs", "top_logprobs")
"""Fields that ask for more than a text; only the engine can give it."""
SHORT = 12
"""Words up to which a message is read as a mere pointer; a longer one brings along what it speaks of."""
_ACTS = "explain|translate|repeat|rewrite|rephrase|summari[sz]e|shorten|expand|fix|improve|finish|do|try|say|show"
_POINTERS = "it|that|this|them|these|those"
_OPENING = re.compile(
    r"(?:please |can you |could you |would you |ok(?:ay)?,? |now,? )*"
    r"(?:and|but|or|also|then|so|what about|how about|why not|continue|go on|go ahead|keep going|carry on|more|again"
    r"|another|same|the same|next|yes|no|ok|okay|thanks|thank you"
    r"|it|its|that|they|them|their|those|these|he|she|his|her"
    rf"|(?:{_ACTS}) (?:{_POINTERS}))\b",
    re.IGNORECASE,
)
_BACK = re.compile(
    r"\b(?:the above|above text|you (?:just )?(?:said|wrote|mentioned)|your (?:last|previous) \w+"
    r"|(?:last|previous|earlier) (?:answer|message|question|reply|response)|as before|like before)\b",
    re.IGNORECASE,
)


def forbidden(prompt: Prompt, rules: Cacheable, *, personal: bool) -> str | None:
    """The first rule that keeps this prompt out of the cache, or None. personal: the scrubber found something.

    One of: raw, empty, long, logprobs, choices, tools, temperature, personal, time, asker, context.
    """
    question = prompt.question
    checks = (
        ("raw", prompt.raw),  # a continuation fits only the very text that it continues
        ("empty", not question.strip()),
        ("long", len(question) > rules.max_question),
        ("logprobs", any(prompt.params.get(name) for name in MORE_THAN_TEXT)),
        ("choices", prompt.choices > rules.max_choices),
        ("tools", _tools(prompt, rules)),
        ("temperature", _varied(prompt, rules)),
        ("personal", personal and not rules.personal),
    )
    if why := next((name for name, holds in checks if holds), None):
        return why
    asked = [message.text for message in prompt.messages if message.role == "user"]
    if rules.time_words and any(_timely(rules.time_words).search(text) for text in asked):
        return "time"
    if not prompt.end_user and any(about_asker(text, rules.asker_words) for text in asked):
        return "asker"
    return "context" if not rules.references and _points(prompt.messages, question) else None


def keepable(text: str, rules: Cacheable) -> bool:
    """Whether an answer is one to keep: something, and not too much."""
    return bool(text.strip()) and len(text) <= rules.max_answer


def _tools(prompt: Prompt, rules: Cacheable) -> bool:
    if prompt.params.get("tools") or prompt.params.get("functions"):
        return True  # what the model asks of a tool is asked for anew: the result may be another
    used = any(message.role in ("tool", "function") or message.extra.get("tool_calls") for message in prompt.messages)
    return used and not rules.tools


def _varied(prompt: Prompt, rules: Cacheable) -> bool:
    temperature = prompt.params.get("temperature")
    return not rules.unset_temperature if temperature is None else float(temperature) > rules.max_temperature


def _points(messages: Sequence[Message], question: str) -> bool:
    """Whether the question speaks of something that is not there: earlier turns would be part of the partition."""
    if sum(message.role in ("user", "assistant") for message in messages) > 1:
        return False
    words = len(question.split())
    return words <= SHORT and bool(_OPENING.match(question.strip()) or _BACK.search(question))


@lru_cache(maxsize=8)
def _timely(phrases: tuple[str, ...]) -> re.Pattern[str]:
    either = "|".join(r"\s+".join(map(re.escape, phrase.split())) for phrase in phrases)
    return re.compile(rf"(?<!\w)(?:{either})(?!\w)", re.IGNORECASE)
