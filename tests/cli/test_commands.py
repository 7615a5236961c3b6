"""The command as operators use it, against a real API."""

import io

import pytest

from netd.cli import main
from netd.model.control import ControlResult
from tests.web.test_resources import open_session

MBIT = 1_000_000


async def add_alice(netd):
    assert (await netd("plan", "add", "home", "--down", "100M", "--up", "20M")).code == 0
    added = await netd("subscriber", "add", "alice", "--password", "-", "--plan", "home", "--ipv4", "192.0.2.7", stdin="sesame\n")
    assert added.code == 0, added.err
    return added


async def test_plans(netd):
    added = await netd("plan", "add", "Gigabit", "--down", "1G", "--up", "2.5G", "--dns", "192.0.2.1,2001:db8::1", "--ipv4-pool", "p1", "--json")
    assert (added.code, added.err) == (0, "")
    assert (added.value["down_bps"], added.value["up_bps"], added.value["dns"]) == (1000 * MBIT, 2500 * MBIT, ["192.0.2.1", "2001:db8::1"])
    listed = await netd("plan", "list")
    assert [line.split() for line in listed.out.splitlines()][1][1:4] == ["Gigabit", "1G", "2.5G"]
    updated = await netd("plan", "update", "gigabit", "--down", "64k", "--ipv4-pool", "none", "--dns", "none", "--json")
    assert (updated.value["down_bps"], updated.value["ipv4_pool"], updated.value["dns"], updated.value["up_bps"]) == (64_000, None, [], 2500 * MBIT)
    shown = await netd("plan", "show", "GIGABIT")
    assert "64k" in shown.out
    assert (await netd("plan", "remove", "Gigabit")).out == "plan Gigabit is removed\n"
    missing = await netd("plan", "show", "Gigabit")
    assert (missing.code, missing.out, missing.err) == (1, "", "netd: plan Gigabit does not exist\n")


async def test_nas(netd):
    added = await netd("nas", "add", "bras1", "--address", "10.0.0.0/24", "--secret", "-", "--vendor", "mikrotik", "--coa-port", "3799", stdin="testing123\n")
    assert added.code == 0, added.err
    assert "testing123" not in added.out
    again = await netd("nas", "add", "bras1", "--address", "10.0.1.0/24", "--secret", "testing123", "--vendor", "mikrotik")
    assert (again.code, again.out) == (1, "")
    assert again.err == "netd: name: a NAS with this name exists\n"
    wrong = await netd("nas", "add", "bras2", "--address", "10.0.0.300", "--secret", "testing123", "--vendor", "acme")
    assert wrong.code == 2
    assert "address: " in wrong.err
    assert "vendor: no such vendor" in wrong.err
    assert wrong.err.count("\n") == 1
    updated = await netd("nas", "update", "BRAS1", "--enabled", "no", "--coa-port", "none", "--secret", "-", "--json", stdin="another1\n")
    assert (updated.value["enabled"], updated.value["coa_port"]) == (False, None)
    assert (await netd("nas", "list")).out.splitlines()[1].split()[1:4] == ["bras1", "10.0.0.0/24", "mikrotik"]
    assert (await netd("nas", "remove", "bras1")).code == 0


