"""/pools, /addresses and routes over HTTP."""

from tests.web.running import Api
from tests.web.test_resources import NAS, PLAN, subscriber

POOL = {"name": "cgn", "kind": "ipv4", "ranges": ["100.64.0.0/24"], "exclusions": ["100.64.0.9"], "gateway": "100.64.0.1"}


async def lease(database, pool: int, username: str, prefix: str) -> int:
    async with database.acquire() as connection:
        made: int = await connection.fetchval(
            """insert into leases (tenant_id, pool_id, kind, scope, prefix, subscriber_id, client_id, until_at)
               select 1, p.id, p.kind, p.scope, $2::text::inet, (select id from subscribers where username_key = $3), 'line', 'infinity'
               from pools p where p.id = $1 returning id""", pool, prefix, username)  # fmt: skip
        return made


async def test_a_pool_is_made_changed_and_removed(api: Api):
    made = await api.post("/pools", POOL, role="operator")
    assert (made.status, made.value["ranges"], made.value["prefix_length"]) == (201, ["100.64.0.1-100.64.0.254"], 32)
    path = made.headers["location"].removeprefix("/api/v1")
    assert (await api.get(path, role="read_only")).headers["etag"] == '"1"'
    assert (await api.post("/pools", POOL, role="read_only")).status == 403
    usage = await api.get(f"{path}/usage", role="read_only")
    assert usage.value == {"pool_id": made.value["id"], "pool": "cgn", "total": 252, "used": 0, "remembered": 0, "free": 252}
    changed = await api.patch(path, {"grace_seconds": 60, "exclusions": []}, headers={"If-Match": '"1"'})
    assert (changed.value["grace_seconds"], changed.value["exclusions"], changed.value["version"]) == (60, [], 2)
    assert (await api.patch(path, {"grace_seconds": 60}, headers={"If-Match": '"1"'})).status == 412
    assert (await api.patch(path, {"kind": "ipv6"})).value["errors"][0]["pointer"] == "/kind"
    more = await api.post(f"{path}/ranges", {"ranges": ["100.64.1.0-100.64.1.9"], "exclusions": ["100.64.1.5"]})
    assert (more.status, more.value["ranges"][1], more.value["exclusions"]) == (200, "100.64.1.0-100.64.1.9", ["100.64.1.5"])
    overlap = await api.post(f"{path}/ranges", {"ranges": ["100.64.1.9"]})
    assert (overlap.status, overlap.value["errors"][0]["pointer"]) == (409, "/ranges")
    assert [pool["name"] for pool in (await api.get("/pools?name=CGN&kind=ipv4")).value["items"]] == ["cgn"]
    assert (await api.get("/pools?kind=ipv6")).value["items"] == []
    assert (await api.delete(path)).status == 204
    assert (await api.get(path)).status == 404


async def test_faults_point_at_their_members(api: Api):
    wrong = await api.post("/pools", {**POOL, "ranges": ["100.64.0.1", "nope"], "gateway": "2001:db8::1"})
    assert (wrong.status, {fault["pointer"] for fault in wrong.value["errors"]}) == (422, {"/ranges/1", "/gateway"})
    assert (await api.post("/pools", {**POOL, "kind": "ipx"})).status == 422


async def test_rules(api: Api):
    await api.post("/plans", PLAN)
    await api.post("/sites", {"name": "north"})
    await api.post("/radius/nas", {**NAS, "site": "north", "vrf": "red"})
    assert (await api.get("/radius/nas")).value["items"][0]["site"] == "north"
    await api.post("/pools", POOL)
    made = await api.post("/pools/rules", {"pool": "cgn", "plan": "fibre 100", "nas": "bras1", "site": "north", "vrf": "red"})
    assert (made.status, made.value["plan"], made.value["nas"], made.value["site"]) == (201, "Fibre 100", "bras1", "north")
    twice = await api.post("/pools/rules", {"pool": "cgn", "plan": "fibre 100", "nas": "bras1", "site": "north", "vrf": "red"})
    assert (twice.status, twice.value["errors"][0]["pointer"]) == (409, "/pool")
    assert (await api.post("/pools/rules", {"pool": "x", "plan": "y"})).status == 422
    assert len((await api.get("/pools/rules?pool=cgn")).value["items"]) == 1
    assert (await api.delete(f"/pools/rules/{made.value['id']}")).status == 204
    assert (await api.delete(f"/pools/rules/{made.value['id']}")).status == 404


