"""`GET /console`: the page on which a person tries the API and sees what each stage did. Static files of app/console.

The page is for everybody, its data is not: it asks /v1 and /admin/v1 with the key that is typed into it.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.core import errors

router = APIRouter()
PAGE = "index.html"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FILES = {
    file.name: file.read_bytes()
    for file in sorted((Path(__file__).parents[2] / "console").iterdir())
    if file.suffix in KINDS
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


@router.get("/console", response_model=None)
async def page() -> Response:
    """The page."""
    return _file(PAGE)


@router.get("/console/{name}", response_model=None)
async def file(request: Request, name: str) -> Response:
    """What the page is made of."""
    if name not in FILES:
        raise errors.route_not_found(request.method, request.url.path)
    return _file(name)


def _file(name: str) -> Response:
    return Response(FILES[name], media_type=KINDS[Path(name).suffix], headers=HEADERS)