async def test_subscribers(netd, database):
    added = await add_alice(netd)
    assert "sesame" not in added.out
    assert "192.0.2.7" in added.out
    assert (await netd("subscriber", "list", "--plan", "home", "--state", "active", "--begins", "AL")).out.splitlines()[1].split()[1] == "alice"
    assert (await netd("subscriber", "suspend", "Alice", "--note", "unpaid")).out == "alice is suspended\n"
    assert (await netd("subscriber", "suspend", "alice")).out == "alice is suspended already\n"
    assert (await netd("subscriber", "show", "alice", "--json")).value["state_reason"] == "unpaid"
    refused = await netd("subscriber", "activate", "alice")
    assert (refused.code, refused.err.startswith("netd: state: subscriber alice is suspended")) == (1, True)
    assert (await netd("subscriber", "restore", "alice")).code == 0
    locked = await netd("subscriber", "lock", "alice", "--reason", "overdue", "--mode", "walled", "--until", "2099-01-01")
    assert locked.out == "alice is locked (overdue, walled) until 2099-01-01 00:00:00Z\n"
    assert "overdue:walled" in (await netd("subscriber", "list")).out
    assert (await netd("subscriber", "unlock", "alice", "--reason", "overdue")).code == 0
    assert (await netd("subscriber", "unlock", "alice", "--reason", "overdue")).code == 1
    updated = await netd("subscriber", "update", "alice", "--ipv4", "none", "--max-sessions", "3", "--expires", "2099-06-30T12:00:00+02:00", "--json")
    assert (updated.value["ipv4"], updated.value["max_sessions"], updated.value["expires_at"]) == (None, 3, "2099-06-30T10:00:00Z")
    assert (await netd("subscriber", "set-password", "alice", "--password", "-", stdin="new one\n")).out == "the password of alice is set\n"
    assert (await netd("subscriber", "set-password", "alice", "--password", "none")).out == "the password of alice is taken away\n"
    explained = await netd("subscriber", "explain", "alice")
    assert (explained.code, "no_password_set" in explained.out) == (0, True)
    async with database.acquire() as conn:
        await conn.execute(
            """insert into radpostauth (tenant_id, username, username_key, reply, reason, nasipaddress, callingstationid, authdate)
               values (1, 'alice', 'alice', 'Access-Reject', 'wrong_password', '10.0.0.1', 'AA-BB-CC', now())"""
        )
    attempt = (await netd("subscriber", "explain", "alice")).out.splitlines()[-1].split()
    assert attempt[2:4] + attempt[-2:] == ["Access-Reject", "wrong_password", "AA-BB-CC", "-"]
    assert (await netd("subscriber", "explain", "ghost")).err == "netd: subscriber ghost does not exist\n"
    assert (await netd("subscriber", "remove", "alice")).code == 0


async def test_attributes_of_a_subscriber(netd):
    assert (await netd("plan", "add", "home", "--down", "100M", "--up", "20M")).code == 0
    checks = ("--check", "Framed-Route == 'eth 1'", "--check", "Calling-Station-Id=~^aa", "--reply", "Framed-Route := slow", "--reply", "Framed-Route+=hi")
    added = await netd("subscriber", "add", "alice", "--plan", "home", *checks, "--json")
    assert added.code == 0, added.err
    assert [tuple(each.values()) for each in added.value["checks"]] == [("Framed-Route", "==", "eth 1"), ("Calling-Station-Id", "=~", "^aa")]
    assert [tuple(each.values()) for each in added.value["replies"]] == [("Framed-Route", ":=", "slow"), ("Framed-Route", "+=", "hi")]
    updated = await netd("subscriber", "update", "alice", "--check", "none", "--reply", "Framed-Route = fast", "--json")
    assert (updated.value["checks"], updated.value["replies"]) == ([], [{"attribute": "Framed-Route", "op": "=", "value": "fast"}])
    wrong = await netd("subscriber", "update", "alice", "--reply", "Filter-Id")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    unknown = await netd("subscriber", "update", "alice", "--reply", "No-Such-Thing = 1")
    assert (unknown.code, "replies/0" in unknown.err) == (2, True)


async def test_usage(netd, database):
    assert (await netd("plan", "add", "home", "--down", "100M", "--up", "20M")).code == 0
    alice = (await netd("subscriber", "add", "alice", "--plan", "home", "--json")).value
    async with database.acquire() as conn:
        await conn.execute(
            """insert into usage_daily (tenant_id, subscriber_id, day, up_octets, down_octets, session_seconds)
               values (1, $1, '2026-03-01', 1500000, 2500000000, 3700)""", alice["id"],
        )  # fmt: skip
    shown = await netd("subscriber", "usage", "alice", "--first", "2026-03-01", "--last", "2026-03-31")
    assert shown.out.splitlines()[1].split() == ["2026-03-01", "2.5", "GB", "1.5", "MB", "01:01:40"]
    assert len((await netd("subscriber", "usage", "alice", "--first", "2026-03-02", "--last", "2026-03-31")).out.splitlines()) == 1
    assert (await netd("subscriber", "usage", "alice", "--first", "1 March")).code == 2


