"""``netd pool`` and ``netd route`` as operators use them, against a real API."""

from tests.cli.test_commands import add_alice
from tests.web.test_pools import lease


async def test_pools(netd, tmp_path):
    added = await netd("pool", "add", "cgn", "--kind", "ipv4", "--ranges", "100.64.0.0/24,100.64.1.5", "--gateway", "100.64.0.1", "--grace", "60", "--json")
    assert (added.code, added.err) == (0, "")
    assert (added.value["ranges"], added.value["grace_seconds"]) == (["100.64.0.1-100.64.0.254", "100.64.1.5"], 60)
    assert (await netd("pool", "list", "--kind", "ipv4")).out.splitlines()[1].split()[1:4] == ["cgn", "ipv4", "/32"]
    assert (await netd("pool", "update", "cgn", "--exclude", "100.64.0.2", "--json")).value["exclusions"] == ["100.64.0.2"]
    (tmp_path / "ranges.txt").write_text("# from the registry\n100.64.2.0-100.64.2.9\n! 100.64.2.5  # the printer\n\n100.64.3.1\n")
    imported = await netd("pool", "import", "cgn", "ranges.txt")
    assert (imported.code, imported.out) == (0, "pool cgn: 2 ranges and 1 exclusions are added\n")
    wrong = await netd("pool", "import", "cgn", "-", stdin="100.64.2.3\n")
    assert (wrong.code, wrong.err) == (1, "netd: ranges: overlaps a range of this or another pool in the same VRF\n")
    assert (await netd("pool", "import", "cgn", "-", stdin="# nothing\n")).code == 2
    assert (await netd("pool", "assign", "cgn", "--plan", "home")).err == "netd: plan: there is no plan home\n"
    await netd("plan", "add", "home", "--down", "100M", "--up", "20M")
    rule = (await netd("pool", "assign", "cgn", "--plan", "home", "--json")).value["id"]
    assert (await netd("pool", "rules", "--pool", "cgn")).out.splitlines()[1].split() == [str(rule), "cgn", "ipv4", "home", "-", "-", "-"]
    shown = await netd("pool", "show", "CGN")
    for line in ("rules        plan home", "exclusions   100.64.0.2, 100.64.2.5", "free         263"):
        assert line.split() in [each.split() for each in shown.out.splitlines()], shown.out
    assert (await netd("pool", "unassign", str(rule))).out == f"rule {rule} is removed\n"
    assert (await netd("pool", "remove", "cgn")).out == "pool cgn is removed\n"
    assert (await netd("pool", "show", "cgn")).err == "netd: pool cgn does not exist\n"


async def test_leases_and_routes(netd, database):
    await add_alice(netd)
    pool = (await netd("pool", "add", "pd", "--kind", "delegated", "--ranges", "2001:db8::/40", "--json")).value
    await lease(database, pool["id"], "alice", "2001:db8:0:100::/56")
    assert (await netd("pool", "leases", "pd")).out.splitlines()[1].split()[:5] == ["2001:db8:0:100::/56", "pd", "alice", "line", "in_use"]
    assert (await netd("route", "add", "alice", "10.1.0.0/24", "--metric", "5")).code == 0
    assert (await netd("route", "list", "alice")).out.splitlines()[1].split() == ["10.1.0.0/24", "-", "5"]
    who = await netd("pool", "who", "2001:db8:0:1ff::9")
    assert who.out.splitlines()[1].split()[:5] == ["2001:db8:0:100::/56", "alice", "lease", "pd", "in_use"]
    has = [line.split()[0] for line in (await netd("pool", "who", "--username", "alice")).out.splitlines()[1:]]
    assert has == ["192.0.2.7", "10.1.0.0/24", "2001:db8:0:100::/56"]
    assert (await netd("pool", "who")).code == 2
    refused = await netd("pool", "release", "2001:db8:0:100::")
    assert (refused.code, "in use by alice" in refused.err) == (1, True)
    assert (await netd("pool", "release", "2001:db8:0:100::", "--force")).out == "2001:db8:0:100::/56 is released by alice\n"
    assert (await netd("pool", "release", "2001:db8:9::")).err == "netd: lease of 2001:db8:9:: does not exist\n"
    assert (await netd("route", "remove", "alice", "10.1.0.0/24")).out == "10.1.0.0/24 is routed to alice no longer\n"
    assert (await netd("route", "remove", "alice", "10.1.0.0/24")).code == 1
