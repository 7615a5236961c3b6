"""Nobody sees or changes another tenant's rows, whatever function of the store is asked."""

import inspect
from datetime import UTC, date, datetime
from ipaddress import ip_address, ip_network

import asyncpg
import pytest

from netd.model.quota import QuotaUsage, Stage
from netd.model.subscriber import Attribute
from netd.store import (
    alarms,
    audit,
    candidates,
    certificates,
    coa_clients,
    configurations,
    credentials,
    device_reports,
    devices,
    expected,
    inventory,
    jobs,
    lines,
    listing,
    metering,
    nas,
    observed,
    plans,
    pools,
    postauth,
    provision,
    quotas,
    reports,
    roles,
    schedules,
    series,
    sessions,
    sites,
    software,
    subnets,
    subscribers,
    telemetry,
    templates,
    tokens,
)
from netd.store import leases as lease_store
from netd.store.listing import Condition, Selection
from netd.store.sessions import SessionFilter

NOW = datetime.now(UTC)
MODULES = (
    alarms, audit, candidates, certificates, coa_clients, configurations, credentials, device_reports, devices, expected, inventory, jobs, lines, nas,
    observed, plans, pools, postauth,
    provision, quotas, reports, roles, schedules, series, sessions, sites, software, subnets, subscribers, telemetry, templates, tokens,
)  # fmt: skip

# What is not confined to a tenant, and why that is right.
ACROSS = {
    "postauth.add_rows": "each record carries its tenant",
    "sessions.close": "the engine's own names of sessions", "tokens.by_public_id": "the token tells the tenant",
    "tokens.used": "the token tells the tenant",
    "tokens.lock": "a lock, no rows", "tokens.first_tenant": "no tenant's rows",
    "jobs.notify": "no rows", "jobs.standings": "numbers only, of jobs that were seen",
    "jobs.sealed": "keys are everybody's", "jobs.reseal": "keys are everybody's",
    "schedules.due": "every tenant's are looked for", "schedules.fired": "of one that was found so", "schedules.sealed": "keys are everybody's",
    "schedules.reseal": "keys are everybody's", "schedules.ahead": "every tenant's are looked for", "schedules.are_ahead": "every tenant's are looked for",
    "schedules.timed": "of one that was found so", "schedules.put_off": "of one that was found so",
    "coa_clients.sealed": "keys are everybody's", "coa_clients.reseal": "keys are everybody's",
    "provision.begin": "a temporary table", "provision.add": "a temporary table",
    "provision.analyze": "statistics, no rows", "nas.is_taken": "addresses are one space, and it only says that",
    "nas.sealed": "keys are everybody's", "nas.reseal": "keys are everybody's", "subscribers.sealed": "keys are everybody's",
    "credentials.sealed": "keys are everybody's", "credentials.reseal": "keys are everybody's", "observed.retire": "what is old is old for everybody",
    "devices.polled": "each carries its tenant", "devices.parents": "numbers only, of what is polled", "software.lock_file": "a lock, no rows",
    "software.images_with": "files are everybody's, and it is a number only",
    "configurations.retire": "what no version has is nobody's",
    "configurations.sealed": "keys are everybody's", "configurations.reseal": "keys are everybody's",
    "configurations.sealed_keys": "keys are everybody's", "configurations.reseal_keys": "keys are everybody's",
    "certificates.sealed": "keys are everybody's", "certificates.reseal": "keys are everybody's",
    "certificates.ending": "told to whoever runs this netd, by subject and day only",
    "certificates.authority_of": "a list of revoked certificates is for everybody who was shown one, and names its authority",
    "certificates.revoked": "an authority's list is one, whoever supplied it", "certificates.standing": "likewise, and a number only",
    "certificates.next_list": "likewise, and a number only",
    "alarms.in_force": "each carries its tenant", "alarms.standing": "of devices that the poller has", "alarms.groundless": "nobody's business any more",
    "alarms.retire": "what is old is old for everybody",
    "telemetry.copy": "each row carries its tenant", "telemetry.ports": "of devices that the poller has",
    "telemetry.silent": "of devices that the poller's are reached through",
    "subscribers.reseal": "keys are everybody's", "subscribers.is_future": "the clock",
}  # fmt: skip