async def test_sites_roles_and_tenants(netd):
    assert (await netd("organization", "add", "north")).code == 0
    assert (await netd("organization", "add", "arctic", "--parent", "north")).code == 0
    assert (await netd("site", "add", "alta", "--organization", "arctic", "--note", "cold")).code == 0
    assert (await netd("site", "list")).out.splitlines()[1].split()[1:] == ["alta", "arctic", "cold"]
    assert (await netd("site", "update", "Alta", "--organization", "none", "--json")).value["organization"] is None
    assert (await netd("organization", "remove", "arctic")).out == "organization arctic is removed\n"
    missing = await netd("site", "add", "rome", "--organization", "south")
    assert (missing.code, missing.err) == (2, "netd: organization: there is no organization south\n")
    assert (await netd("role", "add", "shop", "--permission", "plans:read", "--permission", "subscribers:read")).code == 0
    assert (await netd("role", "update", "shop", "--permission", "plans:read", "--json")).value["permissions"] == ["plans:read"]
    assert "plans:read" in (await netd("role", "permissions")).out
    made = await netd("token", "create", "--role", "shop", "--name", "s", "--site", "alta", "--json")
    assert (made.value["token"]["role"], made.value["token"]["site_id"] is not None) == ("shop", True)
    assert "site 1" in (await netd("token", "list")).out
    in_use = await netd("role", "remove", "shop")
    assert (in_use.code, in_use.err) == (1, "netd: role: there is no such role, or tokens still have it\n")
    other = await netd("tenant", "add", "isp-two")
    assert (other.code, other.out.startswith("netd_")) == (0, True)
    assert (await netd("tenant", "rename", "isp-two", "isp-2")).code == 0
    assert [line.split()[1] for line in (await netd("tenant", "list")).out.splitlines()] == ["NAME", "default", "isp-2"]
    assert "role" in (await netd("whoami")).out


async def test_audit(netd):
    assert (await netd("plan", "add", "home", "--down", "100M", "--up", "20M")).code == 0
    assert (await netd("plan", "update", "home", "--down", "200M")).code == 0
    rows = (await netd("audit", "list", "--type", "plan")).out.splitlines()
    assert [[word for word in row.split() if word in ("127.0.0.1", "plan.update", "plan.create")] for row in rows[1:]] == [
        ["127.0.0.1", "plan.update"], ["127.0.0.1", "plan.create"],
    ]  # fmt: skip
    assert "down_bps: 100000000 -> 200000000" in rows[1]
    none = await netd("audit", "list", "--type", "nas")
    assert (none.code, none.out, none.err) == (0, "", "netd: nothing fits what was asked for\n")
    assert (await netd("site", "list")).err == "netd: no sites yet: netd site add NAME\n"


