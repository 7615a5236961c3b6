"""Credentials of devices: sealed, write-only, and sent only where they may go."""

from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

import msgspec
import pytest

from netd.config import Secret
from netd.domain import credentials, devices, secrets, targets
from netd.domain.credentials import CONTEXT, CredentialPatch, NewCredential
from netd.errors import Conflict, InvalidInput, NotFound
from netd.model.inventory import StoredCredential
from netd.model.target import HttpLogin, SnmpCommunity, SnmpUser, SshLogin, TelnetLogin

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
CATALOGUE = devices.Catalogue(frozenset({"mikrotik"}), {})


def new(name: str = "core", **members: object) -> NewCredential:
    return msgspec.convert({"name": name, "type": "ssh", "username": "netd", "password": "s3cr3t-pw", **members}, NewCredential)


def community(name: str, text: str = "s3cr3t-public", **members: object) -> NewCredential:
    return msgspec.convert({"name": name, "type": "snmp_community", "community": text, **members}, NewCredential)


async def test_secrets_go_in_and_never_come_out(world, database, keyring, actor):
    made = await credentials.create(database, actor, keyring, new(enable="s3cr3t-enable"))
    assert (made.username, made.secrets, made.settings, made.position) == ("netd", ("password", "enable"), {}, 100)
    (row,) = await world.fetch("select type, encrypted_secret from credentials")
    assert keyring.open(row["encrypted_secret"], CONTEXT) == b'{"password":"s3cr3t-pw","enable":"s3cr3t-enable"}'
    (told,) = await world.audited(actor)
    assert (told.action, told.after["password"], told.after["enable"]) == ("credential.create", "***", "***")
    after = await credentials.update(database, actor, keyring, made.id, CredentialPatch(password="s3cr3t-two", username="ann"))
    assert (after.username, after.secrets, after.version) == ("ann", ("password", "enable"), 2)
    (row,) = await world.fetch("select encrypted_secret from credentials")
    assert keyring.open(row["encrypted_secret"], CONTEXT) == b'{"password":"s3cr3t-two","enable":"s3cr3t-enable"}'
    without = await credentials.update(database, actor, keyring, made.id, CredentialPatch(enable=None))
    assert without.secrets == ("password",)
    told = (await world.audited(actor))[-1]
    assert (told.before, told.after) == ({"enable": "***"}, {"enable": None})
    assert "s3cr3t" not in await world.dump()
    assert "s3cr3t" not in repr(new()) + repr(CredentialPatch(password="s3cr3t")) + repr(made)


@pytest.mark.parametrize(
    ("members", "places"),
    [
        ({"type": "ssh"}, {"/username", "/password"}),
        ({"type": "ssh", "username": "a", "password": "b", "passphrase": "c"}, {"/passphrase"}),
        ({"type": "telnet", "username": "a", "password": "b", "private_key": "k" * 40}, {"/private_key"}),
        ({"type": "snmp_community", "community": "c", "username": "a", "tls": True}, {"/username", "/tls"}),
        ({"type": "snmp_user", "username": "a", "auth_protocol": "sha"}, {"/auth_key"}),
        ({"type": "snmp_user", "username": "a", "auth_protocol": "sha", "auth_key": "short"}, {"/auth_key"}),
        ({"type": "snmp_user", "username": "a", "priv_protocol": "aes128", "priv_key": "longenough"}, {"/auth_protocol"}),
        ({"type": "http", "username": "a", "password": "p", "networks": ["10.0.0.1/8", "xx"]}, {"/networks/0", "/networks/1"}),
    ],
)
async def test_what_does_not_fit_together(database, keyring, actor, members, places):
    with pytest.raises(InvalidInput) as caught:
        await credentials.create(database, actor, keyring, msgspec.convert({"name": "x", **members}, NewCredential))
    assert {fault.where for fault in caught.value.faults} == places


def stored(type_: str, **members: object) -> StoredCredential:
    values = {
        "id": 1, "tenant_id": 1, "name": "n", "type": type_, "username": "netd", "settings": {}, "secrets": (), "port": None, "site_id": None, "site": None,
        "networks": (), "position": 100, "enabled": True, "note": None, "version": 1, "created_at": NOW, "updated_at": NOW, **members,
    }  # fmt: skip
    return StoredCredential(**values)  # type: ignore[arg-type]


def test_log_ins_of_every_type():
    x = Secret("x")
    assert credentials.login(stored("ssh"), {"password": "x"}) == SshLogin(username="netd", password=x)
    assert credentials.login(stored("telnet"), {"password": "x", "enable": "x"}) == TelnetLogin(username="netd", password=x, enable=x)
    assert credentials.login(stored("snmp_community"), {"community": "x"}) == SnmpCommunity(version="2c", community=x)
    user = stored("snmp_user", settings={"auth_protocol": "sha256", "priv_protocol": "aes128", "context": "c"})
    expected = SnmpUser(username="netd", auth_protocol="sha256", auth_key=x, priv_protocol="aes128", priv_key=x, context="c")
    assert credentials.login(user, {"auth_key": "x", "priv_key": "x"}) == expected
    assert credentials.login(stored("http", settings={"verify": False}), {"password": "x"}) == HttpLogin(username="netd", password=x, verify=False)