def test_every_function_asks_for_the_tenant():
    for module in MODULES:
        for name, function in inspect.getmembers(module, inspect.iscoroutinefunction):
            if name.startswith("_") or function.__module__ != module.__name__:
                continue
            place = f"{module.__name__.rpartition('.')[2]}.{name}"
            assert ("tenant_id" in inspect.signature(function).parameters) != (place in ACROSS), place


@pytest.fixture
async def other(connection):
    return await connection.fetchval("insert into tenants (name) values ('other') returning id")


@pytest.fixture
async def mine(connection):
    """The default tenant with one row of everything: ids by kind."""
    tenant = await connection.fetchval("select id from tenants where name = 'default'")
    plan = await plans.insert(connection, tenant, {"name": "p", "down_bps": 1, "up_bps": 1})
    box = await nas.insert(connection, tenant, {"name": "bras1", "address": "10.0.0.0/24", "vendor": "generic", "secret": b"sealed"})
    alice = await subscribers.insert(connection, tenant, {"username": "alice", "plan_id": plan.id, "password": b"sealed", "ipv4": "192.0.2.1"})
    await subscribers.replace_attributes(connection, "radreply", tenant, alice, [Attribute(attribute="Filter-Id", op="=", value="x")])
    line = lines.Kept(nas_id=box.id, circuit_id="c", remote_id=None, nas_port_id=None, mac=None, learned_at=NOW)
    await lines.replace_lines(connection, tenant, alice, [line])
    await lines.replace_identities(connection, tenant, alice, "mac", ["00:11:22:33:44:55"])
    await subscribers.add_lock(connection, tenant, alice, reason="admin", mode="reject", note=None, until_at=None, created_by="ann")
    token = await tokens.insert(connection, tenant, public_id="a" * 12, token_hash=bytes(32), name="t", role="admin", created_by="ann", expires_at=None)
    row = audit.New("ann", None, None, None, action="a", object_type="o", object_id="1", before=None, after=None, result="ok")
    await audit.insert(connection, tenant, [row])
    attempt = postauth.PostAuth(
        tenant_id=tenant, nas_id=box.id, subscriber_id=alice, username="alice", username_key="alice", reply="Access-Reject", reason="locked",
        nasipaddress="10.0.0.1", calledstationid=None, callingstationid=None, class_=None, at=NOW.timestamp(),
    )  # fmt: skip
    await postauth.add_rows(connection, [postauth.encode(attempt)])
    quota = await quotas.insert(
        connection, tenant, {"plan_id": plan.id, "name": "q", "unit": "volume", "period": "day", "amount": 9}, [Stage(percent=80, action="notify")]
    )
    usage = QuotaUsage(tenant_id=tenant, subscriber_id=alice, quota_id=quota, starts_at=0.0, ends_at=86_400.0, amount=9)
    await metering.ensure(connection, [usage])
    await metering.add_events(connection, [(usage, Stage(percent=80, action="notify"), 9)])
    await quotas.add_top_up(connection, tenant, alice, quota, amount=5, expires_at=None, note=None, created_by="ann")
    await connection.execute("insert into usage_daily values ($1, $2, '2026-11-01', 1, 1, 1)", tenant, alice)
    session = await connection.fetchval(
        """insert into sessions (acctuniqueid, tenant_id, nas_id, subscriber_id, acctsessionid, username, nasipaddress, nassourceaddress, acctstarttime,
           acctupdatetime, interim_seconds) values ('u', $1, $2, $3, 's', 'alice', '10.0.0.1', '10.0.0.1', now(), now(), 300) returning radacctid""",
        tenant, box.id, alice)  # fmt: skip
    portal = await coa_clients.insert(connection, tenant, {"name": "portal", "address": "10.0.0.9/32", "secret": b"sealed"})
    pool = await pools.insert(connection, tenant, {"name": "v4", "kind": "ipv4", "prefix_length": 32})
    for table in ("pool_ranges", "pool_exclusions", "pool_spans"):
        await pools.add_spans(connection, tenant, pool, table, [(ip_address("100.64.0.1"), ip_address("100.64.0.9"))])
    rule = await pools.insert_rule(
        connection, tenant, pool, plan_id=plan.id, nas_id=box.id, site_id=await pools.insert_site(connection, tenant, "north"), vrf=None
    )
    ((_, lease, _, _),) = await lease_store.give(connection, [(pool, "100.64.0.1", alice, 0, "line", "t")], [], 60.0)
    way = await pools.insert_route(connection, tenant, alice, prefix=ip_network("10.0.0.0/24"), gateway=None, metric=1)
    job = await jobs.insert(connection, tenant, {
        "kind": "k", "state": "queued", "idempotent": True, "max_attempts": 1, "timeout_seconds": 1.0, "created_by": "ann", "person": "p", "unique_key": "u",
        "idempotency_key": "i",
    }, "queued")  # fmt: skip
    await connection.execute("insert into job_targets (tenant_id, job_id, key, name) values ($1, $2, 'device:1', 'core1')", tenant, job.id)
    plan_of_jobs = await schedules.insert(connection, tenant, {
        "name": "nightly", "kind": "k", "cron": "0 0 * * *", "begins_at": NOW, "created_by": "ann", "person": "p", "trusted": True,
    })  # fmt: skip
    await alarms.insert_threshold(connection, tenant, {"name": "t", "metric": "cpu_percent", "raise_level": 1.0, "clear_level": 1.0, "selector": {}})
    more = {"job": job.id, "schedule": plan_of_jobs.id, "pool": pool, "rule": rule, "lease": lease, "route": way.id}
    more["client"] = portal.id
    return {
        **more,
        "quota": quota,
        "tenant": tenant,
        "plan": plan.id,
        "nas": box.id,
        "subscriber": alice,
        "token": token.id,
        "session": session,
    }


