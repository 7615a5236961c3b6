"""What operators ask of live sessions (netd.domain.ports): ending one, and how enforcement stands."""

import asyncio
from collections import Counter

import msgspec

from netd.errors import NotFound
from netd.model.accounting import Row
from netd.model.control import ControlResult, Enforcement, TenantQueueState
from netd.model.session import Session
from netd.radius.coa import SESSION_NOT_FOUND
from netd.radius.enforce import Enforcer
from netd.store import accounting as store


class Control:
    """SessionControl and EnforcementControl over the engine."""

    def __init__(self, enforcer: Enforcer) -> None:
        self._enforcer = enforcer

    async def disconnect(self, session: Session) -> ControlResult:
        """Ask the session's NAS to end it, before all that waits there; what the NAS says comes back as it is. An operator's word is not held."""
        row = await self._row(session)
        nas = self._enforcer.orders.nas_of(row)
        if nas is None:
            return ControlResult(outcome="error", action="disconnect", detail="the session's NAS is no longer configured")
        answered: asyncio.Future[ControlResult] = asyncio.get_running_loop().create_future()

        def done(result: ControlResult) -> None:
            if not answered.done():
                answered.set_result(result)

        self._enforcer.orders.post("disconnect", row, nas, (), done, urgent=True)
        result = await answered
        if result.outcome == "nak" and result.error_cause == SESSION_NOT_FOUND:
            self._enforcer.vanished.add(row)
            return msgspec.structs.replace(result, session_closed=await self._enforcer.vanished.close())
        return result

    async def _row(self, session: Session) -> Row:
        live = self._enforcer.sessions.by_id.get(session.unique_id)
        if live is not None and live.row.radacctid == session.id:
            return live.row
        async with self._enforcer.database.transaction() as conn:  # opened by another node
            rows = await store.read_open(conn, [session.unique_id])
        if not rows or rows[0].radacctid != session.id:
            raise NotFound("open session", session.id)
        return rows[0]

    def standing(self, tenant_id: int) -> Enforcement:
        """How it stands with the tenant's live sessions and NAS."""
        enforcer = self._enforcer
        counts: Counter[str] = Counter(live.enforce_state for live in enforcer.sessions.by_id.values() if live.row.tenant_id == tenant_id)
        ours = [nas for nas in enforcer.directory.nas.values() if nas.tenant_id == tenant_id]
        queues = []
        for queue in enforcer.client.queues():
            nas = next((nas for nas in ours if nas.coa_address == queue.address), None) or enforcer.directory.networks.source(queue.address)
            if nas is not None and nas.tenant_id == tenant_id:
                queues.append(TenantQueueState(nas=nas.name, **msgspec.structs.asdict(queue)))
        return Enforcement(sessions=dict(counts), held=enforcer.guard.held(tenant_id), queues=tuple(queues))

    def confirm(self, tenant_id: int, sessions: int) -> int:
        """Do what is held. Raises Conflict if that is about more than ``sessions``, or nothing."""
        return self._enforcer.guard.confirm(tenant_id, sessions)

    def discard(self, tenant_id: int, sessions: int, who: str) -> int:
        """Leave what is held as it is until something else is wanted of it. Raises Conflict as ``confirm`` does."""
        return self._enforcer.guard.discard(tenant_id, sessions, who)
