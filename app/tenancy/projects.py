"""Projects: parts of a tenant with terms and a budget of their own. keys, admin service -> [projects] -> SQL.

Every function takes a Connection. Those that write lock the tenant's row first, as the ledger's transactions do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, select, update

from app.billing.ledger import balances
from app.core.refusals import TakenError, UnknownError, named
from app.core.terms import Terms
from app.db.schema import projects
from app.db.statements import upserts
from app.tenancy import tenants
from app.tenancy.model import Project, ProjectChanges, stored, terms_of

_MAKE = {name: new.on_conflict_do_nothing().returning(projects.c.id) for name, new in upserts(projects).items()}


def make(connection: Connection, tenant: str, project: str, now: float, *, name: str, terms: Terms) -> Project:
    """The new project with its account. Raises UnknownError, UnfitError, TakenError."""
    tenants.lock(connection, tenant)
    made = Project(named("project", project), tenant, name or project, terms, archived=False, created=now)
    row = {"id": project, "tenant": tenant, "name": made.name, "terms": stored(terms), "archived": False}
    if connection.execute(_MAKE[connection.dialect.name], {**row, "created": now}).first() is None:
        raise TakenError(f"There is a project `{project}` already: choose another id.")
    balances.make(connection, f"project:{project}", tenant, terms, now)
    return made


def find(connection: Connection, project: str) -> Project:
    """The project. Raises UnknownError."""
    row = connection.execute(select(projects).where(projects.c.id == project)).first()
    if row is None:
        raise UnknownError(f"There is no project `{project}`: list the projects to see their ids.")
    return _project(row)


def listing(connection: Connection, tenant: str | None, limit: int, after: str) -> Sequence[Project]:
    """The projects of one tenant or all, by id, those after the id `after`."""
    query = select(projects).where(projects.c.id > after).order_by(projects.c.id).limit(limit)
    rows = connection.execute(query if tenant is None else query.where(projects.c.tenant == tenant))
    return [_project(row) for row in rows]


def change(connection: Connection, project: str, changes: ProjectChanges, now: float) -> tuple[Project, Project]:
    """The project before and after. Its budget follows where its terms say another one."""
    tenants.lock(connection, find(connection, project).tenant)
    old = find(connection, project)
    new = replace(old, **changes)
    values = {"name": new.name, "terms": stored(new.terms), "archived": new.archived}
    connection.execute(update(projects).where(projects.c.id == project).values(values))
    balances.follow(connection, f"project:{project}", old.terms, new.terms, now)
    return old, new


def _project(row: Any) -> Project:
    return Project(row.id, row.tenant, row.name, terms_of(row.terms), row.archived, row.created)