async def test_leases_and_who_has_what(api: Api, database):
    path = (await subscriber(api)).headers["location"].removeprefix("/api/v1")
    pool = (await api.post("/pools", POOL)).value
    number = await lease(database, pool["id"], "alice", "100.64.0.7")
    for query in (f"/pools/{pool['id']}/leases", "/pools/leases?pool=cgn", "/pools/leases?username=alice", "/pools/leases?ip=100.64.0.7&state=in_use"):
        (item,) = (await api.get(query, role="read_only")).value["items"]
        assert (item["id"], item["prefix"], item["username"], item["state"], item["until_at"]) == (number, "100.64.0.7/32", "alice", "in_use", None)
    assert (await api.get("/pools/leases?ip=100.64.0.8")).value["items"] == []
    assert (await api.get("/pools/99/leases")).status == 404
    way = await api.post(f"{path}/routes", {"prefix": "10.1.0.0/24"})
    assert (way.status, way.value["prefix"], way.value["metric"]) == (201, "10.1.0.0/24", 1)
    assert (await api.get(f"{path}/routes")).value["items"] == [way.value]
    held = (await api.get("/addresses?username=alice")).value["items"]
    assert [(each["source"], each["prefix"]) for each in held] == [("route", "10.1.0.0/24"), ("lease", "100.64.0.7/32")]
    assert (await api.get("/addresses?ip=10.1.0.99")).value["items"][0]["username"] == "alice"
    assert (await api.get("/addresses")).value["errors"][0]["pointer"] == "/ip"
    refused = await api.post(f"/pools/leases/{number}/release")
    assert (refused.status, "alice" in refused.value["detail"]) == (409, True)
    assert (await api.post(f"/pools/leases/{number}/release", {"force": True})).status == 204
    assert (await api.get("/pools/leases?username=alice")).value["items"] == []
    taken = await api.post("/subscribers", {"username": "bob", "plan": "fibre 100", "ipv4": "100.64.0.7"})
    assert taken.status == 201, "what is released may be fixed"
    await lease(database, pool["id"], "alice", "100.64.0.8")
    taken = await api.post("/subscribers", {"username": "eve", "plan": "fibre 100", "ipv4": "100.64.0.8"})
    assert (taken.status, taken.value["errors"][0]["pointer"]) == (409, "/ipv4")
    assert (await api.delete(f"{path}/routes/{way.value['id']}")).status == 204


async def test_who_has_an_address_by_dhcp(api: Api, database):
    await subscriber(api)
    pool = (await api.post("/pools", POOL)).value
    number = await lease(database, pool["id"], "alice", "100.64.0.7")
    six = (await api.post("/dhcp/subnets", {"name": "six", "prefix": "2001:db8:1::/64"})).value["id"]
    async with database.acquire() as conn:
        await conn.execute(
            "update leases set dhcp_subnet_id = $2, dhcp_state = 'bound', mac = '02:00:00:00:00:07', subscriber_id = null, client_id = '01' where id = $1",
            number, six,
        )  # fmt: skip
        await conn.execute(
            """insert into dhcp_addresses (tenant_id, subnet_id, address, client_id, mac, profile, until_at, declined)
               select 1, $1, a::inet, a, m, 'plain', now() + u, d from (values ('2001:db8:1::7', '02:00:00:00:00:08', interval '1 hour', false),
                   ('2001:db8:1::8', null, interval '-1 hour', false), ('2001:db8:1::9', null, interval '1 hour', true)) v (a, m, u, d)""", six,
        )  # fmt: skip

    async def who(ip: str) -> list[tuple[str, str, str | None, str | None]]:
        return [(each["source"], each["prefix"], each["state"], each["client"]) for each in (await api.get(f"/addresses?ip={ip}")).value["items"]]

    assert await who("100.64.0.7") == [("lease", "100.64.0.7/32", "in_use", "02:00:00:00:00:07")]
    assert await who("2001:db8:1::7") == [("dhcp", "2001:db8:1::7/128", "in_use", "02:00:00:00:00:08")]
    assert await who("2001:db8:1::8") == [("dhcp", "2001:db8:1::8/128", "remembered", "2001:db8:1::8")]
    assert await who("2001:db8:1::9") == [] == await who("2001:db8:1::10")
