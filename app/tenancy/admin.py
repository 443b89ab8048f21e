"""The operator's side of the ledger: plans, tenants, projects, keys, budgets. admin API, start-up -> [admin] -> SQL.

Every change is one transaction with its audit record; what changes nothing is not recorded. The record says what
changed, old and new, but no name: an erased tenant's records stay, so they hold ids only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, select

from app.audit.chain import append
from app.audit.records import OPERATOR, Entry
from app.billing import calls
from app.billing.ledger import balances
from app.billing.ledger.balances import Balance
from app.core.ports import UsageRow
from app.core.refusals import LedgerError, TakenError, UnfitError
from app.core.terms import LISTED, UNLIMITED, Period, Terms
from app.db.schema import settings
from app.db.statements import upserts
from app.db.store import Store
from app.installation.secrets import Secrets
from app.tenancy import keys, plans, projects, tenants
from app.tenancy.model import Key, KeyChanges, Plan, Project, ProjectChanges, Tenant, TenantChanges, stored

T = TypeVar("T", Plan, Tenant, Project, Key, Balance)
Work = Callable[[Connection, float], tuple[T | None, T]]
MANY = 1000
_SIGNER = "audit.fingerprint"
_SIGN = {name: new.on_conflict_do_nothing() for name, new in upserts(settings).items()}
_PRIVATE = {"name", "prefix"}
"""Fields whose values stay out of the audit chain."""


class AdminService:
    """Every method raises LedgerError; of its kinds, UnknownError, TakenError and UnfitError are the caller's doing.

    actor: who asked, as the audit record names it: `admin`, `cli`, `system`.
    """

    def __init__(
        self,
        store: Store,
        secrets: Secrets,
        clock: Callable[[], float] = time.time,
        *,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """clock: Unix seconds. changed: called after each change, so that this gateway reads keys anew."""
        self.store = store
        self.secrets = secrets
        self.clock = clock
        self.changed = changed
        self._begun = False

    async def begin(self) -> None:
        """Write what a new database starts with. Raises LedgerError where another secret signs its audit chain."""
        if self._begun:
            return

        def work(connection: Connection) -> None:
            plans.begin(connection, self.clock())
            if _signer(connection, self.secrets.fingerprint) != self.secrets.fingerprint:
                raise LedgerError(
                    "This database's audit chain is signed with another secret: set PENSTOCK_SECRET to the one that "
                    "its gateways have."
                )

        await self.store.write(work)
        self._begun = True

    # -- plans -----------------------------------------------------------------------------------

    async def plans(self) -> list[Plan]:
        """Every plan, by name."""
        await self.begin()
        return await self.store.read(plans.listing)

    async def set_plan(self, plan: str, terms: Terms, *, actor: str) -> Plan:
        """Make the plan, or change it for every tenant that has it."""
        return await self._change("plan.set", actor, lambda c, now: plans.put(c, plan, terms, now))

    # -- tenants ---------------------------------------------------------------------------------

    async def create_tenant(
        self, tenant: str, *, name: str = "", plan: str = UNLIMITED, terms: Terms | None = None, actor: str
    ) -> Tenant:
        """A new tenant. name: default, its id. terms: over the plan's."""

        def work(connection: Connection, now: float) -> tuple[None, Tenant]:
            made = tenants.make(connection, tenant, now, name=name, plan=plan, terms=terms)
            if made is None:
                raise TakenError(f"There is a tenant `{tenant}` already: change it, or choose another id.")
            return None, made

        return await self._change("tenant.create", actor, work)

    async def ensure_tenant(
        self, tenant: str, name: str | None = None, *, plan: str = UNLIMITED, actor: str = "system"
    ) -> Tenant:
        """The tenant, made when it does not exist; one that does stays as it is."""

        def work(connection: Connection, now: float) -> tuple[Tenant | None, Tenant]:
            made = tenants.make(connection, tenant, now, name=name or "", plan=plan)
            there = made or tenants.find(connection, tenant)
            return (None if made else there), there

        return await self._change("tenant.create", actor, work)

    async def tenants(self, limit: int = MANY, after: str = "") -> list[Tenant]:
        """The tenants by id, those after the id `after`."""
        return await self.store.read(partial(tenants.listing, limit=limit, after=after))

    async def tenant(self, tenant: str) -> Tenant:
        """One of them."""
        return await self.store.read(partial(tenants.find, tenant=tenant))

    async def update_tenant(self, tenant: str, changes: TenantChanges, *, actor: str) -> Tenant:
        """Change name, plan or own terms; the budget follows where the effective terms say another one."""
        return await self._change("tenant.update", actor, lambda c, now: tenants.change(c, tenant, changes, now))

    async def pause(self, tenant: str, why: str, until: float | None = None, *, actor: str) -> Tenant:
        """Let none of its calls in before `until` (Unix seconds), or before it is resumed."""
        return await self._change("tenant.pause", actor, lambda c, _: tenants.pause(c, tenant, why, until))

    async def resume(self, tenant: str, *, actor: str) -> Tenant:
        """Lift its pause, also one that the spend breaker made."""
        return await self._change("tenant.resume", actor, lambda c, _: tenants.resume(c, tenant))

    async def retention(self) -> Mapping[str, int]:
        """Days that audit records are kept, by tenant, where its terms say so."""
        return await self.store.read(tenants.retention)

    # -- projects --------------------------------------------------------------------------------

    async def create_project(
        self, tenant: str, project: str, *, name: str = "", terms: Terms | None = None, actor: str
    ) -> Project:
        """A new project of the tenant's. Ids are unique over all tenants."""
        own = (terms or Terms()).of_a_part()
        return await self._change(
            "project.create", actor, lambda c, now: (None, projects.make(c, tenant, project, now, name=name, terms=own))
        )

    async def projects(self, tenant: str | None = None, limit: int = MANY, after: str = "") -> Sequence[Project]:
        """The projects by id, those after the id `after`."""
        return await self.store.read(partial(projects.listing, tenant=tenant, limit=limit, after=after))

    async def project(self, project: str) -> Project:
        """One of them."""
        return await self.store.read(partial(projects.find, project=project))

    async def update_project(self, project: str, changes: ProjectChanges, *, actor: str) -> Project:
        """Change name or terms; put it into the archive, where its keys are dead, or take it out."""
        changes.get("terms", Terms()).of_a_part()
        return await self._change("project.update", actor, lambda c, now: projects.change(c, project, changes, now))

    # -- keys ------------------------------------------------------------------------------------

    async def create_key(
        self, tenant: str, about: KeyChanges | None = None, *, project: str = "", actor: str
    ) -> tuple[Key, str]:
        """A new key and, this once, the key itself: `sk-...`."""
        (about or {}).get("terms", Terms()).of_a_part()
        key = keys.generate()
        made = await self._change(
            "key.create", actor, lambda c, now: (None, keys.make(c, key, tenant, about or {}, now, project=project))
        )
        return made, key

    async def ensure_key(
        self, key: str, tenant: str, terms: Terms | None = None, *, name: str = "", actor: str = "system"
    ) -> Key:
        """Make this very key live under these terms (a development key); a disabled one stays disabled."""
        about: KeyChanges = {"terms": terms or Terms(), "name": name}
        return await self._change("key.create", actor, lambda c, now: keys.ensure(c, key, tenant, about, now))

    async def keys(self, tenant: str | None = None, limit: int = MANY, after: str = "") -> Sequence[Key]:
        """The keys, oldest first, those after the key of id `after`."""
        return await self.store.read(partial(keys.listing, tenant=tenant, limit=limit, after=after))

    async def key(self, key_id: str) -> Key:
        """One of them."""
        return await self.store.read(partial(keys.find, key_id=key_id))

    async def update_key(self, key_id: str, changes: KeyChanges, *, actor: str) -> Key:
        """Change name, scopes, terms or expiry."""
        changes.get("terms", Terms()).of_a_part()
        return await self._change("key.update", actor, lambda c, now: keys.change(c, key_id, changes, now))

    async def rotate_key(self, key_id: str, overlap: float = 0.0, *, actor: str) -> tuple[Key, str]:
        """A new key in the place of this one, which still works for `overlap` seconds; and, this once, the key."""
        key = keys.generate()
        made = await self._change("key.rotate", actor, lambda c, now: keys.rotate(c, key, key_id, overlap, now))
        return made, key

    async def disable_key(self, key_id: str, *, actor: str) -> Key:
        """Stop the key for good, in every gateway within a second."""
        return await self._change("key.disable", actor, lambda c, _: keys.disable(c, key_id))

    async def reinstate_key(self, key_id: str, *, actor: str) -> Key:
        """Lift its suspension and throttle and forgive its strikes."""
        return await self._change("key.reinstate", actor, lambda c, now: keys.reinstate(c, key_id, now))

    # -- money -----------------------------------------------------------------------------------

    async def accounts(self, tenant: str | None = None, limit: int = MANY, after: str = "") -> Sequence[Balance]:
        """The accounts of tenants, projects and keys, by id, those after the id `after`."""
        return await self.store.read(
            lambda connection: balances.listing(connection, self.clock(), tenant, limit, after)
        )

    async def balance(self, account: str) -> Balance:
        """One of them: `tenant:ID`, `project:ID` or `key:ID`."""
        return await self.store.read(lambda connection: balances.find(connection, account, self.clock()))

    async def set_budget(
        self, account: str, budget: Decimal | None, period: Period = "total", *, actor: str
    ) -> Balance:
        """Change the account's budget: currency units in each period; None: no budget."""

        def work(connection: Connection, now: float) -> tuple[Balance, Balance]:
            tenants.lock(connection, balances.find(connection, account, now).tenant)
            return balances.set_budget(connection, account, budget, period, now)

        if budget is not None and budget < 0:
            raise UnfitError(f"A budget of {budget} is below 0: leave it out for no budget.")
        return await self._change("budget.set", actor, work)

    async def usage_rows(
        self, tenant: str | None = None, limit: int = 100, after: str = "", key_id: str | None = None
    ) -> list[UsageRow]:
        """The last calls as billed, newest first, those before the call of id `after`. Their trails are empty."""
        return await self.store.read(partial(calls.listing, tenant=tenant, key_id=key_id, limit=limit, after=after))

    async def note_reading(self, call: str, *, actor: str) -> None:
        """Record that somebody reads what was said in a call. Raises UnknownError."""
        await self.begin()

        def work(connection: Connection) -> None:
            entry = Entry(calls.tenant_of(connection, call), self.clock(), "content.read", actor, call, {})
            append(connection, self.secrets.audit_key, [entry])

        await self.store.write(work)

    async def note_forgetting(self, which: Mapping[str, str | None], entries: int, *, actor: str) -> None:
        """Record that answers were dropped from the semantic cache: whose (None: any), and how many."""
        await self.begin()
        tenant = which.get("tenant")

        def work(connection: Connection) -> None:
            chains = [OPERATOR] if tenant is None else [tenant, OPERATOR]
            facts = {**which, "entries": entries}
            entry = Entry(OPERATOR, self.clock(), "cache.forget", actor, tenant or "cache", facts)
            append(connection, self.secrets.audit_key, [replace(entry, chain=chain) for chain in chains])

        await self.store.write(work)

    # -- how -------------------------------------------------------------------------------------

    async def _change(self, kind: str, actor: str, work: Work[T]) -> T:
        """Run `work`, which gives the thing before and after, and record it in the same transaction."""

        def whole(connection: Connection) -> T:
            now = self.clock()
            old, new = work(connection, now)
            if changed := difference(old, new):
                said = kind if old is None else kind.replace(".create", ".update")  # ensure_key may find the key
                entry = Entry(_chain(new), now, said, actor, new.id, changed)
                append(connection, self.secrets.audit_key, [entry])
            return new

        await self.begin()
        new = await self.store.write(whole)
        self.changed()
        return new


