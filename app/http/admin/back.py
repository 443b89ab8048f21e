"""What stands behind the admin routes: the office, and what keeps proof and tells, on the same database."""

from __future__ import annotations

from starlette.requests import Request

from app.adapters.sql.audit import AuditLog
from app.adapters.sql.contents import Contents
from app.adapters.sql.notices import Notices
from app.adapters.sql.office import Office
from app.ports import Index


class Back:
    """currency: of invoices. actor: who the audit chain says it was. index: None where no graph runs."""

    def __init__(self, office: Office, currency: str, actor: str, index: Index | None = None) -> None:
        self.office = office
        self.audit = AuditLog(office.store, office.secrets, office.clock)
        self.contents = Contents(office.store, office.secrets, office.clock)
        self.notices = Notices(office.store, office.secrets, office.clock)
        self.currency = currency
        self.actor = actor
        self.index = index


def back(request: Request) -> Back:
    """The one that the routes were installed with."""
    found: Back = request.app.state.back
    return found
