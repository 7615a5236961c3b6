"""NAS."""

import msgspec
import pytest

from netd.domain import nas
from netd.domain.nas import SECRET_CONTEXT, NasPatch, NewNas
from netd.errors import Conflict, InvalidInput, NotFound
from netd.store import directory


async def test_create(world, keyring, actor):
    made = await world.nas(actor, address="10.1.0.0/16", secret="s3cr3t-of-bras", coa_address="10.9.9.9")
    assert (str(made.address), str(made.coa_address), made.require_message_authenticator, made.limit_proxy_state) == ("10.1.0.0/16", "10.9.9.9", "yes", "yes")
    (row,) = await world.fetch("select secret, nasname::text, shortname, type from nas")
    assert keyring.open(row["secret"], SECRET_CONTEXT) == b"s3cr3t-of-bras"
    assert (row["nasname"], row["shortname"], row["type"]) == ("10.1.0.0/16", "bras1", "mikrotik")
    (told,) = await world.audited(actor)
    assert told.after["secret"] == "***"
    assert "s3cr3t-of-bras" not in await world.dump()


async def test_all_faults_at_once(database, keyring, actor, vendors):
    new = NewNas(name="n", address="10.0.0.1/24", secret="é" * 100, vendor="acme", coa_address="10.0.0.0/8")
    with pytest.raises(InvalidInput) as caught:
        await nas.create(database, actor, keyring, new, vendors)
    faults = {fault.where: fault.what for fault in caught.value.faults}
    assert set(faults) == {"/address", "/secret", "/vendor", "/coa_address"}
    assert "10.0.0.0/24" in faults["/address"]
    assert "huawei, mikrotik" in faults["/vendor"]
    assert "é" not in str(caught.value)


@pytest.mark.parametrize("secret", ["short", "x" * 129, "tailing ", "line\nline"])
def test_secrets_that_are_refused(secret):
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"name": "n", "address": "10.0.0.1", "secret": secret, "vendor": "v"}, NewNas)
    assert secret not in str(caught.value)


async def test_address_is_unique_across_tenants(world, actor, stranger):
    await world.nas(actor)
    with pytest.raises(Conflict) as caught:
        await world.nas(stranger)
    assert caught.value.field == "address"
    with pytest.raises(Conflict) as caught:
        await world.nas(actor, "BRAS1", "10.0.0.2")
    assert caught.value.field == "name"
    await world.nas(stranger, "bras1", "10.0.0.3")


async def test_update(world, database, keyring, actor, vendors):
    made = await world.nas(actor)
    after = await nas.update(database, actor, keyring, made.id, NasPatch(secret="another-one", coa_port=1700), vendors, version=1)
    assert (after.coa_port, after.version, after.name) == (1700, 2, "bras1")
    (row,) = await world.fetch("select secret from nas")
    assert keyring.open(row["secret"], SECRET_CONTEXT) == b"another-one"
    told = (await world.audited(actor))[-1]
    assert (told.before, told.after) == ({"coa_port": None, "secret": "***"}, {"coa_port": 1700, "secret": "***"})
    with pytest.raises(Conflict) as caught:
        await nas.update(database, actor, keyring, made.id, NasPatch(coa_port=None), vendors, version=1)
    assert caught.value.field == "version"


async def test_what_auto_learned(world, database, keyring, actor, vendors):
    made = await world.nas(actor, require_message_authenticator="auto")
    async with database.acquire() as conn:
        await directory.learned(conn, made.id, "yes", "no")
        await directory.learned(conn, made.id, None, "yes")
    learned = await nas.get(database, actor, made.id)
    assert (learned.learned_require_message_authenticator, learned.learned_limit_proxy_state) == ("yes", None)  # the second is not auto
    kept = await nas.update(database, actor, keyring, made.id, NasPatch(description="x"), vendors)
    assert kept.learned_require_message_authenticator == "yes"
    moved = await nas.update(database, actor, keyring, made.id, NasPatch(address="10.0.0.9"), vendors)
    assert moved.learned_require_message_authenticator is None


async def test_page(world, database, actor, stranger):
    await world.nas(stranger, "hidden", "10.0.1.1")
    await world.nas(actor, "a", "10.0.2.1")
    await world.nas(actor, "b", "10.0.2.2", vendor="huawei")
    page = await nas.page(database, actor, nas.NasQuery(limit=1, count=True))
    assert ([each.name for each in page.items], page.total) == (["a"], 2)
    assert [each.name for each in (await nas.page(database, actor, nas.NasQuery(limit=1, after=page.next))).items] == ["b"]
    assert [each.name for each in (await nas.page(database, actor, nas.NasQuery(vendor="huawei"))).items] == ["b"]
    assert [each.name for each in (await nas.page(database, actor, nas.NasQuery(name="A"))).items] == ["a"]


async def test_delete_and_other_tenants_nas(world, database, keyring, actor, stranger, vendors):
    made = await world.nas(actor)
    for attempt in (
        nas.get(database, stranger, made.id),
        nas.by_name(database, stranger, "bras1"),
        nas.delete(database, stranger, made.id),
        nas.update(database, stranger, keyring, made.id, NasPatch(enabled=False), vendors),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert await nas.by_name(database, actor, "BRAS1") == made
    await nas.delete(database, actor, made.id)
    with pytest.raises(NotFound):
        await nas.get(database, actor, made.id)
    assert [row.action for row in await world.audited(actor)] == ["nas.create", "nas.delete"]
    assert await world.audited(stranger) == []
