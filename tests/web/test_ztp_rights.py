"""Who may expect devices, and not more, does not come by NAS entries and credentials that way."""

from collections.abc import Mapping

from netd.domain import adoption
from netd.store import expected
from netd.store.database import Database
from tests.web.running import Api
from tests.web.test_access_control import bearer

MINE = {"hostname": "mine", "profile": "plain", "serial": "X"}


async def test_what_expecting_a_device_needs_besides(api: Api) -> None:
    await api.post("/credentials", {"name": "core", "type": "ssh", "username": "root", "password": "hunter2hunter2"})
    await api.post("/sites", {"name": "oslo"})
    await api.post("/plans", {"name": "home", "down_bps": 1_000_000, "up_bps": 1_000_000})
    assert (await api.post("/subscribers", {"username": "alice", "password": "wonderland", "plan": "home"})).status == 201
    await api.post("/devices", {"hostname": "core1", "mgmt_address": "192.0.2.1", "vendor": "generic"})
    await api.post("/roles", {"name": "booter", "title": "B", "permissions": ["ztp:read", "ztp:write"]})
    await api.post("/roles", {"name": "namer", "title": "N", "permissions": ["ztp:read", "ztp:write", "nas:write"]})
    await api.post("/roles", {"name": "keeper", "title": "K", "permissions": ["ztp:read", "ztp:write", "devices:write"]})
    booter, namer, keeper = [bearer(await api.post("/tokens", {"name": name, "role": name})) for name in ("booter", "namer", "keeper")]
    site = bearer(await api.post("/tokens", {"name": "site", "role": "keeper", "site": "oslo"}))

    async def asked(headers: dict[str, str], more: Mapping[str, object], path: str = "/ztp/devices") -> int:
        return (await api.post(path, {**MINE, **more}, role=None, headers=headers)).status

    for more in ({"make_nas": True}, {"credential": "core"}, {"configuration": "x {{ password }}"}, {"role": "edge"}, {"hostname": "core1"}):
        assert await asked(booter, more) == 403, more
    assert await asked(booter, {"certificate": "ec"}) == 403
    assert await asked(booter, {"subscriber": "alice"}) == 403  # a preview would show her service
    assert await asked(keeper, {"subscriber": "alice", "configuration": "{{ subscriber_password }}"}) == 403
    assert await asked(namer, {"make_nas": True}) == 201
    assert await asked(keeper, {"make_nas": True, "serial": "Y"}) == 403
    made = await api.post("/ztp/devices", {**MINE, "hostname": "kept", "serial": "Z", "credential": "core"}, role=None, headers=keeper)
    assert made.status == 201 and not made.value["site_addressed"]
    path = f"/ztp/devices/{made.value['id']}"
    assert (await api.patch(path, {"serial": "mine"}, role=None, headers=booter)).status == 403  # it would get what the other one is given
    assert (await api.patch(path, {"closes_at": "2099-01-01T00:00:00Z"}, role=None, headers=booter)).status == 200
    assert (await api.patch(path, {"hostname": "core1"}, role=None, headers=booter)).status == 403
    assert await asked(site, {"hostname": "there", "serial": "S", "site": "oslo", "credential": "core"}) == 422  # not hers to give
    there = await api.post("/ztp/devices", {**MINE, "hostname": "there", "serial": "S", "site": "oslo", "configuration": "x"}, role=None, headers=site)
    assert there.status == 201 and there.value["site_addressed"]
    plain = await api.post("/ztp/devices", {**MINE, "hostname": "plain", "serial": "P"}, role=None, headers=booter)
    assert plain.status == 201 and plain.value["site_addressed"]
    rule = {"name": "cpe", "profiles": ["tr069_cpe"], "hostname": "cpe-{serial}"}
    for settings in ({"make_nas": True}, {"credential": "core"}, {"configuration": "x"}):
        assert (await api.post("/ztp/rules", {**rule, "settings": settings}, role=None, headers=booter)).status == 403
    ruled = await api.post("/ztp/rules", {**rule, "settings": {"configuration": "x"}}, role=None, headers=keeper)
    assert ruled.status == 201 and not ruled.value["site_addressed"]
    assert (await api.patch(f"/ztp/rules/{ruled.value['id']}", {"profiles": ["plain"]}, role=None, headers=booter)).status == 403
    other = await api.post("/ztp/rules", {**rule, "name": "other"}, role=None, headers=booter)
    path = f"/ztp/rules/{other.value['id']}"
    assert other.value["site_addressed"] and (await api.patch(path, {"position": 7})).value["site_addressed"]  # an administrator's order is no word for it
    assert not (await api.patch(path, {"model": "X"})).value["site_addressed"]


async def test_a_rule_does_not_take_the_name_of_a_device(api: Api, database: Database) -> None:
    await api.post("/devices", {"hostname": "core1", "mgmt_address": "192.0.2.1", "vendor": "generic"})
    await api.post("/roles", {"name": "booter", "title": "B", "permissions": ["ztp:read", "ztp:write"]})
    headers = bearer(await api.post("/tokens", {"name": "booter", "role": "booter"}))
    made = await api.post("/ztp/rules", {"name": "cpe", "profiles": ["plain"], "hostname": "core1"}, role=None, headers=headers)
    assert made.status == 201
    deps = api.deps
    async with database.transaction() as conn:
        subnet = await conn.fetchval("insert into dhcp_subnets (tenant_id, name, prefix) values (1, 'a', '10.1.0.0/24') returning id")
        found = await conn.fetchval(
            """insert into ztp_candidates (tenant_id, subnet_id, identity, serial, profile, said, first_seen_at, last_seen_at)
               values (1, $1, $2, 'S', 'plain', '{}', now(), now()) returning id""", subnet, bytes(32),
        )  # fmt: skip
        candidate = await expected.candidate(conn, 1, found)
        assert candidate is not None
        profiles = {each.name: each for each in deps.boot_profiles}
        assert await adoption.arrived(conn, 1, candidate, deps.keyring, profiles, deps.now(), 30, 0) is None
    assert (await api.get("/ztp/devices")).value["items"] == []


async def test_a_certificate_is_revoked_where_its_device_is_managed(api: Api, database: Database) -> None:
    await api.post("/sites", {"name": "oslo"})
    await api.post("/roles", {"name": "keeper", "title": "K", "permissions": ["ztp:read", "ztp:write", "devices:write"]})
    site = bearer(await api.post("/tokens", {"name": "site", "role": "keeper", "site": "oslo"}))
    authority = (await api.post("/ztp/authorities", {})).value["id"]
    found: dict[str, int] = {}
    for serial, place in (("here", "oslo"), ("elsewhere", None)):
        device = (await api.post("/ztp/devices", {**MINE, "hostname": serial, "serial": serial, "site": place})).value
        async with database.acquire() as conn:
            found[serial] = await conn.fetchval(
                """insert into certificates (tenant_id, ztp_device_id, authority_id, subject, names, algorithm, certificate, serial, fingerprint, not_before,
                                             not_after)
                   values (1, $1, $2, 'CN=x', '{x}', 'ec', 'x', $3, 'f', now(), now() + interval '1 day') returning id""", device["id"], authority, serial,
            )  # fmt: skip
    revoked = await api.post(f"/ztp/certificates/{found['here']}/revoke", {}, role=None, headers=site)
    assert (revoked.status, revoked.value["revocation_reason"]) == (200, "unspecified")
    assert (await api.post(f"/ztp/certificates/{found['elsewhere']}/revoke", {}, role=None, headers=site)).status == 404
    async with database.acquire() as conn:
        assert await conn.fetchval("select array_agg(serial) from certificate_revocations") == ["here"]
