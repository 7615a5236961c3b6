"""Enforcement as operators see it: how live sessions stand, and the wave that waits for their word."""

from typing import Annotated

import msgspec
from msgspec import Meta

from netd.domain import audit
from netd.domain.actor import Actor
from netd.domain.ports import EnforcementControl
from netd.errors import OutsideScope
from netd.model.control import Enforcement
from netd.store.database import Database


class WaveDecision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The number of sessions that the operator saw held. More by now is refused: nobody confirms what they have not seen."""

    sessions: Annotated[int, Meta(ge=1)]


def _whole(actor: Actor) -> None:
    if actor.sites is not None:
        raise OutsideScope("enforcement is decided for the whole tenant")


def show(actor: Actor, control: EnforcementControl) -> Enforcement:
    """How it stands with the tenant's live sessions; from memory. Raises OutsideScope for who may see a part of the tenant only."""
    _whole(actor)
    return control.standing(actor.tenant_id)


async def confirm(db: Database, actor: Actor, control: EnforcementControl, decision: WaveDecision) -> Enforcement:
    """Let what is held be done. Raises Conflict if nothing is held, or more than was seen."""
    await _decide(db, actor, control, decision, confirm=True)
    return control.standing(actor.tenant_id)


async def discard(db: Database, actor: Actor, control: EnforcementControl, decision: WaveDecision) -> Enforcement:
    """Leave the live sessions held as they are; what their rows say holds from their next login on. Raises Conflict as ``confirm`` does."""
    await _decide(db, actor, control, decision, confirm=False)
    return control.standing(actor.tenant_id)


async def _decide(db: Database, actor: Actor, control: EnforcementControl, decision: WaveDecision, *, confirm: bool) -> None:
    """One row of the audit log, and then the act: it is not to be undone, so it comes last in the transaction."""
    _whole(actor)
    held = control.standing(actor.tenant_id).held
    async with db.transaction(actor.scope) as conn:
        before = None if held is None else audit.values(held)
        action = "enforcement.confirm" if confirm else "enforcement.discard"
        await audit.record(conn, actor, action, "enforcement", actor.tenant_id, before=before, after=audit.values(decision))
        if confirm:
            control.confirm(actor.tenant_id, decision.sessions)
        else:
            control.discard(actor.tenant_id, decision.sessions, actor.name)
