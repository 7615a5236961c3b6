"""/dhcp: subnets and reservations, as an operator sees them."""

from netd.store import leases
from netd.store.database import Database
from tests.web.running import Api

ACCESS = {
    "name": "access",
    "prefix": "10.1.0.0/24",
    "serves": "classes",
    "profiles": ["plain"],
    "pool": "access",
    "router": "10.1.0.1",
    "dns_servers": ["10.99.0.53"],
}


async def pool(api: Api, ranges: str = "10.1.0.10-10.1.0.40", name: str = "access", kind: str = "ipv4") -> None:
    made = await api.post("/pools", {"name": name, "kind": kind, "ranges": [ranges]})
    assert made.status == 201


async def test_a_subnet_is_made_changed_and_removed(api: Api, database: Database) -> None:
    await pool(api)
    made = await api.post("/dhcp/subnets", {**ACCESS, "variables": {"acs_url": "https://acs.example.net/"}})
    assert made.status == 201
    assert {name: made.value[name] for name in ("prefix", "pool", "router", "dns_servers", "profiles", "variables", "lease_seconds")} == {
        "prefix": "10.1.0.0/24", "pool": "access", "router": "10.1.0.1", "dns_servers": ["10.99.0.53"], "profiles": ["plain"],
        "variables": {"acs_url": "https://acs.example.net/"}, "lease_seconds": 3600,
    }  # fmt: skip
    path = f"/dhcp/subnets/{made.value['id']}"
    changed = await api.patch(path, {"profiles": ["tr069_cpe", "plain"], "lease_seconds": 600, "router": None})
    assert (changed.value["profiles"], changed.value["lease_seconds"], changed.value["router"]) == (["tr069_cpe", "plain"], 600, None)
    assert (await api.get("/dhcp/subnets?name=ACCESS")).value["items"] == [changed.value]
    assert (await api.delete(path)).status == 204
    assert (await api.get(path)).status == 404
    async with database.acquire() as conn:
        told = await conn.fetch("select action from audit_log where action like 'dhcp%' order by id")
    assert [row["action"] for row in told] == ["dhcp_subnet.create", "dhcp_subnet.update", "dhcp_subnet.delete"]


async def test_every_fault_of_a_subnet_is_told(api: Api) -> None:
    await pool(api, "10.2.0.0/24")
    await pool(api, "2001:db8::/48", "homes", "delegated")
    wrong = {
        "name": "x", "prefix": "10.1.0.0/24", "profiles": ["plain", "no_such"], "pool": "access", "site": "nowhere", "router": "10.9.0.1",
        "dns_servers": ["2001:db8::1", "xx"], "domain": "-", "variables": {"A": "b", "acs_password": "geheim", "x": "a\nb"},
    }  # fmt: skip
    answer = await api.post("/dhcp/subnets", wrong)
    assert answer.status == 422
    assert {fault["pointer"] for fault in answer.value["errors"]} == {
        "/profiles/1", "/pool", "/site", "/router", "/dns_servers/0", "/dns_servers/1", "/domain", "/variables/A", "/variables/acs_password", "/variables/x",
    }  # fmt: skip
    assert "geheim" not in str(answer.value)
    for body, pointer in (
        ({"name": "x", "prefix": "10.1.0.0/24", "pool": "homes"}, "/pool"), ({"name": "x", "prefix": "10.1.0.0/24", "pool": "none"}, "/pool"),
        ({"name": "x", "prefix": "10.1.0.0/24", "serves": "classes"}, "/profiles"), ({"name": "x", "prefix": "2001:db8::/80"}, "/prefix"),
        ({"name": "x", "prefix": "10.1.0.7/24"}, "/prefix"),
    ):  # fmt: skip
        assert [fault["pointer"] for fault in (await api.post("/dhcp/subnets", body)).value["errors"]] == [pointer]


async def test_subnets_do_not_overlap(api: Api) -> None:
    assert (await api.post("/dhcp/subnets", {"name": "one", "prefix": "10.1.0.0/24"})).status == 201
    assert (await api.post("/dhcp/subnets", {"name": "two", "prefix": "10.1.0.128/25"})).status == 409
    assert (await api.post("/dhcp/subnets", {"name": "ONE", "prefix": "10.2.0.0/24"})).status == 409
    assert (await api.post("/dhcp/subnets", {"name": "six", "prefix": "::10.1.0.0/120"})).status == 422
    assert (await api.post("/dhcp/subnets", {"name": "six", "prefix": "2001:db8::/64"})).status == 201


async def test_an_address_is_set_aside_once_and_freed(api: Api) -> None:
    await pool(api)
    subnet = (await api.post("/dhcp/subnets", ACCESS)).value["id"]
    made = await api.post("/dhcp/reservations", {"subnet": "access", "kind": "mac", "value": "0200.5E00-53:01", "address": "10.1.0.11"})
    assert (made.status, made.value["value"], made.value["subnet"]) == (201, "02:00:5e:00:53:01", "access")
    for body, status in (
        ({"kind": "mac", "value": "02:00:5e:00:53:02", "address": "10.1.0.11"}, 409),
        ({"kind": "mac", "value": "02-00-5e-00-53-01", "address": "10.1.0.12"}, 409),
        ({"kind": "mac", "value": "nonsense", "address": "10.1.0.12"}, 422),
        ({"kind": "client_id", "value": "xyz", "address": "10.1.0.12"}, 422),
        ({"kind": "circuit_id", "value": "(", "address": "10.1.0.12"}, 422),
        ({"kind": "serial", "value": "JPE1", "address": "10.9.0.12"}, 422),
        ({"kind": "serial", "value": "JPE1", "address": "10.1.0.13"}, 201),
    ):
        assert (await api.post("/dhcp/reservations", {"subnet": "access", **body})).status == status, body
    assert (await api.post("/dhcp/reservations", {"subnet": "none", "kind": "serial", "value": "x", "address": "10.1.0.1"})).status == 422
    listed = (await api.get(f"/dhcp/reservations?subnet_id={subnet}&limit=1&count=true")).value
    assert (len(listed["items"]), listed["total"]) == (1, 2)
    assert (await api.delete(f"/dhcp/reservations/{made.value['id']}")).status == 204
    assert (await api.delete(f"/dhcp/reservations/{made.value['id']}")).status == 404