def test_where_a_credential_may_go():
    anywhere, at_site = stored("ssh"), stored("ssh", site_id=7)
    fenced = stored("ssh", networks=(ip_network("10.0.0.0/8"),))
    inside, outside, six = ip_address("10.1.1.1"), ip_address("192.0.2.1"), ip_address("2001:db8::1")
    assert targets.reaches(anywhere, outside, None)
    assert [targets.reaches(at_site, outside, site) for site in (7, 8, None)] == [True, False, False]
    assert [targets.reaches(fenced, each, 7) for each in (inside, outside, six)] == [True, False, False]
    assert [targets.reaches(each, inside, 7, site_addressed=True) for each in (anywhere, at_site, fenced)] == [False, True, True]


async def test_targets_in_order(world, database, keyring, actor):
    async with database.acquire() as conn:
        await conn.execute("insert into sites (tenant_id, name) values ($1, 'oslo')", actor.tenant_id)
    for each in (
        community("late", position=200), community("first"), community("site", site="oslo", position=300), community("off", enabled=False, position=1),
        community("elsewhere", networks=["198.51.100.0/24"], position=1), new("shell", port=2200), new("other-shell", position=200),
    ):  # fmt: skip
        await credentials.create(database, actor, keyring, each)
    wanted = {"mgmt_address": "10.0.0.1", "vendor": "mikrotik", "hostname": "core1", "site": "oslo", "ports": {"snmp": 1161}}
    device = await devices.create(database, actor, msgspec.convert(wanted, devices.NewDevice), CATALOGUE)

    async def tried() -> list[tuple[str, int | None]]:
        found = await targets.targets(database, keyring, actor.tenant_id, [device.id, 999])
        assert list(found) == [device.id]
        return [(each.name, each.port) for each in found[device.id].credentials]

    assert await tried() == [("site", 1161), ("first", 1161), ("shell", 2200), ("late", 1161), ("other-shell", None)]
    (late,) = await world.fetch("select id from credentials where name = 'late'")
    await targets.worked(database, actor.tenant_id, [(device.id, "snmp", late["id"], NOW), (999, "snmp", late["id"], NOW)])
    assert (await tried())[0] == ("late", 1161)
    await devices.update(database, actor, device.id, devices.DevicePatch(credential="other-shell"), CATALOGUE)
    assert [name for name, _ in await tried() if "shell" in name] == ["other-shell"]  # an operator's choice is the only one of its protocol
    assert (await tried())[0][0] == "site"  # what worked is found out anew
    (shell,) = await world.fetch("select id from credentials where name = 'other-shell'")
    with pytest.raises(Conflict) as caught:
        await credentials.delete(database, actor, shell["id"])
    assert caught.value.field == "credential"
    target = (await targets.targets(database, keyring, actor.tenant_id, [device.id]))[device.id]
    assert (target.key, target.snmp_bulk, "s3cr3t" in repr(target)) == (f"device-{device.id}", None, False)
    login = next(each.login for each in target.credentials if each.name == "other-shell")
    assert isinstance(login, SshLogin) and login.password == Secret("s3cr3t-pw")


async def test_who_sees_a_site_only_collects_no_passwords_of_the_tenant(database, keyring, actor):
    """Whoever adds a device may have a server of her own at its address."""
    async with database.acquire() as conn:
        oslo = await conn.fetchval("insert into sites (tenant_id, name) values ($1, 'oslo') returning id", actor.tenant_id)
    for each in (new("everywhere"), new("ours", networks=["10.0.0.0/8"]), new("at-oslo", site="oslo")):
        await credentials.create(database, actor, keyring, each)
    local = msgspec.structs.replace(actor, sites=frozenset((oslo,)))
    wanted = msgspec.convert({"mgmt_address": "192.0.2.66", "vendor": "mikrotik", "hostname": "trap", "site": "oslo"}, devices.NewDevice)
    device = await devices.create(database, local, wanted, CATALOGUE)

    async def sent() -> list[str]:
        found = await targets.targets(database, keyring, actor.tenant_id, [device.id])
        return sorted(each.name for each in found[device.id].credentials)

    assert await sent() == ["at-oslo"]
    await devices.update(database, local, device.id, devices.DevicePatch(note="x", mgmt_address="10.0.0.66"), CATALOGUE)
    assert await sent() == ["at-oslo", "ours"]
    await devices.update(database, actor, device.id, devices.DevicePatch(note="y", host_keys=(), ports=devices.Ports(ssh=22)), CATALOGUE)
    assert await sent() == ["at-oslo", "ours"]
    await devices.update(database, actor, device.id, devices.DevicePatch(mgmt_address="10.0.0.66"), CATALOGUE)  # somebody of the whole tenant says so
    assert await sent() == ["at-oslo", "everywhere", "ours"]
    await devices.update(database, local, device.id, devices.DevicePatch(ports=devices.Ports(ssh=2222)), CATALOGUE)
    assert await sent() == ["at-oslo", "ours"]


async def test_another_tenants_and_keys(world, database, keyring, actor, stranger):
    made = await credentials.create(database, actor, keyring, new())
    for attempt in (credentials.get(database, stranger, made.id), credentials.delete(database, stranger, made.id),
                    credentials.update(database, stranger, keyring, made.id, CredentialPatch(note="x"))):  # fmt: skip
        with pytest.raises(NotFound):
            await attempt
    assert await targets.targets(database, keyring, stranger.tenant_id, [1]) == {}
    rotation = await secrets.rotate(database, actor, keyring)
    assert (rotation.credentials, rotation.complete) == (1, True)
    (row,) = await world.fetch("select encrypted_secret from credentials")
    assert keyring.key_id(row["encrypted_secret"]) == rotation.key_id
    await credentials.delete(database, actor, made.id, version=1)
    assert await world.fetch("select 1 from credentials") == []
