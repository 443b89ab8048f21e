"""What stands behind the admin routes: the admin service, and what keeps proof and tells, on the same database."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from app.audit.contents import Contents
from app.audit.log import AuditLog
from app.core.ports import Index
from app.notifications.outbox import NotificationOutbox
from app.tenancy.admin import AdminService


@dataclass(frozen=True, slots=True)
class Outside:
    """What of the world outside an admin key reaches. exports: folders of audit exports; None: any.

    private: whether webhooks may point into private networks.
    """

    exports: tuple[str, ...] | None = ()
    private: bool = False


ANYWHERE = Outside(exports=None, private=True)
"""For who has this machine's shell anyway."""


class AdminServices:
    """currency: of invoices. actor: who the audit chain says it was. index: None where no graph runs."""

    def __init__(
        self,
        admin_service: AdminService,
        currency: str,
        actor: str,
        index: Index | None = None,
        outside: Outside | None = None,
    ) -> None:
        self.admin_service = admin_service
        self.audit = AuditLog(admin_service.store, admin_service.secrets, admin_service.clock)
        self.contents = Contents(admin_service.store, admin_service.secrets, admin_service.clock)
        self.notices = NotificationOutbox(admin_service.store, admin_service.secrets, admin_service.clock)
        self.currency = currency
        self.actor = actor
        self.index = index
        self.outside = outside or Outside()


def admin_services(request: Request) -> AdminServices:
    """The one that the routes were installed with."""
    found: AdminServices = request.app.state.admin_services
    return found
