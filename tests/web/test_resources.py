"""Each resource over HTTP: what goes in, what comes out, what is refused and where the fault is."""

from datetime import UTC, datetime

import msgspec
import pytest

from netd.model.control import ControlResult
from tests.web.running import Api

PLAN = {"name": "Fibre 100", "down_bps": 100_000_000, "up_bps": 20_000_000}
NAS = {"name": "bras1", "address": "10.0.0.1", "secret": "testing123", "vendor": "mikrotik"}


async def subscriber(api: Api, username: str = "alice", **more):
    if not (await api.get("/plans")).value["items"]:
        assert (await api.post("/plans", PLAN)).status == 201
    answer = await api.post("/subscribers", {"username": username, "password": "sesame", "plan": "fibre 100", **more})
    assert answer.status == 201, answer.raw
    return answer


async def open_session(database, username: str = "alice", unique_id: str = "a" * 32) -> int:
    async with database.acquire() as connection:
        made: int = await connection.fetchval(
            """insert into sessions (acctuniqueid, tenant_id, acctsessionid, username, nasipaddress, nassourceaddress, acctstarttime, acctupdatetime,
                                     interim_seconds, framedipaddress)
               values ($1, 1, 'S1', $2, '10.0.0.1', '10.0.0.1', now(), now(), 300, '192.0.2.7') returning radacctid""",
            unique_id,
            username,
        )
        return made


async def test_a_plan_is_made_shown_changed_and_removed(api: Api):
    made = await api.post("/plans", PLAN, role="operator")
    assert (made.status, made.value["down_bps"], made.value["version"]) == (201, 100_000_000, 1)
    assert made.value["created_at"].endswith("Z")
    path = made.headers["location"].removeprefix("/api/v1")
    shown = await api.get(path, role="read_only")
    assert (shown.value, shown.headers["etag"]) == (made.value, '"1"')
    assert (await api.get(path, headers={"If-None-Match": '"1"'})).status == 304

    changed = await api.patch(path, {"up_bps": 50_000_000, "ipv4_pool": "p1"}, headers={"If-Match": '"1"'})
    assert (changed.status, changed.value["up_bps"], changed.headers["etag"]) == (200, 50_000_000, '"2"')
    for stale in ('"1"', '"x"', "2", 'W/"2"', '"1", "2"'):
        answer = await api.patch(path, {"up_bps": 1_000_000}, headers={"If-Match": stale})
        assert (answer.status, answer.value["type"]) == (412, "/problems/precondition-failed"), stale
    assert (await api.delete(path, headers={"If-Match": '"1"'})).status == 412
    assert (await api.patch(path, {"ipv4_pool": None}, headers={"If-Match": "*"})).value["ipv4_pool"] is None
    gone = await api.delete(path)
    assert (gone.status, gone.raw) == (204, b"")
    assert (await api.get(path)).status == 404


async def test_faults_point_at_their_members(api: Api):
    await api.post("/plans", PLAN)
    taken = await api.post("/plans", {**PLAN, "name": "FIBRE 100"})
    assert (taken.status, taken.value["errors"][0]["pointer"]) == (409, "/name")
    several = await api.post("/plans", {**PLAN, "name": "x", "dns": ["nope", "192.0.2.1", "also"], "burst_seconds": 5})
    assert several.status == 422
    assert {fault["pointer"] for fault in several.value["errors"]} == {"/dns/0", "/dns/2", "/burst_seconds"}
    unknown = await api.post("/plans", {**PLAN, "down": 1})
    assert (unknown.status, unknown.value["errors"][0]["pointer"]) == (422, "/down")
    small = await api.post("/plans", {**PLAN, "up_bps": 5})
    assert (small.status, small.value["errors"][0]["pointer"]) == (422, "/up_bps")


async def test_lists_are_paged_and_counted(api: Api):
    for number in range(5):
        await api.post("/plans", {**PLAN, "name": f"P{number}"})
    names: list[str] = []
    query = "/plans?limit=2&count=true"
    while True:
        page = (await api.get(query)).value
        assert page["total"] == 5
        names += [plan["name"] for plan in page["items"]]
        if page["next"] is None:
            break
        query = f"/plans?limit=2&count=true&after={page['next']}"
    assert names == ["P0", "P1", "P2", "P3", "P4"]
    plain = (await api.get("/plans?limit=2")).value
    assert set(plain) == {"items", "next"}
    assert [plan["name"] for plan in (await api.get("/plans?name=p3")).value["items"]] == ["P3"]


