"""/ztp: expected devices, candidates and rules, as an operator sees them."""

from datetime import UTC, datetime

from netd.domain import pki
from netd.store.database import Database
from tests.web.running import Api

LEAF = {"hostname": "leaf1", "profile": "plain", "serial": "JPE1", "circuit_id": "olt1 .*", "variables": {"vlan": 7}}


async def test_a_device_is_expected_changed_and_removed(api: Api, database: Database) -> None:
    made = await api.post("/ztp/devices", LEAF)
    assert made.status == 201
    assert {name: made.value[name] for name in ("hostname", "state", "vendor", "transport", "variables", "image", "device_id")} == {
        "hostname": "leaf1", "state": "expected", "vendor": "generic", "transport": "http", "variables": {"vlan": 7}, "image": None, "device_id": None,
    }  # fmt: skip
    path = f"/ztp/devices/{made.value['id']}"
    changed = await api.patch(path, {"transport": "tftp", "mac": "0200.0000.0001"})
    assert (changed.value["transport"], changed.value["mac"]) == ("tftp", "02:00:00:00:00:01")
    assert (await api.get("/ztp/devices?serial=jpe1&state=expected")).value["items"] == [changed.value]
    steps = (await api.get(f"{path}/steps?count=true")).value
    assert [(step["step"], step["evidence"]) for step in steps["items"]] == [("expected", {"by": "test admin"})] and steps["total"] == 1
    assert (await api.patch(path, {"serial": None, "mac": None, "circuit_id": None})).status == 422
    assert "there is none" in (await api.get(f"{path}/preview")).value["fault"]
    await api.patch(path, {"boot_template": "hostname {{ hostname }}"})
    assert (await api.get(f"{path}/preview")).value["text"] == "hostname leaf1"
    assert (await api.post("/ztp/check", {})).value == {"rendered": 1, "faults": []}
    await api.patch(path, {"configuration": "user {{ username }} {{ password }} {{ snmp_comunity }}"})
    (fault,) = (await api.post("/ztp/check", {})).value["faults"]
    assert (fault["hostname"], fault["fault"]) == ("leaf1", "/configuration: the device's own, line 1: 'snmp_comunity' is undefined")
    await api.patch(path, {"configuration": "user {{ username }} {{ password }} {{ snmp_community }}"})
    assert (await api.get(f"{path}/preview")).value["follows"] == "user <username> <password> <snmp_community>"
    for member, value in {"hostname": "LEAF1", "serial": "jpe1", "mac": "02:00:00:00:00:01"}.items():
        other = await api.post("/ztp/devices", {"hostname": "leaf9", "profile": "plain", "serial": "J9", member: value})
        assert (other.status, [each["pointer"] for each in other.value["errors"]]) == (409, [f"/{member}"]), other.value
    assert (await api.post(f"{path}/retry", {"boot": True})).value["state"] == "expected"
    assert (await api.delete(path)).status == 204
    assert (await api.get(f"{path}/steps")).status == 404
    async with database.acquire() as conn:
        told = await conn.fetch("select action, after::text as after from audit_log where action like 'ztp%' order by id")
    assert [row["action"] for row in told] == [
        "ztp_device.create", *["ztp_device.update"] * 4, "ztp_device.retry", "ztp_device.delete",
    ]  # fmt: skip


async def test_every_fault_of_a_device_is_told(api: Api) -> None:
    wrong = {
        "hostname": "x", "profile": "no_such", "serial": "S", "mac": "zz:zz:zz:zz:zz:zz", "circuit_id": "(", "site": "nowhere", "platform": "none",
        "address": "10.0.0.300", "credential": "nobody", "variables": {"A": 1, "boot_password": "geheim"},
    }  # fmt: skip
    answer = await api.post("/ztp/devices", wrong)
    assert answer.status == 422
    assert {fault["pointer"] for fault in answer.value["errors"]} == {
        "/profile", "/mac", "/circuit_id", "/site", "/platform", "/address", "/credential", "/variables/A", "/variables/boot_password",
    }  # fmt: skip
    assert "geheim" not in str(answer.value)
    assert (await api.post("/ztp/devices", {"hostname": "x", "profile": "plain"})).status == 422
    assert (await api.post("/ztp/devices", LEAF)).status == 201
    assert (await api.post("/ztp/devices", {**LEAF, "hostname": "LEAF1", "serial": "other"})).status == 409


async def test_rules(api: Api) -> None:
    rule = {"name": "cpe", "profiles": ["tr069_cpe"], "hostname": "cpe-{serial}", "settings": {"platform": "mikrotik_routeros"}}
    made = await api.post("/ztp/rules", rule)
    assert made.status == 201
    path = f"/ztp/rules/{made.value['id']}"
    assert (await api.patch(path, {"model": "RB.*", "enabled": False})).value["model"] == "RB.*"
    wrong = await api.post("/ztp/rules", {**rule, "name": "bad", "profiles": ["x"], "model": "(", "settings": {"serial": "S", "transport": "pigeon"}})
    assert {fault["pointer"] for fault in wrong.value["errors"]} == {"/profiles/0", "/model", "/settings/serial", "/settings/transport"}
    assert (await api.get("/ztp/rules?enabled=false")).value["items"][0]["name"] == "cpe"
    assert (await api.delete(path)).status == 204