async def test_what_a_subscriber_has_is_not_set_aside(api: Api) -> None:
    await pool(api)
    await api.post("/dhcp/subnets", ACCESS)
    await api.post("/plans", {"name": "home", "down_bps": 1000, "up_bps": 1000})
    assert (await api.post("/subscribers", {"username": "a", "password": "secretsecret", "plan": "home", "ipv4": "10.1.0.20"})).status == 201
    answer = await api.post("/dhcp/reservations", {"subnet": "access", "kind": "serial", "value": "x", "address": "10.1.0.20"})
    assert (answer.status, answer.value["detail"]) == (409, "a subscriber has this address")
    assert (await api.post("/dhcp/reservations", {"subnet": "access", "kind": "serial", "value": "x", "address": "10.1.0.21"})).status == 201
    assert (await api.post("/subscribers", {"username": "b", "password": "secretsecret", "plan": "home", "ipv4": "10.1.0.21"})).status == 409


async def test_an_address_of_an_expected_device_is_checked_where_it_is_written(api: Api, database: Database) -> None:
    await pool(api)
    await api.post("/dhcp/subnets", ACCESS)
    await api.post("/plans", {"name": "home", "down_bps": 1000, "up_bps": 1000})
    await api.post("/subscribers", {"username": "a", "password": "secretsecret", "plan": "home", "ipv4": "10.1.0.20"})
    for value, address in (("02:00:5e:00:53:01", "10.1.0.21"), ("02:00:5e:00:53:02", "10.1.0.22")):
        await api.post("/dhcp/reservations", {"subnet": "access", "kind": "mac", "value": value, "address": address})
    device = {"profile": "plain", "mac": "02:00:5e:00:53:01"}
    assert (await api.post("/ztp/devices", {"hostname": "a", **device, "address": "10.1.0.21"})).status == 201  # reserved for itself
    made = await api.post("/ztp/devices", {"hostname": "b", "serial": "B", "profile": "plain", "address": "10.1.0.30"})
    path = f"/ztp/devices/{made.value['id']}"
    assert (await api.patch(path, {"address": "10.1.0.30"})).status == 200
    for address, what in (
        ("10.1.0.1", "router's own"), ("10.1.0.255", "subnet's own"), ("10.9.0.1", "no subnet"), ("10.1.0.20", "subscriber's"), ("10.1.0.22", "reserved"),
        ("10.1.0.21", "reserved"),
    ):  # fmt: skip
        refused = await api.patch(path, {"address": address})
        assert (refused.status, [fault["pointer"] for fault in refused.value["errors"]]) == (422, ["/address"])
        assert what in refused.value["errors"][0]["detail"]
    refused = await api.post("/ztp/devices", {"hostname": "c", "serial": "C", "profile": "plain", "address": "10.1.0.30"})
    assert (refused.status, refused.value["errors"][0]["detail"]) == (422, "is another expected device's")
    async with database.transaction() as conn:  # nobody else is given them, until they are given up
        assert await leases.taken(conn, 1, 0, ["10.1.0.29", "10.1.0.30"]) == {"10.1.0.30"}
        await conn.execute("delete from pool_spans")
    assert (await api.patch(path, {"address": "10.1.0.31"})).status == 200
    assert (await api.delete(path)).status == 204
    async with database.transaction() as conn:
        assert [span.first & 255 for _, span in await leases.spans(conn, await conn.fetchval("select id from pools"))] == [30, 31]
    for address in ("10.1.0.1", "10.1.0.0"):
        refused = await api.post("/dhcp/reservations", {"subnet": "access", "kind": "serial", "value": "x", "address": address})
        assert [fault["pointer"] for fault in refused.value["errors"]] == ["/address"]


async def test_a_pool_does_not_grow_beyond_its_subnet(api: Api) -> None:
    await pool(api)
    await api.post("/dhcp/subnets", ACCESS)
    path = f"/pools/{(await api.get('/pools?name=access')).value['items'][0]['id']}"
    refused = await api.patch(path, {"ranges": ["10.0.9.0-10.0.9.255", "10.1.0.10-10.1.0.40"]})
    assert (refused.status, [fault["pointer"] for fault in refused.value["errors"]]) == (422, ["/ranges"])
    assert (await api.patch(path, {"ranges": ["10.1.0.10-10.1.0.50"]})).status == 200


async def test_patterns_that_take_long_are_refused(api: Api) -> None:
    await pool(api)
    await api.post("/dhcp/subnets", ACCESS)
    refused = await api.post("/dhcp/reservations", {"subnet": "access", "kind": "circuit_id", "value": r"(\w+\s?)+:", "address": "10.1.0.11"})
    assert (refused.status, [fault["pointer"] for fault in refused.value["errors"]]) == (422, ["/value"])


async def test_profiles_say_what_is_known(api: Api) -> None:
    found = (await api.get("/dhcp/profiles")).value["items"]
    assert [each["name"] for each in found] == ["plain", "tr069_cpe"]
    assert found[0]["made_from"] == ["this test"]