async def test_a_nas_never_tells_its_secret(api: Api):
    made = await api.post("/radius/nas", NAS)
    assert (made.status, made.value["address"], made.value["vendor"]) == (201, "10.0.0.1/32", "mikrotik")
    path = made.headers["location"].removeprefix("/api/v1")
    changed = await api.patch(path, {"secret": "another-secret", "coa_port": 1700})
    listed = await api.get("/radius/nas?name=BRAS1")
    audit = await api.get("/audit?object_type=nas")
    for answer in (made, changed, listed, audit):
        assert b"testing123" not in answer.raw
        assert b"another-secret" not in answer.raw
    assert len(listed.value["items"]) == 1
    assert (await api.post("/radius/nas", {**NAS, "name": "x", "address": "10.0.0.2", "vendor": "acme"})).value["errors"][0]["pointer"] == "/vendor"
    assert (await api.post("/radius/nas", {**NAS, "name": "x"})).value["errors"][0]["pointer"] == "/address"
    assert (await api.delete(path)).status == 204


async def test_a_subscriber_lives(api: Api):
    made = await subscriber(api, ipv4="192.0.2.7", checks=[{"attribute": "Calling-Station-Id", "value": "x"}])
    path = made.headers["location"].removeprefix("/api/v1")
    assert (made.value["plan"], made.value["ipv4"]) == ("Fibre 100", "192.0.2.7")
    assert [item["id"] for item in (await api.get("/subscribers?username=ALICE")).value["items"]] == [made.value["id"]]
    assert (await api.get("/subscribers?username=bob")).value["items"] == []
    assert len((await api.get("/subscribers?q=al&state=active&plan=fibre%20100")).value["items"]) == 1
    changed = await api.patch(path, {"full_name": "Alice A.", "ipv4": None, "checks": []})
    assert (changed.value["full_name"], changed.value["ipv4"], changed.value["checks"]) == ("Alice A.", None, [])
    assert (await api.post(path + "/password", {"password": "open-sesame"})).status == 204
    audit = await api.get("/audit?object_type=subscriber")
    for answer in (made, changed, audit):
        assert b"sesame" not in answer.raw
    assert audit.value["items"][0]["action"] == "subscriber.set_password"
    strange = await api.patch(path, {"replies": [{"attribute": "Nonsense", "value": "1"}]})
    assert (strange.status, strange.value["errors"][0]["pointer"]) == (422, "/replies/0")
    wrong = await api.post("/subscribers", {"username": "bob", "plan": "none such", "ipv4": "1.2.3"})
    assert {fault["pointer"] for fault in wrong.value["errors"]} == {"/plan", "/ipv4"}
    assert (await api.delete(path)).status == 204


async def test_what_was_read_of_access_policies_can_be_sent_back(api: Api):
    await api.post("/radius/nas", {**NAS, "line_login": ["mac"], "line_login_passwords": ["fixed"], "line_login_password": "sesame"})
    lines = [{"circuit_id": "0x00ff"}, {"nas": "bras1", "mac": "0011.22aa.bbcc"}]
    made = await subscriber(api, access_hours="Sa 22:00-06:00", line_mode="log", lines=lines, mac_addresses=["00-11-22-AA-BB-CC"])
    path = made.headers["location"].removeprefix("/api/v1")
    again = await api.patch(path, {name: made.value[name] for name in ("access_hours", "line_mode", "lines", "mac_addresses", "circuit_ids", "vlan")})
    assert again.status == 200, again.raw
    assert {**again.value, "version": 1, "updated_at": None} == {**made.value, "updated_at": None}
    wrong = await api.patch(path, {"lines": [{"circuit_id": "ok"}, {}], "access_hours": "Mo 8-9", "time_zone": "Nowhere", "vlan": "5000"})
    assert {fault["pointer"] for fault in wrong.value["errors"]} == {"/lines/1", "/access_hours", "/time_zone", "/vlan"}
    shown = (await api.get("/radius/nas")).value["items"][0]
    assert (shown["line_login"], shown["line_login_passwords"]) == (["mac"], ["fixed"])
    assert "line_login_password" not in shown


