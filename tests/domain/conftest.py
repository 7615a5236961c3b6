"""Two tenants, a keyring and what operations need, on a real database."""

from pathlib import Path

import msgspec
import pytest

from netd.domain import nas, plans, subscribers
from netd.domain.actor import Actor, system
from netd.keyring import Keyring
from netd.model.audit import AuditRow
from netd.model.nas import Nas
from netd.model.plan import Plan
from netd.model.subscriber import Subscriber
from netd.store.database import Database


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring.load_or_create(tmp_path / "secret.key")


@pytest.fixture
async def actor(database: Database) -> Actor:
    """Somebody of the tenant that every database has."""
    async with database.acquire() as conn:
        tenant = await conn.fetchval("select id from tenants where name = 'default'")
    return msgspec.structs.replace(system(tenant, "ann"), address="192.0.2.7", request_id="r1")


@pytest.fixture
async def stranger(database: Database) -> Actor:
    """Somebody of another tenant."""
    async with database.acquire() as conn:
        tenant = await conn.fetchval("insert into tenants (name) values ('other') returning id")
    return system(tenant, "stranger")


class World:
    """Short ways to make things."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self.database = database
        self.keyring = keyring

    async def plan(self, actor: Actor, name: str = "Home 100", **members: object) -> Plan:
        members = {"down_bps": 100_000_000, "up_bps": 20_000_000, **members}
        return await plans.create(self.database, actor, msgspec.convert({"name": name, **members}, plans.NewPlan))

    async def subscriber(self, actor: Actor, username: str = "alice", plan: str | int = "Home 100", **members: object) -> Subscriber:
        members = {"password": "wonderland", **members}
        new = msgspec.convert({"username": username, "plan": plan, **members}, subscribers.NewSubscriber)
        return await subscribers.create(self.database, actor, self.keyring, new, AnyAttribute())

    async def nas(self, actor: Actor, name: str = "bras1", address: str = "10.0.0.1", **members: object) -> Nas:
        members = {"secret": "testing123", "vendor": "mikrotik", **members}
        return await nas.create(self.database, actor, self.keyring, msgspec.convert({"name": name, "address": address, **members}, nas.NewNas), VENDORS)

    async def audited(self, actor: Actor) -> list[AuditRow]:
        """The tenant's audit rows, oldest first."""
        async with self.database.acquire() as conn:
            records = await conn.fetch(
                """select id, at, actor, token_id, host(address) as address, request_id, action, object_type, object_id, before, after, result
                   from audit_log where tenant_id = $1 order by id""",
                actor.tenant_id,
            )
        return [AuditRow(**record) for record in records]

    async def fetch(self, statement: str, *args: object) -> list[dict[str, object]]:
        async with self.database.acquire() as conn:
            return [dict(record) for record in await conn.fetch(statement, *args)]

    async def dump(self) -> str:
        """Every text of the audit log, to look for secrets in."""
        return str(await self.fetch("select * from audit_log"))


VENDORS = frozenset(("mikrotik", "huawei"))


class AnyAttribute:
    """Rules that find nothing wrong with any attribute."""

    def validate_check(self, attribute: str, op: str, value: str) -> None:
        """Accept it."""

    validate_reply = validate_check


@pytest.fixture
def world(database: Database, keyring: Keyring) -> World:
    return World(database, keyring)


@pytest.fixture
def vendors() -> frozenset[str]:
    return VENDORS


@pytest.fixture
def any_attribute() -> AnyAttribute:
    return AnyAttribute()