def _signer(connection: Connection, fingerprint: str) -> str:
    """Whose secret signs this database's audit chain: the first that came."""
    connection.execute(_SIGN[connection.dialect.name], {"name": _SIGNER, "value": fingerprint})
    return str(connection.execute(select(settings.c.value).where(settings.c.name == _SIGNER)).scalar_one())


def difference(old: Any, new: Any) -> dict[str, Any]:
    """What a change did, by field: [old, new] where there was one before, else the new value."""
    names = [field.name for field in fields(new)]
    if old is None:
        return {name: _plain(name, getattr(new, name)) for name in names}
    pairs = {name: (getattr(old, name), getattr(new, name)) for name in names}
    return {name: [_plain(name, one) for one in pair] for name, pair in pairs.items() if pair[0] != pair[1]}


def _plain(name: str, value: Any) -> Any:
    if name in _PRIVATE:
        return "not recorded"
    return _terms(value) if isinstance(value, Terms) else value


def _terms(terms: Terms) -> dict[str, Any]:
    """As they are stored, but of texts that a tenant names only how many there are: they may be names of people."""
    said: dict[str, Any] = stored(terms)
    if isinstance(safety := said.get("safety"), dict):
        said["safety"] = {name: len(v) if name in LISTED and v else v for name, v in safety.items()}
    return said


def _chain(thing: Plan | Tenant | Project | Key | Balance) -> str:
    if isinstance(thing, Plan):
        return OPERATOR
    return thing.id if isinstance(thing, Tenant) else thing.tenant