async def everything(connection):
    """Every row of every table that a tenant owns, as text."""
    tables = (
        "plans", "nas", "subscribers", "radcheck", "radreply", "access_locks", "api_tokens", "audit_log", "radpostauth", "usage_daily", "sessions", "radacct",
        "subscriber_lines", "subscriber_identities",
        "plan_quotas", "quota_stages", "quota_usage", "top_ups", "quota_events",
        "coa_clients", "jobs", "job_log", "job_targets", "job_schedules",
        "pools", "pool_ranges", "pool_exclusions", "pool_spans", "pool_rules", "leases", "framed_routes",
    )  # fmt: skip
    return {table: sorted(str(dict(row)) for row in await connection.fetch(f"select * from {table}")) for table in tables}


async def test_nothing_is_seen(connection, mine, other):
    seen: list[object] = [
        await plans.get(connection, other, mine["plan"]), await plans.by_name(connection, other, "p"), await plans.ids_by_name(connection, other),
        await plans.subscribers(connection, other, mine["plan"]),
        await nas.get(connection, other, mine["nas"]), await nas.by_name(connection, other, "bras1"),
        await coa_clients.get(connection, other, mine["client"]),
        await subscribers.get(connection, other, mine["subscriber"]), await subscribers.by_username(connection, other, "alice"),
        await subscribers.has_password(connection, other, mine["subscriber"]),
        await sessions.newest(connection, other, SessionFilter(), 9), await sessions.count(connection, other, SessionFilter(), Selection()),
        await sessions.newest(connection, other, SessionFilter(subscriber_id=mine["subscriber"]), 9),
        await sessions.page(connection, other, SessionFilter(), Selection(conditions=(Condition("nas_id", "eq", mine["nas"]),))),
        await sessions.get(connection, other, mine["session"]),
        await sessions.usage(connection, other, mine["subscriber"], date(2026, 1, 1), date(2027, 1, 1)),
        await quotas.of_plan(connection, other, mine["plan"]), await quotas.get(connection, other, mine["plan"], mine["quota"]),
        await quotas.unspent(connection, other, mine["quota"]), await quotas.activated_at(connection, other, mine["subscriber"]),
        await quotas.valid_top_ups(connection, other, mine["subscriber"]),
        await pools.get(connection, other, mine["pool"]), await pools.by_name(connection, other, "v4"),
        any(await pools.leased(connection, other, mine["pool"])),
        await pools.fixed_inside(connection, other, mine["pool"]), await pools.rule(connection, other, mine["rule"]),
        await pools.lease(connection, other, mine["lease"]),
        await pools.who_has(connection, other, ip_address("100.64.0.1")), await pools.who_has(connection, other, ip_address("192.0.2.1")),
        await pools.what_has(connection, other, mine["subscriber"]),
        await pools.forget_outside(connection, other, mine["pool"]), await pools.site_by_name(connection, other, "north"),
        await tokens.get(connection, other, mine["token"]), await tokens.count(connection, other),
        await audit.last(connection, other, "o", "1", ["a"]),
        await postauth.newest(connection, other, "alice", 9),
        await lines.lines(connection, other, [mine["subscriber"]]), await lines.identities(connection, other, [mine["subscriber"]]),
        await lines.owner(connection, other, "mac", "00:11:22:33:44:55"), await lines.named(connection, other, mine["nas"]),
        await nas.has_line_login_password(connection, other, mine["nas"]), await nas.names_by_key(connection, other),
        await nas.sealed_of(connection, other, [mine["nas"]]), await subscribers.sealed_of(connection, other, [mine["subscriber"]]),
        await sites.ids_by_name(connection, other), await pools.rules_by_pool(connection, other, [mine["pool"]]),
        await reports.subscribers_by_plan(connection, other), await reports.usage_by_plan(connection, other, date(2026, 1, 1), date(2027, 1, 1)),
        await jobs.get(connection, other, mine["job"]), await jobs.by_key(connection, other, "k", "i"), await jobs.unfinished(connection, other, "u"),
        await jobs.entries(connection, other, mine["job"], 0, 9), await schedules.get(connection, other, mine["schedule"]),
        await schedules.hidden(connection, other, mine["schedule"]), await schedules.id_by_name(connection, other, "nightly"),
        await alarms.threshold_id(connection, other, "t"),
    ]  # fmt: skip
    for each in (
        plans.LISTING, nas.LISTING, subscribers.LISTING, tokens.LISTING, audit.LISTING, sites.SITES, sites.ORGANIZATIONS, coa_clients.LISTING, pools.LISTING,
        pools.RULES, pools.LEASES, pools.ROUTES, postauth.LISTING, quotas.LISTING, quotas.TOP_UPS, quotas.EVENTS, jobs.LISTING, jobs.TARGETS,
        schedules.LISTING, schedules.PLAIN, alarms.THRESHOLDS,
    ):  # fmt: skip
        seen += [await listing.page(connection, each, other, Selection()), await listing.count(connection, each, other, Selection())]
    assert not any(seen), seen