async def test_access_policies(netd, database):
    plan = ("--down", "100M", "--up", "20M", "--hours", "Wk0800-1659", "--time-zone", "Europe/Berlin", "--vlan", "100", "--contention", "1:20")
    made = await netd("plan", "add", "home", *plan, "--json")
    assert (made.value["access_hours"], made.value["time_zone"], made.value["vlan"], made.value["contention_ratio"]) == (
        "Mo-Fr 08:00-17:00", "Europe/Berlin", "100", 20,
    )  # fmt: skip
    assert "Mo-Fr 08:00-17:00" in (await netd("plan", "show", "home")).out
    changed = await netd("plan", "update", "home", "--contention", "none", "--committed-down", "10M", "--hours", "none", "--json")
    assert (changed.value["contention_ratio"], changed.value["committed_down_bps"], changed.value["access_hours"]) == (None, 10 * MBIT, None)
    box = ("--address", "10.0.0.1", "--secret", "testing123", "--vendor", "mikrotik", "--line-login", "mac,circuit_id")
    added = await netd("nas", "add", "bras1", *box, "--line-login-passwords", "none,fixed", "--line-login-password", "-", "--json", stdin="sesame\n")
    assert (added.code, "sesame" in added.out) == (0, False)
    assert (added.value["line_login"], added.value["line_login_passwords"]) == (["mac", "circuit_id"], ["none", "fixed"])
    off = await netd("nas", "update", "bras1", "--line-login", "none", "--line-login-passwords", "", "--line-login-password", "none", "--json")
    assert (off.value["line_login"], off.value["line_login_passwords"]) == ([], [])
    lines = ("--line", "circuit=olt1 eth 0/1/3:100.7", "--line", "nas=bras1;port=ether1;mac=0011.22aa.bbcc", "--line-mode", "enforce")
    alice = await netd("subscriber", "add", "alice", "--plan", "home", *lines, "--mac", "001122aabbcc,00-11-22-33-44-55", "--hours", "Al", "--json")
    assert alice.code == 0, alice.err
    assert [{name: value for name, value in line.items() if value} for line in alice.value["lines"]] == [
        {"circuit_id": "olt1 eth 0/1/3:100.7"}, {"nas": "bras1", "nas_port_id": "ether1", "mac": "00:11:22:aa:bb:cc"},
    ]  # fmt: skip
    assert alice.value["mac_addresses"] == ["00:11:22:33:44:55", "00:11:22:aa:bb:cc"]
    shown = (await netd("subscriber", "show", "alice")).out
    assert "nas=bras1 nas_port_id=ether1 mac=00:11:22:aa:bb:cc" in shown
    refused = await netd("subscriber", "update", "alice", "--line", "none")
    assert (refused.code, refused.err) == (2, "netd: line_mode: enforce needs lines to be enforced, or line_learn to bind the first one\n")
    learning = await netd("subscriber", "update", "alice", "--line", "none", "--line-learn", "yes", "--mac", "none", "--circuit-id", "0x0001", "--json")
    assert (learning.value["lines"], learning.value["line_learn"], learning.value["mac_addresses"], learning.value["circuit_ids"]) == ([], True, [], ["0x0001"])
    assert (await netd("subscriber", "explain", "0x0001")).out.startswith("alice ")
    async with database.acquire() as conn:
        await conn.execute(
            """insert into radpostauth (tenant_id, username, username_key, reply, reason, detail, nasipaddress, authdate)
               values (1, 'alice', 'alice', 'Access-Reject', 'wrong_line', 'expected circuit id a; seen circuit id b on NAS c', '10.0.0.1', now())"""
        )
    explained = (await netd("subscriber", "explain", "alice")).out
    assert "was rejected: wrong_line (expected circuit id a; seen circuit id b on NAS c)." in explained
    for wrong in (("--line", "circuit"), ("--line", "vlan=3"), ("--line", "mac=a;mac=b"), ("--line-learn", "maybe")):
        assert (await netd("subscriber", "update", "alice", *wrong)).code == 2
    assert (await netd("plan", "update", "home", "--contention", "20:1")).code == 2


async def test_lists_say_when_there_is_more(netd, api):
    await api.post("/plans", {"name": "home", "down_bps": MBIT, "up_bps": MBIT})
    for number in range(5):
        await api.post("/subscribers", {"username": f"u{number}", "plan": "home"})
    some = await netd("subscriber", "list", "--limit", "2")
    assert len(some.out.splitlines()) == 3
    assert "--all" in some.err
    assert len((await netd("subscriber", "list", "--all")).out.splitlines()) == 6
    page = await netd("subscriber", "list", "--limit", "2", "--json")
    assert page.out.encode().strip() == (await api.get("/subscribers?limit=2")).raw
    assert page.err == ""
    everything = (await netd("subscriber", "list", "--all", "--json")).value
    assert (len(everything["items"]), everything["next"]) == (5, None)


async def test_a_limit_may_be_more_than_a_page(netd, api, monkeypatch):
    await api.post("/plans", {"name": "home", "down_bps": MBIT, "up_bps": MBIT})
    rows = "".join(f"u{number},x,home,\n" for number in range(1005))
    assert (await netd("import", "subscribers", "-", stdin="username,password,plan,ipv4\n" + rows)).code == 0
    some = await netd("subscriber", "list", "--limit", "1002")
    assert len(some.out.splitlines()) == 1003
    assert "only the first 1002" in some.err
    everything = (await netd("subscriber", "list", "--limit", "5000", "--json")).value
    assert (len(everything["items"]), everything["next"]) == (1005, None)
    assert (await netd("subscriber", "list", "--limit", "0")).err == "netd: limit: must be at least 1\n"
    assert (await netd("subscriber", "list", "--limit", "1", "--all")).code == 2