async def test_candidates(api: Api, database: Database) -> None:
    assert (await api.post("/dhcp/subnets", {"name": "access", "prefix": "10.1.0.0/24"})).status == 201
    async with database.acquire() as conn:
        found = await conn.fetchval(
            """insert into ztp_candidates (tenant_id, subnet_id, identity, serial, profile, said, first_seen_at, last_seen_at)
               select 1, id, $1, 'X9', 'plain', '{"vendor_class": "Acme"}', now(), now() from dhcp_subnets returning id""", bytes(32),
        )  # fmt: skip
    path = f"/ztp/candidates/{found}"
    assert (await api.get(path)).value["said"] == {"vendor_class": "Acme"}
    assert (await api.patch(path, {"ignored": True})).value["state"] == "ignored"
    assert (await api.get("/ztp/candidates?state=new")).value["items"] == []
    adopted = await api.post(f"{path}/adopt", {"hostname": "new1"})
    assert (adopted.status, adopted.value["serial"]) == (201, "X9")
    assert (await api.post(f"{path}/adopt", {"hostname": "new2"})).status == 409
    assert (await api.get("/ztp/candidates/999")).status == 404


async def test_check(api: Api) -> None:
    await api.post("/ztp/devices", LEAF)
    await api.post("/ztp/devices", {**LEAF, "hostname": "leaf2", "serial": "JPE2", "boot_template": "vlan {{ vlan }}"})
    answer = (await api.post("/ztp/check", {})).value
    assert (answer["rendered"], [fault["hostname"] for fault in answer["faults"]]) == (1, ["leaf1"])


async def test_a_customers_device(api: Api) -> None:
    await api.post("/plans", {"name": "home", "down_bps": 1_000_000, "up_bps": 1_000_000})
    alice = (await api.post("/subscribers", {"username": "alice", "plan": "home", "state": "pending"})).value["id"]
    wrong = await api.post("/ztp/devices", {**LEAF, "subscriber": "bob"})
    assert [(fault["pointer"], fault["detail"]) for fault in wrong.value["errors"]] == [("/subscriber", "there is no subscriber bob")]
    made = await api.post("/ztp/devices", {**LEAF, "subscriber": "ALICE", "boot_template": "{{ subscriber.plan }} {{ subscriber.down_bps }}"})
    assert (made.value["subscriber"], made.value["subscriber_id"], made.value["armed"], made.value["verify"]) == ("alice", alice, False, "facts")
    path = f"/ztp/devices/{made.value['id']}"
    assert (await api.get(f"{path}/preview")).value["text"] == "home 1000000"
    assert (await api.get(f"/ztp/devices?subscriber_id={alice}&armed=false")).value["items"] == [made.value]
    refused = await api.post(f"{path}/retry", {"boot": True})
    assert refused.status == 409 and "alice has no service" in refused.value["detail"]
    switch = {"hostname": "ont1", "mgmt_address": "192.0.2.9", "vendor": "generic", "subscriber": "alice"}
    assert (await api.post("/devices", switch)).value["subscriber"] == "alice"
    assert (await api.delete(f"/subscribers/{alice}")).status == 204
    assert (await api.get(path)).status == 404
    (row,) = (await api.get("/audit?action=subscriber.delete")).value["items"]
    assert row["before"]["ztp_devices"] == ["leaf1"]
    assert [each["subscriber"] for each in (await api.get("/devices")).value["items"]] == [None]


async def test_authorities_and_certificates(api: Api, database: Database) -> None:
    assert (await api.get("/ztp/authorities")).value["items"] == [] and (await api.get("/ztp/certificates")).value["items"] == []
    first = await api.post("/ztp/authorities", {})
    assert first.status == 201 and first.value["supplied"] is False and "PRIVATE KEY" not in first.raw.decode()
    ours = pki.authority("Ours", datetime.now(UTC))
    for wrong in ({"certificate": ours.certificate}, {"certificate": first.value["certificate"], "key": ours.key}, {"key": ours.key}):
        answer = await api.post("/ztp/authorities", wrong)
        assert answer.status == 422 and answer.value["errors"][0]["pointer"] == "/certificate" and ours.key[40:80] not in answer.raw.decode()
    narrow = await api.post("/tokens", {"name": "expects", "role": "operator", "permissions": ["ztp:read", "ztp:write", "devices:write"]})
    expects = {"Authorization": f"Bearer {narrow.value['text']}"}
    refused = await api.post("/ztp/authorities", {"certificate": ours.certificate, "key": ours.key}, role=None, headers=expects)
    assert refused.status == 403 and "credentials:write" in refused.value["detail"]
    supplied = await api.post("/ztp/authorities", {"certificate": ours.certificate, "key": ours.key})
    assert (supplied.value["supplied"], supplied.value["subject"], supplied.value["certificate"]) == (True, "CN=Ours", ours.certificate)
    assert (await api.get("/ztp/authorities")).value["items"] == [supplied.value, first.value]
    folder = await api.post("/ztp/devices", {**LEAF, "certificate_folder": "flash:"})
    assert [fault["pointer"] for fault in folder.value["errors"]] == ["/certificate_folder"]
    assert (await api.post("/ztp/devices", {**LEAF, "certificate": "ec", "certificate_folder": "flash:"})).value["certificate"] == "ec"
    async with database.acquire() as conn:
        told = str(await conn.fetch("select to_jsonb(a) from audit_log a"))
    assert "certificate_authority.create" in told and ours.key[40:80] not in told
