"""`/v1/penstock/calls/{id}`, `/graph`, `/usage`: what a caller may see of its own calls. The console reads them.

A key of a project sees the project's calls, sums and budgets, and nothing of its tenant beside. One call is its
owner's alone; sums for a key without a project are the whole tenant's, whose budget they draw on. Of the graph, which
all share, they tell what stands in it and whether it answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from app.api.admin import answers
from app.api.admin.parsing import query
from app.api.auth import authenticate
from app.audit.log import AuditLog
from app.billing import calls
from app.billing.reports import By, Summary, usage_by
from app.config.stage_order import running
from app.core import errors
from app.core.identifiers import known
from app.core.ports import Principal
from app.core.refusals import UnknownError
from app.pipeline.gateway import Gateway
from app.tenancy.admin import AdminService

router = APIRouter(prefix="/v1/penstock")
MINUTES = 5
"""Over which the graph counts calls."""
_DAY = 86_400.0
_OURS = frozenset({"goods", "margin", "margin_share"})
"""What a call cost the operator is none of the tenant's business."""
SCOPE = "usage"


class Span(BaseModel):
    """`GET /v1/penstock/usage`. days: back from now."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    days: Annotated[int, Field(ge=1, le=92)] = 30


@router.get("/calls/{call}", response_model=None)
async def one_call(request: Request, call: str) -> Response:
    """A call as billed, and what each stage did to it. trail: null once its record was pruned."""
    who, admin_service = await _who(request), _office(request)
    row = await admin_service.store.read(partial(calls.find, owner=who.owner, call=call)) if known(call) else None
    if row is None:
        raise errors.call_not_found(call)
    log = AuditLog(admin_service.store, admin_service.secrets, admin_service.clock)
    records = await log.records(chain=who.tenant, kind="call", subject=call, limit=1)
    trail = orjson.loads(records[0].data)["trail"] if records else None
    return _answer({**_told(answers.usage(row)), "object": "penstock.call", "trail": trail})


@router.get("/graph", response_model=None)
async def graph(request: Request) -> Response:
    """Every stage that runs, in order, tiers, pools; whether they answer; the caller's last calls, by pool."""
    who, admin_service = await _who(request), _office(request)
    gateway: Gateway = request.app.state.gateway
    since = admin_service.clock() - MINUTES * 60
    sums = {one.group: one for one in await _sums(request, who, "pool", since)}
    well = await gateway.pulse()
    body = {
        "object": "penstock.graph",
        "minutes": MINUTES,
        "stages": [_stage(gateway, name, well) for name in running(gateway.policy)],
        "tiers": [
            {"name": name, "min_complexity": tier.min_complexity, "pools": dict(tier.pools)}
            for name, tier in sorted(gateway.policy.tiers.items(), key=lambda item: item[1].min_complexity)
        ],
        "pools": [
            _pool(gateway, name, well[f"pool {name}"], sums.get(name)) for name in sorted(gateway.catalog.context)
        ],
        "calls": _traffic(list(sums.values())),
    }
    return _answer(body)


@router.get("/usage", response_model=None)
async def usage(request: Request) -> Response:
    """What was spent, by day, model and tier; what is left of the budgets that this key draws on."""
    who, admin_service = await _who(request), _office(request)
    gateway: Gateway = request.app.state.gateway
    since = (admin_service.clock() // _DAY - query(request, Span).days + 1) * _DAY
    by = {}
    kinds: tuple[By, ...] = ("day", "model", "tier")
    for what in kinds:
        sums = await _sums(request, who, what, since)
        by[what] = [_told(answers.summary(one)) for one in sums]
    body = {
        "object": "penstock.usage",
        "tenant": who.tenant,
        "currency": gateway.graph.state.currency,
        "since": since,
        "budgets": [found for owner in _accounts(who) if (found := await _budget(admin_service, owner))],
        "by": by,
    }
    return _answer(body)


# -- how -------------------------------------------------------------------------------------------


async def _who(request: Request) -> Principal:
    return await authenticate(request, SCOPE)


async def _sums(request: Request, who: Principal, by: By, since: float) -> Sequence[Summary]:
    """The caller's calls, by something."""
    store = _office(request).store
    return await usage_by(store, by, since=since, tenant=who.tenant, project=who.project or None)


def _accounts(who: Principal) -> list[str]:
    """Whose budgets it may see. The tenant's tells what its other projects spend."""
    return [owner for owner in who.owners if not (who.project and owner.startswith("tenant:"))]


def _office(request: Request) -> AdminService:
    admin_service: AdminService = request.app.state.admin_service
    return admin_service


def _answer(body: Mapping[str, Any]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json", headers={"cache-control": "no-store"})


def _told(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in _OURS}


async def _budget(admin_service: AdminService, owner: str) -> dict[str, Any] | None:
    try:
        return answers.budget(await admin_service.balance(owner))
    except UnknownError:
        return None


def _stage(gateway: Gateway, name: str, well: Mapping[str, bool]) -> dict[str, Any]:
    needs = gateway.needs(name)
    pools = [answers for thing, answers in well.items() if thing.startswith("pool ")]
    answers = any(pools) if name == "generate" else all(well[need] for need in needs)
    return {"name": name, "needs": list(needs), "answers": answers, "built_in": name not in gateway.policy.stages}


def _pool(gateway: Gateway, name: str, answers: bool, sums: Summary | None) -> dict[str, Any]:  # noqa: FBT001 - private
    return {
        "name": name,
        "model": gateway.catalog.model_ids[name],
        "kind": gateway.graph.pools[name].kind,
        "region": gateway.catalog.regions[name],
        "tiers": [tier for tier, about in gateway.policy.tiers.items() if name in about.pools],
        "answers": answers,
        "rests": not gateway.health.well(name),
        **_traffic([sums] if sums else []),
    }


def _traffic(sums: Sequence[Summary]) -> dict[str, float]:
    """Calls a minute, and the shares of them that failed, were refused and came from the cache."""
    made = sum(one.calls for one in sums)
    parts = {
        "failed_share": sum(one.failed for one in sums),
        "refused_share": sum(one.refused for one in sums),
        "hit_share": sum(one.hits for one in sums),
    }
    shares = {name: round(part / made, 4) if made else 0.0 for name, part in parts.items()}
    return {"calls_per_minute": round(made / MINUTES, 2), **shares}
