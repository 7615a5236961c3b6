"""Systems that may send Disconnect- and CoA-Requests."""

import pytest

from netd.domain import coa_clients
from netd.domain.coa_clients import SECRET_CONTEXT, CoaClientPatch, NewCoaClient
from netd.errors import Conflict, InvalidInput, NotFound
from netd.store import directory


@pytest.fixture
async def portal(database, keyring, actor):
    return await coa_clients.create(database, actor, keyring, NewCoaClient(name="portal", address="10.1.0.0/16", secret="s3cr3t-of-portal"))


async def test_create(world, keyring, actor, portal):
    assert (str(portal.address), portal.may_disconnect, portal.may_change, portal.may_override, portal.may_select_many) == (
        "10.1.0.0/16",
        True,
        False,
        False,
        False,
    )
    assert (portal.require_message_authenticator, portal.require_event_timestamp, portal.enabled) == (True, True, True)
    (row,) = await world.fetch("select secret from coa_clients")
    assert keyring.open(row["secret"], SECRET_CONTEXT) == b"s3cr3t-of-portal"
    (told,) = await world.audited(actor)
    assert (told.action, told.after["secret"], told.after["require_message_authenticator"]) == ("coa_client.create", "***", True)
    assert "s3cr3t-of-portal" not in await world.dump()


async def test_name_and_address_are_taken_once(database, keyring, actor, stranger, portal):
    with pytest.raises(Conflict) as caught:
        await coa_clients.create(database, stranger, keyring, NewCoaClient(name="x", address="10.1.0.0/16", secret="another one"))
    assert caught.value.field == "address", "a packet's source tells the tenant, so an address is of one only"
    with pytest.raises(Conflict) as caught:
        await coa_clients.create(database, actor, keyring, NewCoaClient(name="PORTAL", address="10.2.0.1", secret="another one"))
    assert caught.value.field == "name"
    with pytest.raises(InvalidInput) as wrong:
        await coa_clients.create(database, actor, keyring, NewCoaClient(name="x", address="10.1.0.1/16", secret="\N{SNOWMAN}" * 100))
    assert {fault.where for fault in wrong.value.faults} == {"/address", "/secret"}


async def test_update_and_delete(world, database, keyring, actor, stranger, portal):
    after = await coa_clients.update(database, actor, keyring, portal.id, CoaClientPatch(may_change=True, secret="another-one"), version=1)
    assert (after.may_change, after.version) == (True, 2)
    told = (await world.audited(actor))[-1]
    assert (told.before, told.after) == ({"may_change": False, "secret": "***"}, {"may_change": True, "secret": "***"})
    with pytest.raises(Conflict):
        await coa_clients.update(database, actor, keyring, portal.id, CoaClientPatch(enabled=False), version=1)
    for refused in (
        coa_clients.get(database, stranger, portal.id), coa_clients.delete(database, stranger, portal.id),
        coa_clients.update(database, stranger, keyring, portal.id, CoaClientPatch(enabled=False)),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            await refused
    assert (await coa_clients.page(database, stranger, coa_clients.CoaClientQuery(count=True))).total == 0
    assert [each.id for each in (await coa_clients.page(database, actor, coa_clients.CoaClientQuery(name="Portal"))).items] == [portal.id]
    await coa_clients.delete(database, actor, portal.id)
    with pytest.raises(NotFound):
        await coa_clients.get(database, actor, portal.id)


async def test_the_engine_is_told(world, database, keyring, actor, portal):
    async with database.acquire() as conn:
        (row,) = await directory.coa_clients(conn)
        assert (row.id, row.name, row.address, row.may_disconnect, keyring.open(row.secret, SECRET_CONTEXT)) == (
            portal.id, "portal", "10.1.0.0/16", True, b"s3cr3t-of-portal",
        )  # fmt: skip
        assert await directory.coa_clients(conn, [portal.id + 1]) == []
    await coa_clients.update(database, actor, keyring, portal.id, CoaClientPatch(description="x"))
    await coa_clients.delete(database, actor, portal.id)
    changed = await world.fetch("select entity, entity_id from changes where entity = 'coa_client'")
    assert [(row["entity"], row["entity_id"]) for row in changed] == [("coa_client", portal.id)] * 3