async def test_verbs_and_locks(api: Api):
    path = (await subscriber(api)).headers["location"].removeprefix("/api/v1")
    suspended = await api.post(path + "/suspend", {"note": "unpaid"})
    assert (suspended.status, suspended.value["changed"], suspended.value["subscriber"]["state"]) == (200, True, "suspended")
    assert (await api.post(path + "/suspend")).value["changed"] is False
    assert (await api.post(path + "/restore")).value["subscriber"]["state"] == "active"
    assert (await api.post(path + "/activate")).status == 200
    assert (await api.post(path + "/reactivate")).value["was"] == "active"

    assert (await api.post(path + "/locks", {"reason": "overdue", "mode": "walled"})).status == 201
    assert (await api.post(path + "/locks", {"reason": "fraud", "until_at": "2099-01-01T00:00:00+02:00"})).status == 201
    locks = (await api.get(path + "/locks")).value["items"]
    assert [(lock["reason"], lock["mode"], lock["until_at"]) for lock in locks] == [("overdue", "walled", None), ("fraud", "reject", "2098-12-31T22:00:00Z")]
    left = await api.delete(path + "/locks/overdue")
    assert [lock["reason"] for lock in left.value["locks"]] == ["fraud"]
    assert (await api.delete(path + "/locks/overdue")).status == 404
    past = await api.post(path + "/locks", {"reason": "admin", "until_at": "2020-01-01T00:00:00Z"})
    assert (past.status, past.value["errors"][0]["pointer"]) == (422, "/until_at")
    assert (await api.post(path + "/terminate")).value["subscriber"]["state"] == "terminated"
    refused = await api.post(path + "/restore")
    assert (refused.status, refused.value["type"]) == (409, "/problems/conflict")


async def test_explaining_by_name_and_by_id(api: Api, database):
    made = await subscriber(api)
    path = made.headers["location"].removeprefix("/api/v1")
    by_name = await api.get("/subscribers/explain?username=Alice", role="read_only")
    assert (by_name.status, by_name.value["accept"], by_name.value["plan"]["name"]) == (200, True, "Fibre 100")
    assert (await api.get(path + "/explain")).value == by_name.value
    assert (await api.get("/subscribers/explain?username=ghost")).status == 404
    assert (await api.get("/subscribers/explain")).value["errors"][0]["pointer"] == "/username"
    async with database.acquire() as connection:
        await connection.execute(
            "insert into radpostauth (tenant_id, username, username_key, reply, reason, authdate) "
            "values (1, 'Ghost', 'ghost', 'Access-Reject', 'unknown_user', now())"
        )
    unknown = await api.get("/subscribers/explain?username=ghost")
    assert (unknown.value["subscriber"], unknown.value["reason"], len(unknown.value["attempts"])) == (None, "unknown_user", 1)


async def test_attempts_page_back_in_time(api: Api, database):
    async with database.acquire() as connection:
        await connection.execute(
            "insert into radpostauth (tenant_id, username, username_key, reply, reason, authdate) "
            "select 1, 'Ghost', 'ghost', 'Access-Reject', 'unknown_user', now() - n * interval '1 minute' from generate_series(1, 5) as n"
        )
    first = (await api.get("/radius/postauth?username=GHOST&limit=2&count=true", role="read_only")).value
    second = (await api.get(f"/radius/postauth?username=GHOST&limit=2&after={first['next']}")).value
    last = (await api.get(f"/radius/postauth?username=GHOST&limit=2&after={second['next']}")).value
    assert (first["total"], last["next"]) == (5, None)
    assert [row["id"] for page in (first, second, last) for row in page["items"]] == [1, 2, 3, 4, 5]
    assert {(row["username"], row["reply"]) for row in first["items"]} == {("Ghost", "Access-Reject")}
    everybody = (await api.get("/radius/postauth?sort=at&limit=1&reply=Access-Reject&reason__in=unknown_user,ok&calling_station_id__null=true")).value
    assert [row["id"] for row in everybody["items"]] == [5], "the oldest first, of whatever name"
    assert (await api.get("/radius/postauth?sort=username")).value["errors"][0]["pointer"] == "/sort"


