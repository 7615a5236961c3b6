"""Key rotation."""

from datetime import UTC, datetime

import pytest

from netd.domain import coa_clients, secrets, users
from netd.domain.nas import SECRET_CONTEXT
from netd.domain.subscribers import PASSWORD_CONTEXT
from netd.domain.users import TOTP_CONTEXT
from netd.store import subscribers as store


async def secrets_of(world, keyring):
    """What every sealed column holds, and the keys in use."""
    values, keys = [], set()
    sealed = (("subscribers", "password", PASSWORD_CONTEXT), ("nas", "secret", SECRET_CONTEXT), ("coa_clients", "secret", coa_clients.SECRET_CONTEXT))
    for table, column, context in sealed:
        for row in await world.fetch(f"select {column} as sealed from {table} where {column} is not null order by id"):
            values.append(keyring.open(row["sealed"], context))
            keys.add(keyring.key_id(row["sealed"]))
    return values, keys


@pytest.fixture
async def sealed(world, database, keyring, actor, stranger, monkeypatch):
    monkeypatch.setattr(secrets, "BATCH_ROWS", 3)
    for who, net in ((actor, 1), (stranger, 2)):
        await world.plan(who)
        for n in range(5):
            await world.subscriber(who, f"u{n}", password=f"pass-{net}-{n}")
        await world.nas(who, address=f"10.0.0.{net}", secret=f"secret-{net}")
    await world.subscriber(actor, "none", password=None)
    await coa_clients.create(database, actor, keyring, coa_clients.NewCoaClient(name="portal", address="10.0.0.9", secret="secret-3"))


async def test_rotate(world, database, keyring, actor, sealed):
    values, keys = await secrets_of(world, keyring)
    assert keys == {keyring.current_id}
    versions = await world.fetch("select id, version, updated_at from subscribers order by id")
    result = await secrets.rotate(database, actor, keyring)
    assert (result.subscribers, result.nas, result.complete, result.key_id) == (10, 2, True, keyring.current_id)
    assert keyring.current_id not in keys
    assert await secrets_of(world, keyring) == (values, {keyring.current_id})
    assert await world.fetch("select id, version, updated_at from subscribers order by id") == versions
    told = (await world.audited(actor))[-1]
    assert (told.action, told.object_id, told.after) == (
        "secret.rotate",
        keyring.current_id,
        {
            "subscribers": 10,
            "nas": 2,
            "coa_clients": 1,
            "users": 0,
            "webhooks": 0,
            "billing_hooks": 0,
            "credentials": 0,
            "jobs": 0,
            "schedules": 0,
            "configurations": 0,
            "ztp_devices": 0,
            "certificates": 0,
            "complete": True,
        },
    )


async def test_interrupted_and_finished(world, database, keyring, actor, sealed, monkeypatch):
    values, (old,) = await secrets_of(world, keyring)
    real = store.reseal
    calls: list[int] = []

    async def dying(conn, replacements):
        calls.append(len(replacements))
        if len(calls) == 2:
            raise RuntimeError("kill -9")
        return await real(conn, replacements)

    monkeypatch.setattr(store, "reseal", dying)
    with pytest.raises(RuntimeError):
        await secrets.rotate(database, actor, keyring)
    assert await secrets_of(world, keyring) == (values, {old, keyring.current_id})
    monkeypatch.undo()
    result = await secrets.rotate(database, actor, keyring, new_key=False)
    assert (result.subscribers, result.nas, result.complete) == (7, 2, True)
    assert await secrets_of(world, keyring) == (values, {keyring.current_id})
    assert len(keyring.ids) == 2


async def test_a_password_set_meanwhile_is_kept(world, database, keyring, actor, sealed, monkeypatch):
    """Somebody else, still with the old key, changes a password between reading and writing a batch."""
    old_seal = keyring.seal(b"changed", PASSWORD_CONTEXT)
    real = store.reseal
    done: list[bool] = []

    async def raced(conn, replacements):
        if not done:
            done.append(True)
            async with database.acquire() as outside:
                await outside.execute("update subscribers set password = $1 where id = $2", old_seal, replacements[0][0])
        return await real(conn, replacements)

    monkeypatch.setattr(store, "reseal", raced)
    result = await secrets.rotate(database, actor, keyring)
    assert (result.complete, result.subscribers) == (True, 10)
    values, keys = await secrets_of(world, keyring)
    assert b"changed" in values
    assert keys == {keyring.current_id}


async def test_second_factors_are_sealed_anew(world, database, actor, keyring):
    made = await users.create(database, actor, users.NewUser(name="ann"), datetime.now(UTC))
    await world.fetch("update users set totp_secret = $1 returning id", keyring.seal(b"12345678901234567890", TOTP_CONTEXT))
    result = await secrets.rotate(database, actor, keyring)
    assert (result.users, result.complete) == (1, True)
    (row,) = await world.fetch("select totp_secret from users where id = $1", made.user.id)
    assert (keyring.key_id(row["totp_secret"]), keyring.open(row["totp_secret"], TOTP_CONTEXT)) == (keyring.current_id, b"12345678901234567890")