async def test_an_update_that_changes_nothing_is_refused(netd):
    await add_alice(netd)
    for arguments in (("subscriber", "update", "alice"), ("plan", "update", "home"), ("nas", "update", "bras1")):
        ended = await netd(*arguments)
        assert (ended.code, ended.out, ended.err) == (2, "", "netd: nothing to change is given (--help shows the options)\n")


async def test_faults_are_told_in_words(netd):
    await add_alice(netd)
    for name, said in (
        (" bob", "begins or ends with a blank, or has a control character in it"),
        ("", "is empty"),
        ("b" * 254, "has more than 253 characters"),
    ):
        ended = await netd("subscriber", "add", name, "--password", "x", "--plan", "home")
        assert (ended.code, ended.out, ended.err) == (2, "", f"netd: username: {said}\n")
    ended = await netd("subscriber", "add", "b\udcff", "--password", "x", "--plan", "home")
    assert (ended.code, ended.out, ended.err) == (2, "", "netd: an argument is not UTF-8\n")


@pytest.mark.parametrize(
    ("result", "code", "said"),
    [
        (ControlResult(outcome="ack", action="disconnect", attempts=1, duration_seconds=0.5), 0, "the NAS acknowledged (1 attempt, 0.50 s)"),
        (ControlResult(outcome="nak", action="disconnect", attempts=1, error_cause=503, error_cause_name="Session-Context-Not-Found", session_closed=True),
         1, "the NAS refused: Session-Context-Not-Found (1 attempt, 0.00 s); the session is closed here"),
        (ControlResult(outcome="timeout", action="disconnect", attempts=3), 1, "the NAS did not answer (3 attempts, 0.00 s)"),
        (ControlResult(outcome="error", action="disconnect", detail="no route"), 1, "the NAS could not be asked: no route"),
    ],
)  # fmt: skip
async def test_disconnecting_tells_what_the_nas_said(netd, api, database, result, code, said):
    api.control.result = result
    session = await open_session(database)
    ended = await netd("session", "disconnect", str(session))
    assert (ended.code, ended.err) == (code, "")
    assert said in ended.out
    told = await netd("session", "disconnect", str(session), "--json")
    outcome = told.value["outcome"] if code == 0 else told.value["outcome"]["outcome"]
    assert (told.code, outcome) == (code, result.outcome)


async def test_sessions(netd, api, database):
    first = await open_session(database)
    await open_session(database, unique_id="b" * 32)
    listed = await netd("session", "list", "--username", "alice")
    assert listed.out.splitlines()[1].split()[1:4] == ["alice", "10.0.0.1", "192.0.2.7"]
    assert (await netd("session", "show", str(first), "--json")).value["id"] == first
    both = await netd("session", "disconnect", "--username", "alice")
    assert (both.code, len(both.out.splitlines()), len(api.control.asked)) == (0, 2, 2)
    assert (await netd("session", "disconnect", "--username", "bob")).err == "netd: no open session of bob\n"
    for arguments in ((), (str(first), "--username", "alice"), (str(first), "--nas", "bras1")):
        assert (await netd("session", "disconnect", *arguments)).code == 2
    assert (await netd("session", "disconnect", "424242")).code == 1
    assert (await netd("session", "list", "--ip", "nonsense")).code == 2
    assert listed.out.splitlines()[1].split()[-1] == "open"
    assert len((await netd("session", "list", "--ip", "192.0.2.7", "--at", "2099-01-01", "--json")).value["items"]) == 2
    assert (await netd("session", "list", "--ip", "192.0.2.7", "--at", "2000-01-01", "--json")).value["items"] == []
    assert (await netd("session", "list", "--at", "2000-01-01")).code == 2


