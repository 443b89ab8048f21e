"""Answer from the semantic cache what was answered before.  guard -> [recall] -> route.

Reads Prompt; yields the stored Tokens in its place, or the Prompt. The very same question of a tenant's is served at
once. Another wording is served where the judge and the tenant's own evidence keep the promised error bound
(cache/acceptance.py); where they do not yet, the call is generated and `call.trial` set, from which remember learns.

A cache that is down costs hits and never a call.
"""

from __future__ import annotations

import hashlib
import logging
import random
import re
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from typing import Any, Literal
from urllib.parse import quote

import orjson

from app.cache.acceptance import AcceptancePolicy, Bound, Verdict, prior
from app.cache.cacheable import forbidden
from app.config import CachePolicy as Settings
from app.core.call import Call, Comparison
from app.core.decisions import CacheDecision
from app.core.events import Prompt, Token, Usage
from app.core.ports import CacheMatch, Encoder, Hit, Index, ParaphraseJudge, PortError
from app.core.stage import Events
from app.pipeline.assembly import Assembly

log = logging.getLogger(__name__)
NOT_IDENTITY = frozenset({"stream", "stream_options", "store"})
"""Parameters that do not change the answer; every other one does, also one that nobody has heard of."""
RESULT: Mapping[str, Literal["hit", "explore", "miss"]] = {"serve": "hit", "explore": "explore", "miss": "miss"}
"""What a verdict on the best candidate makes of the lookup."""
_PIECE = re.compile(r".{1,24}(?=\s|$)|.{1,24}", re.DOTALL)
"""As much as an engine says at once: some words, and where a script has no blanks some characters."""


class Recall:
    """Looks the question up. Leaves `call.partition` set where the answer may be remembered.

    same: None where the cosine alone tells how alike two questions are. rng: who is audited.
    """

    name = "recall"

    def __init__(
        self,
        encoder: Encoder,
        index: Index,
        settings: Settings,
        same: ParaphraseJudge | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._encoder = encoder
        self._index = index
        self._settings = settings
        self._same = same
        self._rng = rng or random.Random()  # noqa: S311 - draws samples, keeps no secret
        self._prior = prior(settings.prior_weight) if same else ()

    @classmethod
    def of(cls, parts: Assembly) -> Recall:
        ports = parts.ports
        return cls(ports.encoder, ports.index, parts.policy.cache, ports.paraphrase)

    def begin(self, call: Call, prompt: Prompt) -> None:
        """Embed the raw question early; it is embedded again only if the scrubber changes it."""
        if (call.read_cache or call.write_cache) and not forbidden(prompt, self._settings.rules, personal=False):
            call.begin_embed(self._encoder, prompt.question)

    async def __call__(self, call: Call, events: Events) -> Events:
        async with aclosing(events):
            async for event in events:
                hit = await self._lookup(call, event) if isinstance(event, Prompt) else None
                if hit is None:
                    yield event
                    continue
                call.hit = True
                call.tier = hit.entry["tier"]
                call.usage = Usage(prompt=hit.entry["prompt"], completion=hit.entry["completion"])
                for token in replay(hit.entry):
                    yield token
                yield call.usage

    async def _lookup(self, call: Call, prompt: Prompt) -> Hit | None:
        why = forbidden(prompt, self._settings.rules, personal=_personal(call))
        if why:
            call.decisions.recall = CacheDecision("bypass", why)
            return None
        call.partition, call.question = partition(call, prompt), prompt.question
        if not call.read_cache:
            call.decisions.recall = CacheDecision("bypass", "asked")
            return None
        try:
            with call.timed(self.name):
                return await self._found(call, call.partition, prompt.question)
        except PortError as error:
            log.warning("answered without the cache: %s", error)
            call.decisions.recall = CacheDecision("miss", "down")
        except Exception as error:  # noqa: BLE001 - an adapter's fault costs a hit, no call; its words may quote the prompt
            log.error("answered without the cache: %s", type(error).__name__)  # noqa: TRY400
            call.decisions.recall = CacheDecision("miss", "down")
        return None

    async def _found(self, call: Call, where: str, question: str) -> Hit | None:
        """The entry that serves. Decides what was found, and sets `call.trial` where a comparison would teach."""
        if hit := await self._index.exact(where, question):
            call.decisions.recall = CacheDecision("exact", score=1.0)
            return hit
        call.decisions.recall = CacheDecision("miss")
        if len(question) > self._settings.max_compared_chars:
            return None
        vector = await call.embed(self._encoder, question)
        found = await self._index.lookup(where, vector, self._settings.min_similarity, self._settings.candidates)
        best = await self._best(call, question, found) if found.hits else None
        if best is None:
            return None
        hit, score, verdict = best
        call.decisions.recall = CacheDecision(
            RESULT[verdict.choice], score=hit.score, judged=score, risk=verdict.risk, tries=verdict.tries
        )
        if verdict.choice == "explore":
            call.comparison = Comparison(hit.question, score, hit.entry["answers"])
        return hit if verdict.choice == "serve" else None

    async def _best(self, call: Call, question: str, found: CacheMatch) -> tuple[Hit, float, Verdict] | None:
        """The likeliest candidate that serves, else the likeliest of all; None where none may."""
        scores = [hit.score for hit in found.hits]
        if self._same:
            scores = await self._same.score(question, [hit.question for hit in found.hits])
        trust = AcceptancePolicy(self._bound(call), found.evidence)
        order = sorted(range(len(scores)), key=lambda at: -scores[at])
        judged = [
            (found.hits[at], scores[at], trust.judge(scores[at], found.hits[at].tried, self._rng))
            for at in order
            if scores[at] >= self._settings.threshold
        ]
        # The first that is proven decides, audited or not: were the next one served in its place, no audit would tell.
        return next((one for one in judged if one[2].proven), next(iter(judged), None))

    def _bound(self, call: Call) -> Bound:
        own = call.who.safety.cache_error
        error = self._settings.error if own is None else own
        return Bound(error, self._settings.confidence, self._settings.shadow_share, self._prior)


def _personal(call: Call) -> bool:
    """Whether anything in the call was found to be personal, whatever became of it."""
    scrubbed = call.decisions.scrub
    return bool(call.vault.shape or (scrubbed and scrubbed.types))


def partition(call: Call, prompt: Prompt) -> str:
    """`tenant/model/version/hash`: what must agree. The hash is of everything but the question's wording."""
    last = max(i for i, message in enumerate(prompt.messages) if message.role == "user")
    messages = [{**m.wire(), "content": None if i == last else m.text} for i, m in enumerate(prompt.messages)]
    params: Mapping[str, Any] = {k: v for k, v in prompt.params.items() if k not in NOT_IDENTITY}
    whole = [prompt.model, messages, params, call.vault.shape, prompt.end_user, prompt.fields, prompt.raw, prompt.task]
    digest = hashlib.sha256(orjson.dumps(whole, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)).hexdigest()
    names = (call.who.tenant, prompt.model, prompt.version or "-")
    return "/".join([*(quote(name, safe="") for name in names), digest])


def replay(entry: Mapping[str, Any]) -> Iterator[Token]:
    """A stored answer as the stream it once was: a few words at a time, its end with the last of them."""
    for answer in entry["answers"]:
        choice, text = answer["choice"], answer["text"]
        parts = _PIECE.findall(text) or [""]
        for part in parts[:-1]:
            yield Token(part, choice)
        yield Token(parts[-1], choice, finish_reason=answer["finish_reason"], stop=answer.get("stop"))