async def test_import_all_or_nothing_dry_and_skipping(api: Api):
    await api.post("/plans", PLAN)
    csv = {"Content-Type": "text/csv; charset=utf-8"}
    good = b"username,password,plan,ipv4\nbob,pw1,Fibre 100,192.0.2.1\ncarol,pw2,fibre 100,\n"
    bad = good.replace(b"192.0.2.1", b"192.0.2.999") + b"dave,pw3,none,\n"
    dry = await api.call("POST", "/subscribers/import?dry_run=true", data=bad, headers=csv)
    assert (dry.status, dry.value["rows"], dry.value["good"], dry.value["error_count"], dry.value["imported"]) == (200, 3, 1, 2, 0)
    refused = await api.call("POST", "/subscribers/import", data=bad, headers=csv)
    assert (refused.status, refused.value["type"]) == (422, "/problems/invalid")
    assert [fault["pointer"] for fault in refused.value["errors"]] == ["line 2, column ipv4", "line 4, column plan"]
    assert [(error["line"], error["column"]) for error in refused.value["report"]["errors"]] == [(2, "ipv4"), (4, "plan")]
    assert (await api.get("/subscribers")).value["items"] == []
    skipped = await api.call("POST", "/subscribers/import?skip_bad=true", data=bad, headers=csv)
    assert (skipped.status, skipped.value["imported"], skipped.value["skipped"]) == (200, 1, 2)
    clash = await api.call("POST", "/subscribers/import", data=good, headers=csv)
    assert clash.value["report"]["errors"][0]["line"] == 3
    assert (await api.call("POST", "/subscribers/import", data=good, headers={"Content-Type": "application/json"})).status == 415
    assert (await api.call("POST", "/subscribers/import?dry=1", data=good, headers=csv)).status == 422
    assert b"pw1" not in refused.raw + skipped.raw


async def test_an_import_may_be_larger_than_a_body_but_not_than_its_limit(api: Api, monkeypatch):
    await api.post("/plans", PLAN)
    rows = b"".join(b"user%06d,password-%06d,Fibre 100\n" % (number, number) for number in range(40_000))
    data = b"username,password,plan\n" + rows
    assert len(data) > 1 << 20
    csv = {"Content-Type": "text/csv"}
    assert (await api.call("POST", "/subscribers/import?dry_run=true", data=data, headers=csv)).value["good"] == 40_000
    monkeypatch.setattr("netd.web.api.route.MAX_OCTETS", 1 << 20)
    answer = await api.call("POST", "/subscribers/import", data=data, headers=csv)
    assert (answer.status, answer.value["type"]) == (413, "/problems/too-large")


@pytest.mark.parametrize(
    ("result", "status", "slug"),
    [
        (
            ControlResult(outcome="nak", action="disconnect", error_cause=503, error_cause_name="Session-Context-Not-Found", session_closed=True),
            409,
            "nas-refused",
        ),
        (ControlResult(outcome="timeout", action="disconnect", attempts=3), 504, "nas-silent"),
        (ControlResult(outcome="error", action="disconnect", detail="no route"), 502, "nas-unreachable"),
    ],
)
async def test_what_the_nas_said_is_the_answer(api: Api, database, result, status, slug):
    session = await open_session(database)
    api.control.result = result
    answer = await api.post(f"/radius/sessions/{session}/disconnect")
    assert (answer.status, answer.value["type"]) == (status, f"/problems/{slug}")
    assert answer.value["outcome"] == msgspec.to_builtins(result)


async def test_sessions_are_listed_shown_and_ended(api: Api, database):
    session = await open_session(database)
    assert [item["id"] for item in (await api.get("/radius/sessions")).value["items"]] == [session]
    assert (await api.get("/radius/sessions?state=closed")).value["items"] == []
    assert len((await api.get("/radius/sessions?state=all&username=ALICE&ip=192.0.2.7&count=true")).value["items"]) == 1
    for query, pointer in (("ip=x", "/ip"), ("nas=nowhere", "/nas"), ("state=odd", "/state")):
        answer = await api.get(f"/radius/sessions?{query}")
        assert (answer.status, answer.value["errors"][0]["pointer"]) == (422, pointer)
    assert (await api.get(f"/radius/sessions/{session}")).value["framed_ip_address"] == "192.0.2.7"
    ended = await api.post(f"/radius/sessions/{session}/disconnect")
    assert (ended.status, ended.value["outcome"], ended.value["attempts"]) == (200, "ack", 1)
    assert [asked.id for asked in api.control.asked] == [session]
    assert (await api.post("/radius/sessions/424242/disconnect")).status == 404
    assert len(api.control.asked) == 1