async def test_disconnecting_all_of_a_nas(netd, api, database):
    assert (await netd("nas", "add", "bras1", "--address", "10.0.0.1", "--secret", "testing123", "--vendor", "generic")).code == 0
    first, _, elsewhere = [await open_session(database, unique_id=letter * 32) for letter in "abc"]
    async with database.acquire() as connection:
        await connection.execute("update sessions set nas_id = (select id from nas) where radacctid <> $1", elsewhere)
    disconnect = api.control.disconnect

    async def last_one(session):
        async with database.acquire() as connection:
            await connection.execute("delete from sessions where radacctid = $1", first)  # it ends before it is asked for
        return await disconnect(session)

    api.control.disconnect = last_one
    ended = await netd("session", "disconnect", "--nas", "bras1")
    assert ended.code == 0, ended.err
    assert [line.partition(": ")[2] for line in ended.out.splitlines()] == [
        "the NAS acknowledged (1 attempt, 0.25 s)", f"session {first} does not exist",
    ]  # fmt: skip
    api.control.disconnect = disconnect
    api.control.result = ControlResult(outcome="timeout", action="disconnect", attempts=3)
    silent = await netd("session", "disconnect", "--nas", "bras1", "--username", "alice", "--json")
    assert (silent.code, [each["outcome"]["outcome"] for each in silent.value]) == (1, ["timeout"])
    assert (await netd("session", "disconnect", "--nas", "bras2")).err == "netd: nas: there is no NAS bras2\n"


async def test_import(netd, tmp_path):
    await netd("plan", "add", "home", "--down", "100M", "--up", "20M")
    file = tmp_path / "new.csv"
    good = "username,password,plan,ipv4\nbob,pw1,home,192.0.2.1\ncarol,pw2,home,\n"
    file.write_text(good + "dave,pw3,none,\n,pw4,home,\n")
    dry = await netd("import", "subscribers", str(file), "--dry-run")
    assert (dry.code, dry.out) == (2, "2 of 4 rows are good; nothing was stored (dry run)\n")
    assert [line.removeprefix(f"{file}:") for line in dry.err.splitlines()] == ["4: plan: there is no plan 'none'", "5: username: is empty"]
    bad = await netd("import", "subscribers", str(file))
    assert (bad.code, bad.out) == (2, "2 of 4 rows are bad; nothing was imported\n")
    assert bad.err == dry.err
    skipped = await netd("import", "subscribers", str(file), "--skip-bad")
    assert (skipped.code, skipped.out) == (0, "2 subscribers imported, 2 rows skipped\n")
    again = await netd("import", "subscribers", "-", "--json", stdin=good)
    assert (again.code, again.value["report"]["error_count"]) == (2, 2)
    nothing = await netd("import", "subscribers", "-", "--skip-bad", stdin=good)
    assert (nothing.code, nothing.out, nothing.err.splitlines()[0]) == (
        2, "2 of 2 rows are bad; nothing was imported\n", "standard input:2: username: exists already (active)")  # fmt: skip
    header = await netd("import", "subscribers", "-", stdin="name,password\nx,y\n")
    assert (header.code, header.out) == (2, "nothing was imported\n")
    assert (await netd("import", "subscribers", str(tmp_path / "none.csv"))).err == f"netd: {tmp_path}/none.csv: No such file or directory\n"


