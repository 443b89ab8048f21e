"""What the semantic cache may answer, and how sure it must be. Read by recall and remember."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from app.config.asker_words import ASKER_WORDS
from app.config.base import Strict

Share = Annotated[float, Field(ge=0, le=1)]

TIME_WORDS = (
    "today", "tonight", "tomorrow", "yesterday", "now", "nowadays", "currently", "current", "at the moment",
    "latest", "newest", "most recent", "recent", "recently", "as of", "up to date", "so far", "these days",
    "this morning", "this afternoon", "this evening", "this week", "this weekend", "this month", "this quarter",
    "this season", "this year", "last night", "last week", "last month", "last year", "next week", "next month",
    "next year", "what time", "what day", "what date", "what year", "the time in", "weather", "forecast", "news",
    "headlines", "breaking", "stock price", "share price", "exchange rate", "near me", "nearby",
)  # fmt: skip
"""English. Each holds as whole words, in any case; one too many costs a hit, one too few an outdated answer."""


class Cacheable(Strict):
    """Which requests may be answered from the cache, and which answers may be kept. What fails a rule is generated.

    max_temperature: who asks for a higher one wants another answer each time; 0.7 is what many clients send unasked.
    unset_temperature: whether requests without one may be cached. OpenAI's own default is 1, but who leaves it out has
    not asked for variety, and most clients leave it out. max_choices: OpenAI's `n`. tools: conversations in which tools
    were called (requests that offer tools never are). personal: requests in which the scrubber found something.
    time_words: phrases of the user's messages whose answer is another one soon. asker_words: such that speak of whoever
    asks; where the request names no end user, its answer would be another's. references: a first message that
    points at something outside itself ("continue", "and in France?").
    max_question, max_answer: characters. cut_short: answers that ended at the token limit.
    """

    max_temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    unset_temperature: bool = True
    max_choices: Annotated[int, Field(ge=1)] = 1
    tools: bool = False
    personal: bool = False
    time_words: tuple[Annotated[str, Field(min_length=1)], ...] = TIME_WORDS
    asker_words: tuple[Annotated[str, Field(min_length=1)], ...] = ASKER_WORDS
    references: bool = False
    max_question: Annotated[int, Field(ge=1)] = 20_000
    max_answer: Annotated[int, Field(ge=1)] = 50_000
    cut_short: bool = False


class CachePolicy(Strict):
    """A stored answer serves the very question it was given to at once, and another wording where that is proven.

    error: the share of wrong answers tolerated among those served to another wording; a tenant's own `cache_error` goes
    before it. confidence: of the test that proves it (app/cache/acceptance.py). About `4 / error` comparisons without a
    fault are needed first. shadow_share: of proven hits, how many are generated and compared all the same.
    min_similarity: cosine from which a stored question is looked at, candidates: the most that are. threshold: the
    judge's score (the cosine where there is no judge) from which one may serve. max_compared_chars: up to which
    questions of different wording are compared; a longer one is met by the very same only.
    min_answer_similarity: cosine from which two answers to be compared say the same, beside the rules of
    cache/equivalence.py.
    prior_weight: comparisons that the bundled judge's own record counts for in each bin; 0: a tenant starts from none.
    ttl: seconds that an answer is kept.
    """

    error: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    shadow_share: Annotated[float, Field(gt=0, le=1)] = 0.05
    min_similarity: Share = 0.8
    candidates: Annotated[int, Field(ge=1, le=16)] = 4
    threshold: Share = 0.8
    max_compared_chars: Annotated[int, Field(ge=0)] = 1000
    min_answer_similarity: Share = 0.85
    prior_weight: Annotated[int, Field(ge=0, le=200)] = 20
    ttl: Annotated[float, Field(gt=0)] = 3600
    rules: Cacheable = Cacheable()
