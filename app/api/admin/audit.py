"""`/audit`, `/contents`: read, check, export and prune the audit chains; read what was kept of a call."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api.admin import answers, requests
from app.api.admin.parsing import body, query
from app.api.admin.services import admin_services
from app.audit.export import Verification
from app.audit.roots import check_root
from app.core.refusals import UnknownError

router = APIRouter()


@router.get("/audit")
async def records(request: Request) -> dict[str, Any]:
    """Records, newest first."""
    asked = query(request, requests.Records)
    found = await admin_services(request).audit.records(
        asked.chain, asked.kind, asked.subject, asked.after, asked.before, asked.limit + 1
    )
    return answers.listed([answers.record(one) for one in found], asked.limit)


@router.get("/audit/verify")
async def verify(request: Request) -> dict[str, Any]:
    """Whether the chains hold. A broken one is an answer, not an error."""
    return _verified(await admin_services(request).audit.verify(query(request, requests.OneChain).chain))


@router.post("/audit/export")
async def export(request: Request) -> dict[str, Any]:
    """Copy records out, with a manifest that proves them."""
    asked, at = await body(request, requests.Export), admin_services(request)
    check_root(asked.to, at.outside.exports)
    done = await at.audit.export(
        asked.to, format=asked.format, chain=asked.chain, after=asked.after, before=asked.before
    )
    return {"object": "audit.export", "to": asked.to, "files": done.files, "records": done.records}


@router.post("/audit/verify-export")
async def verify_export(request: Request) -> dict[str, Any]:
    """Whether an export is whole and unchanged."""
    asked, at = await body(request, requests.VerifyExport), admin_services(request)
    check_root(asked.url, at.outside.exports)
    return _verified(await at.audit.verify_export(asked.url))


@router.post("/audit/prune")
async def prune(request: Request) -> dict[str, Any]:
    """Export, then take out, what is older than its tenant's retention."""
    asked, at = await body(request, requests.Prune), admin_services(request)
    check_root(asked.to, at.outside.exports)
    pruned = await at.audit.prune(asked.to, await at.admin_service.retention(), format=asked.format)
    return {"object": "audit.prune", "to": asked.to, "records": sum(pruned.values()), "chains": pruned}


@router.get("/contents/{call}", response_model=None)
async def content(request: Request, call: str) -> Response:
    """What was said in a call, where its tenant keeps that. Who reads it is in the tenant's chain."""
    at = admin_services(request)
    found = await at.contents.read(call)
    if found is None:
        raise UnknownError(f"There is no content of a call `{call}`: its tenant does not keep it, or it is gone.")
    await at.admin_service.note_reading(call, actor=at.actor)
    return Response(found, media_type="application/json")


def _verified(done: Verification) -> dict[str, Any]:
    return {
        "object": "audit.verification",
        "ok": done.ok,
        "chains": done.chains,
        "records": done.records,
        "faults": [{"chain": fault.chain, "seq": fault.seq, "what": fault.what} for fault in done.faults],
        "more_faults": done.more,
    }