async def test_tokens_and_rotation(netd):
    made = await netd("token", "create", "--role", "read_only", "--name", "grafana", "--expires-days", "30")
    assert made.out.startswith("netd_")
    assert "not shown again" in made.err
    listed = await netd("token", "list", "--json")
    token = next(token for token in listed.value["items"] if token["name"] == "grafana")
    assert (token["role"], token["expires_at"] is not None) == ("read_only", True)
    assert made.out.strip() not in listed.out
    assert (await netd("token", "revoke", str(token["id"]))).code == 0
    assert (await netd("secret", "rotate", "--json")).value["complete"] is True


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan",),
        ("pln", "list"),
        ("plan", "add", "x", "--down", "fast", "--up", "1M"),
        ("plan", "add", "x", "--down", "0", "--up", "1M"),
        ("plan", "add", "x", "--down", "1.0001k", "--up", "1M"),
        ("plan", "add", "x", "--up", "1M"),
        ("subscriber", "lock", "x", "--until", "soon"),
        ("token", "create", "--expires-days", "0"),
        ("token", "create", "--expires-days", "999999999"),
        ("subscriber", "lock", "x", "--reason", "whim"),
        ("subscriber", "add", "x", "--plan", "home", "--password", "-"),
        (),
    ],
)
def test_what_is_typed_wrong_is_one_line_and_2(arguments, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    told = capsys.readouterr()
    assert (ended.value.code, told.out) == (2, "")
    assert told.err.startswith("netd: ")
    assert told.err.count("\n") == 1


async def test_who_had_an_address(netd, database):
    assert (await netd("session", "who-had", "192.0.2.7")).code == 1, "nobody"
    await open_session(database)
    had = await netd("session", "who-had", "192.0.2.7")
    assert (had.code, had.err) == (0, "")
    assert had.out.splitlines()[1].split()[1] == "alice"
    before = await netd("session", "who-had", "192.0.2.7", "--at", "2020-01-01T12:00Z")
    assert (before.code, before.out) == (1, "nobody had 192.0.2.7 at 2020-01-01 12:00:00Z, as far as accounting tells\n")
    await open_session(database, "bob", "b" * 32)
    doubtful = await netd("session", "who-had", "192.0.2.7", "--json")
    assert (doubtful.code, doubtful.value["ambiguous"], len(doubtful.value["holders"])) == (1, True, 2)
    assert "claimed at that moment by session" in (await netd("session", "who-had", "192.0.2.7")).out
    assert (await netd("session", "who-had", "192.0.2.0/24")).code == 2
    assert (await netd("session", "list", "--enforce-state", "refused")).code == 0


async def test_enforcement(netd, api):
    shown = await netd("enforcement", "show")
    assert (shown.code, shown.out.splitlines()[0]) == (0, "live sessions: 7 applied")
    assert shown.out.splitlines()[2].split()[:6] == ["bras1", "10.0.0.1", "3799", "0", "1", "4"]
    nothing = await netd("enforcement", "confirm", "5")
    assert (nothing.code, nothing.err) == (1, "netd: sessions: more are held by now\n")
    api.enforcing.hold(300)
    held = (await netd("enforcement", "show")).out
    assert "HELD since 2026-11-01 12:00:00Z: 300 of 300 live sessions would be disconnected or walled" in held
    assert "300 because suspended" in held
    assert "netd enforcement confirm 300" in held
    assert (await netd("enforcement", "confirm", "300")).out == "confirmed: 300 sessions\n"
    api.enforcing.hold(9)
    assert (await netd("enforcement", "discard", "9")).out == "discarded: 9 sessions\n"
    assert api.enforcing.decided == [("confirm", 300), ("discard", 9)]
    audited = (await api.get("/audit?object_type=enforcement")).value["items"]
    assert [(row["action"], row["after"]) for row in audited] == [("enforcement.discard", {"sessions": 9}), ("enforcement.confirm", {"sessions": 300})]


async def test_coa_clients(netd):
    added = await netd("coa-client", "add", "portal", "--address", "10.0.0.9", "--secret", "-", "--may-change", "yes", stdin="testing123\n")
    assert (added.code, added.err) == (0, "")
    assert "testing123" not in added.out
    updated = await netd("coa-client", "update", "Portal", "--may-disconnect", "no", "--require-event-timestamp", "no", "--json")
    assert (updated.value["may_disconnect"], updated.value["may_change"], updated.value["require_event_timestamp"]) == (False, True, False)
    assert (await netd("coa-client", "list")).out.splitlines()[1].split()[1:] == ["portal", "10.0.0.9/32", "change", "signature", "yes"]
    assert (await netd("coa-client", "show", "portal")).code == 0
    assert (
        await netd("coa-client", "add", "portal", "--address", "10.0.0.10", "--secret", "testing123")
    ).err == "netd: name: a CoA client with this name exists\n"
    assert (await netd("coa-client", "update", "portal", "--may-change", "maybe")).code == 2
    assert (await netd("coa-client", "remove", "portal")).out == "CoA client portal is removed\n"
    assert (await netd("coa-client", "show", "portal")).err == "netd: CoA client portal does not exist\n"


async def test_a_portal_token(netd, api):
    await netd("plan", "add", "home", "--down", "100M", "--up", "20M")
    await netd("subscriber", "add", "alice", "--plan", "home", "--password", "wonderland")
    made = await netd("subscriber", "portal-token", "alice", "--permission", "me:read", "--minutes", "5")
    assert "me:read of alice until" in made.err
    shown = await api.get("/self", role=None, headers={"Authorization": f"Bearer {made.out.strip()}"})
    assert (shown.value["username"], shown.value["permissions"]) == ("alice", ["me:read"])
    assert (await netd("subscriber", "portal-token", "nobody")).code == 2
    assert (await netd("subscriber", "portal-token", "alice", "--minutes", "5000")).code == 2