async def test_nothing_is_changed(connection, mine, other):
    before = await everything(connection)
    subscriber = mine["subscriber"]
    await plans.update(connection, other, mine["plan"], {"down_bps": 5})
    await plans.delete(connection, other, mine["plan"])
    await quotas.replace_stages(connection, other, mine["quota"], [])
    await quotas.update(connection, other, mine["quota"], {"amount": 5})
    await quotas.delete(connection, other, mine["quota"])
    await nas.update(connection, other, mine["nas"], {"enabled": False})
    await nas.delete(connection, other, mine["nas"])
    await coa_clients.update(connection, other, mine["client"], {"enabled": False})
    await coa_clients.delete(connection, other, mine["client"])
    await subscribers.update(connection, other, subscriber, {"note": "x"})
    await subscribers.set_state(connection, other, subscriber, "suspended", None)
    await subscribers.replace_attributes(connection, "radreply", other, subscriber, [])
    await subscribers.lift_lock(connection, other, subscriber, "admin", "eve")
    await subscribers.delete(connection, other, subscriber)
    await pools.update(connection, other, mine["pool"], {"grace_seconds": 5})
    await pools.clear_spans(connection, other, mine["pool"], "pool_ranges")
    await pools.add_spans(connection, other, mine["pool"], "pool_ranges", [(ip_address("100.64.1.1"), ip_address("100.64.1.9"))])
    await pools.delete_rule(connection, other, mine["rule"])
    await pools.release(connection, other, mine["lease"])
    await pools.delete_route(connection, other, mine["subscriber"], mine["route"])
    await pools.delete(connection, other, mine["pool"])
    await lines.replace_lines(connection, other, subscriber, [])
    await lines.replace_identities(connection, other, subscriber, "mac", [])
    await lines.learn(connection, other, subscriber, lines.Kept(nas_id=None, circuit_id="d", remote_id=None, nas_port_id=None, mac=None, learned_at=NOW))
    await lines.forget_learned(connection, other, mine["nas"])
    await tokens.revoke(connection, other, mine["token"])
    await jobs.note(connection, other, mine["job"], "stolen")
    await jobs.approved(connection, other, mine["job"], "eve", NOW, None)
    await jobs.cancelled(connection, other, mine["job"], "eve", NOW, "stolen")
    await jobs.request_cancel(connection, other, mine["job"], "eve", NOW)
    await schedules.update(connection, other, mine["schedule"], {"note": "x"})
    await schedules.delete(connection, other, mine["schedule"])
    await provision_of(connection, other, mine)
    assert await everything(connection) == before


