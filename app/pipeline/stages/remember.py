"""Store the moderated answer, placeholders and all, and learn from it.  moderate -> [remember] -> restore.

Reads Token and the end; yields everything unchanged. Only whole, unrefused engine answers are stored. Where recall was
unsure of a stored answer (`call.trial`), the fresh one tells whether it would have served; that is found out behind
the caller's back, once the answer is out.
"""

from __future__ import annotations

import logging
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from app.billing.costs import cost_of_goods
from app.billing.pricing import cost
from app.cache.cacheable import keepable
from app.cache.equivalence import alike, cosine, pieces
from app.config import CachePolicy as Settings
from app.core.call import Call, Comparison
from app.core.decisions import RememberDecision
from app.core.events import Event, Failure, Prompt, Refusal, Token
from app.core.ports import Encoder, Index, PortError
from app.core.stage import Events
from app.core.tasks import begin
from app.pipeline.assembly import Assembly
from app.routing.catalog import ModelCatalog

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Answers:
    """A call's answers as they pass. spoiled: something came that makes them unfit to be kept."""

    texts: dict[int, list[str]] = field(default_factory=dict)
    ends: dict[int, tuple[str, str | None]] = field(default_factory=dict)
    spoiled: bool = False

    def take(self, event: Event) -> None:
        """Take the next event in."""
        if isinstance(event, Refusal | Failure | Prompt) or (isinstance(event, Token) and event.tool):
            self.spoiled = True  # also a tool's call: it is asked for anew, its result may be another
        elif isinstance(event, Token):
            said = self.texts.setdefault(event.choice, [])
            if not event.reasoning:  # an answer from the cache was not thought about
                said.append(event.text)
            if event.finish_reason:
                self.ends[event.choice] = event.finish_reason, event.stop

    def whole(self, ends: frozenset[str]) -> list[dict[str, Any]]:
        """All of them, as they are stored; none where one is unfit or ended otherwise than by `ends`."""
        if (
            self.spoiled
            or self.texts.keys() != self.ends.keys()
            or any(end not in ends for end, _ in self.ends.values())
        ):
            return []
        return [
            {"choice": c, "text": "".join(self.texts[c]), "finish_reason": self.ends[c][0], "stop": self.ends[c][1]}
            for c in sorted(self.texts)
        ]


class Remember:
    """`settings`: recall's, since both ends agree on what may be kept. `catalog`: what an answer cost."""

    name = "remember"

    def __init__(self, encoder: Encoder, index: Index, settings: Settings, catalog: ModelCatalog) -> None:
        self._encoder = encoder
        self._index = index
        self._settings = settings
        self._catalog = catalog
        self._ends = frozenset({"stop", "length"} if settings.rules.cut_short else {"stop"})

    @classmethod
    def of(cls, parts: Assembly) -> Remember:
        return cls(parts.ports.encoder, parts.ports.index, parts.policy.cache, parts.catalog)

    async def __call__(self, call: Call, events: Events) -> Events:
        passed = Answers()
        async with aclosing(events):
            async for event in events:
                passed.take(event)
                yield event
        answers = [] if call.hit or call.partition is None else passed.whole(self._ends)
        if not answers:
            return
        if call.comparison:
            begin(self._learn(call.partition or "", call.comparison, answers))
        if call.write_cache and all(keepable(answer["text"], self._settings.rules) for answer in answers):
            await self._store(call, answers)

    async def _store(self, call: Call, answers: list[dict[str, Any]]) -> None:
        entry = {
            "answers": answers,
            "tier": call.tier,
            "prompt": call.usage.prompt,
            "completion": call.usage.completion,
        }
        question, where = call.question, call.partition or ""
        try:
            with call.timed(self.name):
                vector = await call.embed(self._encoder, question)
                await self._index.store(where, vector, question, entry, self._settings.ttl, self._worth(call))
            call.decisions.remember = RememberDecision(stored=True)
        except PortError as error:
            # The answer is already out and paid for: a cache that is down costs a later hit, not this call.
            log.warning("answer not stored: %s", error)
            call.decisions.remember = RememberDecision(stored=False)
        except Exception as error:  # noqa: BLE001 - as above; its words may quote the answer
            log.error("answer not stored: %s", type(error).__name__)  # noqa: TRY400
            call.decisions.remember = RememberDecision(stored=False)

    def _worth(self, call: Call) -> float:
        """The money that a hit on this answer spares: what it costs us, or where that is not known its price."""
        used, model_id = call.usage, self._catalog.model_ids.get(call.pool or "")
        spent = cost_of_goods(self._catalog.costs.get(call.pool or ""), used.prompt, used.cached, used.completion)
        price = self._catalog.prices.price(call.who.price_list, call.tier, model_id)
        return float(spent or cost(price, used.prompt, used.cached, used.completion))

    async def _learn(self, partition: str, comparison: Comparison, answers: list[dict[str, Any]]) -> None:
        """Compare, and tell the index. Nobody waits for it: what fails is one comparison less."""
        try:
            right = await self._agree(answers, comparison)
            await self._index.learn(partition, comparison.question, comparison.score, right)
        except Exception as error:  # noqa: BLE001 - whatever it is; its words may quote the answer
            log.warning("nothing learned from a comparison: %s", type(error).__name__)

    async def _agree(self, answers: list[dict[str, Any]], comparison: Comparison) -> bool:
        """Whether the stored answers would have done in place of these."""
        if len(answers) != len(comparison.answers):
            return False
        pairs = [(new["text"], old["text"]) for new, old in zip(answers, comparison.answers, strict=True)]
        for fresh, stored in pairs:
            same = alike(fresh, stored)
            if same is None:
                parts = pieces(fresh)
                vectors = await self._encoder.encode([*parts, *pieces(stored)])
                same = cosine(vectors[: len(parts)], vectors[len(parts) :]) >= self._settings.min_answer_similarity
            if not same:
                return False
        return True