async def test_a_login_can_be_tried(api: Api):
    await api.post("/radius/nas", NAS)
    verdict = await api.post("/radius/test/auth", {"username": "alice", "password": "sesame", "nas": "bras1"}, role="operator")
    assert (verdict.status, verdict.value["accept"], verdict.value["attributes"]) == (200, True, [["Framed-IP-Address", "192.0.2.7"]])
    assert (await api.post("/radius/test/auth", {"username": "alice", "password": "no"})).value["reason"] == "wrong_password"
    assert (await api.post("/radius/test/auth", {"username": "alice", "nas": "other"})).value["errors"][0]["pointer"] == "/nas"
    assert api.probe.asked[0][3] is not None
    assert api.probe.asked[1] == (1, "alice", "no", None)


async def test_a_login_that_was_tried_is_on_record(api: Api):
    await api.post("/radius/nas", NAS)
    await api.post("/plans", {"name": "home", "down_bps": 1000, "up_bps": 1000})
    alice = (await api.post("/subscribers", {"username": "Alice", "password": "sesame", "plan": "home"})).value["id"]
    for body in ({"username": "alice", "password": "sesame", "nas": "bras1"}, {"username": "alice", "password": "guess"}, {"username": "a\0b"}):
        assert (await api.post("/radius/test/auth", body)).status == 200
    answer = await api.get("/audit?action=radius.test_auth&sort=id")
    assert [(row["object_type"], row["object_id"], row["result"], row["after"]) for row in answer.value["items"]] == [
        ("subscriber", str(alice), "ok", {"username": "alice", "nas": "bras1", "reason": "ok"}),
        ("subscriber", str(alice), "ok", {"username": "alice", "nas": None, "reason": "wrong_password"}),
        ("subscriber", "unknown", "ok", {"username": "a\ufffdb", "nas": None, "reason": "unknown_user"}),
    ]
    assert b"sesame" not in answer.raw
    assert b"guess" not in answer.raw


async def test_usage_by_day(api: Api, database):
    made = await subscriber(api)
    async with database.acquire() as connection:
        await connection.execute(
            "insert into usage_daily (tenant_id, subscriber_id, day, up_octets, down_octets) values (1, $1, $2, 5, 9)",
            made.value["id"],
            datetime.now(UTC).date(),
        )
    path = f"/subscribers/{made.value['id']}/usage"
    answer = await api.get(path)
    assert [(day["up_octets"], day["down_octets"]) for day in answer.value["items"]] == [(5, 9)]
    assert (await api.get(path + "?first=2020-01-01&last=2020-01-31")).value == {"items": [], "next": None}
    assert (await api.get(path + "?first=2020-02-01&last=2020-01-31")).status == 422
    assert (await api.get(path + "?last=0001-01-02")).status == 200


async def test_tokens_and_rotation_are_for_admins(api: Api):
    issued = await api.post("/tokens", {"name": "portal", "role": "operator"})
    assert issued.value["text"].startswith("netd_")
    listed = await api.get("/tokens")
    assert issued.value["text"].encode() not in listed.raw
    assert {token["name"] for token in listed.value["items"]} >= {"portal", "test admin"}
    assert (await api.get(f"/tokens/{issued.value['token']['id']}")).value["name"] == "portal"
    await api.post("/radius/nas", NAS)
    rotated = await api.post("/secrets/rotate")
    assert (rotated.status, rotated.value["nas"], rotated.value["complete"]) == (200, 1, True)
    again = await api.post("/secrets/rotate", {"new_key": False})
    assert (again.value["key_id"], again.value["nas"]) == (rotated.value["key_id"], 0)


async def test_a_list_shows_the_members_asked_for(api: Api):
    for name in ("a", "b", "c"):
        await api.post("/plans", {"name": name, "down_bps": 1_000_000, "up_bps": 1_000_000})
    answer = await api.get("/plans?fields=name,id&sort=-name&limit=2&count=true")
    assert answer.value == {"items": [{"id": 3, "name": "c"}, {"id": 2, "name": "b"}], "next": answer.value["next"], "total": 3}
    rest = await api.get(f"/plans?fields=name&sort=-name&after={answer.value['next']}")
    assert rest.value == {"items": [{"name": "a"}], "next": None}
    wrong = await api.get("/plans?fields=name,secret,whim")
    assert wrong.status == 422
    assert [each["detail"].partition(";")[0] for each in wrong.value["errors"]] == ["there is no secret", "there is no whim"]
    assert (await api.get("/plans?down_bps__gte=x")).value["errors"][0]["pointer"] == "/down_bps__gte"