@pytest.mark.parametrize("table", ["radcheck", "radreply"])
async def test_nothing_is_hung_on_another_tenants_subscriber(connection, mine, other, table):
    attribute = Attribute(attribute="A", op="=" if table == "radreply" else "==", value="")
    for attempt in (
        lambda: subscribers.replace_attributes(connection, table, other, mine["subscriber"], [attribute]),
        lambda: subscribers.add_lock(connection, other, mine["subscriber"], reason="fraud", mode="reject", note=None, until_at=None, created_by="eve"),
        lambda: lines.replace_identities(connection, other, mine["subscriber"], "mac", ["00:11:22:33:44:66"]),
        lambda: lines.replace_lines(
            connection,
            other,
            mine["subscriber"],
            [lines.Kept(nas_id=None, circuit_id="d", remote_id=None, nas_port_id=None, mac=None, learned_at=None)],
        ),
        lambda: lines.replace_lines(
            connection,
            other,
            mine["subscriber"],
            [lines.Kept(nas_id=mine["nas"], circuit_id=None, remote_id=None, nas_port_id=None, mac=None, learned_at=None)],
        ),
        lambda: subscribers.insert(connection, other, {"username": "eve", "plan_id": mine["plan"]}),
        lambda: subscribers.update(connection, mine["tenant"], mine["subscriber"], {"plan_id": 10**6}),
        lambda: quotas.insert(connection, other, {"plan_id": mine["plan"], "name": "q", "unit": "time", "period": "day", "amount": 9}, []),
        lambda: quotas.replace_stages(connection, other, mine["quota"], [Stage(percent=1, action="block")]),
        lambda: quotas.add_top_up(connection, other, mine["subscriber"], mine["quota"], amount=5, expires_at=None, note=None, created_by="eve"),
        lambda: pools.insert_route(connection, other, mine["subscriber"], prefix=ip_network("10.1.0.0/24"), gateway=None, metric=1),
        lambda: pools.insert_rule(connection, mine["tenant"], mine["pool"], plan_id=10**6, nas_id=None, site_id=None, vrf=None),
    ):
        with pytest.raises((asyncpg.IntegrityConstraintViolationError, asyncpg.NoDataFoundError)):
            await attempt()


async def provision_of(connection, tenant, mine):
    """Bring in a row that names another tenant's subscriber and what is hers; nothing of hers is a clash, and nothing of hers is touched."""
    row = {
        "line": 2, "subscriber_id": mine["subscriber"], "username": "alice", "username_key": "alice", "password_hashed": False, "plan_id": mine["plan"],
        "state": "active", "ipv4": "192.0.2.1", "line_mode": "ignore", "line_learn": False, "checks": [], "replies": [], "lines": [],
        "mac_addresses": ["00:11:22:33:44:55"], "circuit_ids": [],
    }  # fmt: skip
    async with connection.transaction():
        await provision.begin(connection)
        await provision.add(connection, [tuple(row.get(name) for name in provision.COLUMNS)])
        assert await provision.take_out_clashes(connection, tenant) == ([], {"created": 0, "updated": 0})
        await provision.store(connection, tenant)


async def test_columns_are_not_free_text(connection, mine):
    with pytest.raises(ValueError, match="no such column"):
        await plans.update(connection, mine["tenant"], mine["plan"], {"tenant_id = 2 --": 5})
    with pytest.raises(ValueError, match="no such column"):
        await subscribers.insert(connection, mine["tenant"], {"tenant_id": 2})
