"""Devices, groups, credentials and what was observed of devices, by the API."""

from netd.store.database import Database
from tests.web.running import Api

CORE = {"hostname": "core1", "mgmt_address": "10.0.0.1", "vendor": "mikrotik", "platform": "mikrotik_routeros", "tags": ["core"]}


async def test_devices(api: Api):
    made = await api.post("/devices", CORE)
    assert (made.status, made.value["kind"], made.value["observed"], made.headers["etag"]) == (201, "router", {}, '"1"')
    where = f"/devices/{made.value['id']}"
    assert (await api.get(where, headers={"If-None-Match": '"1"'})).status == 304
    refused = await api.post("/devices", {**CORE, "vendor": "acme", "mgmt_address": "10.0.0.0/8"})
    assert (refused.status, {fault["pointer"] for fault in refused.value["errors"]}) == (422, {"/vendor", "/mgmt_address"})
    assert (await api.post("/devices", CORE)).status == 409
    changed = await api.patch(where, {"state": "maintenance", "ports": {"ssh": 2222}}, headers={"If-Match": '"1"'})
    assert (changed.status, changed.value["state"], changed.value["ports"]) == (200, "maintenance", {"ssh": 2222})
    assert (await api.patch(where, {"note": "x"}, headers={"If-Match": '"1"'})).status == 412
    assert [each["hostname"] for each in (await api.get("/devices?tag=core&state=maintenance&fields=hostname")).value["items"]] == ["core1"]
    many = [{"do": "create", "value": {**CORE, "hostname": f"r{n}", "mgmt_address": f"10.0.1.{n}"}} for n in range(3)]
    done = await api.post("/devices/bulk", {"items": [*many, {"do": "delete", "id": made.value["id"]}, {"do": "reboot"}]})
    assert (done.value["done"], done.value["refused"]) == (4, 1)
    assert (await api.get("/devices?count=true")).value["total"] == 3
    for role, status in (("operator", 201), ("read_only", 403)):
        assert (await api.post("/devices", {**CORE, "hostname": role}, role=role)).status == status


async def test_credentials(api: Api):
    secret = {"name": "core", "type": "snmp_user", "username": "netd", "auth_protocol": "sha256", "auth_key": "s3cr3t-auth", "networks": ["10.0.0.0/8"]}
    made = await api.post("/credentials", secret)
    assert (made.status, made.value["secrets"], made.value["settings"]) == (201, ["auth_key"], {"auth_protocol": "sha256"})
    where = f"/credentials/{made.value['id']}"
    assert (await api.patch(where, {"priv_protocol": "aes128"})).status == 422
    assert (await api.patch(where, {"priv_protocol": "aes128", "priv_key": "s3cr3t-priv"})).value["secrets"] == ["auth_key", "priv_key"]
    for answer in (made, await api.get(where), await api.get("/credentials"), await api.get("/audit?limit=50")):
        assert answer.status == 200 + (answer is made) and b"s3cr3t" not in answer.raw
    assert (await api.get("/credentials", role="read_only")).status == 403
    assert (await api.delete(where)).status == 204


async def test_what_was_observed(api: Api, database: Database):
    device = (await api.post("/devices", CORE)).value["id"]
    async with database.acquire() as conn:
        await conn.execute(
            """insert into interfaces (tenant_id, device_id, if_index, name, oper_up, speed_bps) select 1, $1, n, 'ether' || n, n <> 2, 10^9
               from generate_series(1, 3) n""", device,
        )  # fmt: skip
        await conn.execute(
            """insert into links (tenant_id, device_id, identity, local_interface, protocol, remote_name, remote_device_id, first_seen_at, last_seen_at)
               values (1, $1, 'x', 'ether1', 'lldp', 'core1', $1, now(), now())""", device,
        )  # fmt: skip
        await conn.execute(
            """insert into endpoints (tenant_id, device_id, source, mac, address, interface, first_seen_at, last_seen_at)
               values (1, $1, 'arp', '00:11:22:33:44:55', '10.1.0.7', 'ether2', now(), now())""", device,
        )  # fmt: skip
    found = (await api.get(f"/interfaces?device_id={device}&oper_up=false")).value["items"]
    assert [(each["name"], each["device"], each["monitored"]) for each in found] == [("ether2", "core1", True)]
    where = f"/interfaces/{found[0]['id']}"
    changed = await api.patch(where, {"monitored": False, "note": "spare"}, headers={"If-Match": '"1"'})
    assert (changed.value["monitored"], changed.value["note"], changed.value["version"]) == (False, "spare", 2)
    assert (await api.get(where)).value == changed.value
    bulk = await api.post("/interfaces/bulk", {"items": [{"do": "update", "id": each, "value": {"monitored": False}} for each in (found[0]["id"], 999)]})
    assert (bulk.value["done"], bulk.value["refused"]) == (1, 1)
    link = (await api.get("/links?device=CORE1")).value["items"][0]
    assert (link["remote_device"], link["local_interface"]) == ("core1", "ether1")
    for query in ("mac=00:11:22:33:44:55", "address=10.1.0.7", "source=arp"):
        assert [each["interface"] for each in (await api.get(f"/endpoints?{query}")).value["items"]] == ["ether2"], query
    assert (await api.get("/endpoints?address=nowhere")).status == 422
    assert (await api.get("/device-facts")).value["items"] == []


async def test_groups(api: Api):
    await api.post("/devices", CORE)
    made = await api.post("/device-groups", {"name": "core", "selector": {"tags": ["core"]}})
    assert (made.status, made.value["devices"], made.value["selector"]["tags"]) == (201, 1, ["core"])
    where = f"/device-groups/{made.value['id']}"
    assert (await api.patch(where, {"selector": {"kinds": ["olt"]}})).value["devices"] == 0
    assert (await api.post("/device-groups", {"name": "x", "selector": {"colour": "red"}})).status == 422
    assert [each["name"] for each in (await api.get("/device-groups")).value["items"]] == ["core"]
    assert (await api.delete(where)).status == 204
