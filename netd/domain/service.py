"""What a device's configuration is told of the subscriber that it belongs to: names, rates, VLAN and addresses; the password only where it goes by SSH."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from netd.domain.subscribers import PASSWORD_CONTEXT
from netd.keyring import Keyring
from netd.model.plan import Plan
from netd.model.subscriber import State, Subscriber
from netd.store import plans as plan_store
from netd.store import subscribers as subscriber_store
from netd.store.database import Connection

SERVED: Final[frozenset[State]] = frozenset(("active", "suspended"))
"""Whose devices boot: pending has no service yet, terminated none any more, and suspended is for a while (``netd_ztp_serves`` says the same in SQL)."""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A subscriber's service, as templates see it in ``subscriber``. ``password`` is None where none is set, or only a hash of it is known."""

    subscriber_id: int
    username: str
    state: State
    variables: Mapping[str, Any]
    password: str | None

    def __repr__(self) -> str:
        return f"Service(subscriber_id={self.subscriber_id})"

    @property
    def serves(self) -> bool:
        """Whether its devices boot."""
        return self.state in SERVED

    def digest(self, secret: bytes) -> bytes:
        """Of all that a configuration may say of it; ``secret`` is the device's, so that nobody guesses at the password with it."""
        return hmac.digest(secret, msgspec.json.encode([self.variables, self.password], order="sorted"), hashlib.sha256)


def variables(subscriber: Subscriber, plan: Plan) -> dict[str, Any]:
    """What templates see of it. The subscriber's own VLAN goes before its plan's."""
    return {
        "username": subscriber.username, "plan": plan.name, "down_bps": plan.down_bps, "up_bps": plan.up_bps, "committed_down_bps": plan.committed("down"),
        "committed_up_bps": plan.committed("up"), "vlan": subscriber.vlan or plan.vlan, "profile": plan.profile,
        "ipv4": _text(subscriber.ipv4), "ipv6_prefix": _text(subscriber.ipv6_prefix), "delegated_ipv6_prefix": _text(subscriber.delegated_ipv6_prefix),
    }  # fmt: skip


def _text(value: object) -> str | None:
    return None if value is None else str(value)


async def shown(conn: Connection, tenant_id: int, subscriber_id: int | None) -> dict[str, Any] | None:
    """``subscriber`` of a first file: nothing of it is secret. None where there is none."""
    found = await _found(conn, tenant_id, subscriber_id)
    return None if found is None else variables(*found)


async def of(conn: Connection, keyring: Keyring, tenant_id: int, subscriber_id: int | None) -> Service | None:
    """A subscriber's service. Raises StoreError for a password that does not open."""
    found = await _found(conn, tenant_id, subscriber_id)
    if found is None:
        return None
    subscriber, plan = found
    sealed, hashed = await subscriber_store.password_and_form(conn, tenant_id, subscriber.id)
    password = None if sealed is None or hashed else keyring.open(sealed, PASSWORD_CONTEXT).decode()
    return Service(subscriber_id=subscriber.id, username=subscriber.username, state=subscriber.state, variables=variables(subscriber, plan), password=password)


async def _found(conn: Connection, tenant_id: int, subscriber_id: int | None) -> tuple[Subscriber, Plan] | None:
    subscriber = None if subscriber_id is None else await subscriber_store.get(conn, tenant_id, subscriber_id)
    plan = None if subscriber is None else await plan_store.get(conn, tenant_id, subscriber.plan_id)
    return None if subscriber is None or plan is None else (subscriber, plan)
