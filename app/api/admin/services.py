"""What stands behind the admin routes: the office, and what keeps proof and tells, on the same database."""

from __future__ import annotations

from starlette.requests import Request

from app.audit.contents import Contents
from app.audit.log import AuditLog
from app.core.ports import Index
from app.notifications.outbox import Notices
from app.tenancy.admin import Office


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
