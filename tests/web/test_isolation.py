"""Every route of the table, asked by a token of another tenant, of another site and of another subscriber: they see nothing, and change nothing.

PostgreSQL sees to it: `test_the_walk_notices_a_missing_policy` drops a policy, takes the conditions out of the way, and the walk goes red.
"""

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from netd.domain import certificates, configurations, tokens
from netd.domain.actor import system
from netd.domain.ports import Verdict
from netd.domain.reports import REPORTS
from netd.model.permission import Scope
from netd.store import telemetry, timeseries
from netd.store.database import Connection, Database
from netd.web.api import resources
from netd.web.api.route import UPLOADS, Download, Route
from tests.web.running import Answer, Api
from tests.web.test_pools import lease
from tests.web.test_resources import open_session

EVERYWHERE = {"/whoami", "/permissions", "/jobs/kinds", "/reports", "/audit/verify", "/radius/enforcement", "/login", "/dhcp/profiles"}
"""Routes whose answer is about the caller, or about no row at all."""

SHARED_IN_TENANT = ("/plans", "/roles", "/pools", "/device-groups", "/software-images", "/software-targets", "/thresholds", "/ztp/authorities")
"""What a token of one site may read of the whole tenant: the catalogue."""

# A body that each route takes, so that what refuses is not its form.
BODIES: dict[str, dict[str, Any]] = {
    "NewPlan": {"name": "stolen", "down_bps": 1000, "up_bps": 1000},
    "NewSubscriber": {"username": "stolen", "plan": "home"},
    "NewQuota": {"name": "stolen", "unit": "volume", "period": "day", "amount": 10**9},
    "QuotaPatch": {"amount": 10**9},
    "NewTopUp": {"amount": 10**9},
    "QuotaReset": {},
    "NewCoaClient": {"name": "stolen", "address": "198.51.100.10", "secret": "stolen1"},
    "CoaClientPatch": {"description": "stolen"},
    "WaveDecision": {"sessions": 1},
    "NewLock": {"reason": "admin"},
    "NewPassword": {"password": "stolen"},
    "NewNas": {"name": "stolen", "address": "198.51.100.9", "secret": "stolen1", "vendor": "generic"},
    "NewSite": {"name": "stolen"},
    "NewOrganization": {"name": "stolen"},
    "NewRole": {"name": "stolen", "title": "stolen", "permissions": ["plans:read"]},
    "NewToken": {"name": "stolen", "role": "read_only"},
    "TenantPatch": {"name": "stolen"},
    "NewTenant": {"name": "stolen"},
    "PlanPatch": {"down_bps": 1999},
    "SubscriberPatch": {"note": "stolen"},
    "NasPatch": {"description": "stolen"},
    "SitePatch": {"note": "stolen"},
    "OrganizationPatch": {"note": "stolen"},
    "RolePatch": {"title": "stolen"},
    "Login": {"username": "alice"},
    "RotationOrder": {"new_key": False},
    "StateNote": {},
    "NewWebhook": {"name": "stolen", "url": "https://stolen.example/"},
    "WebhookPatch": {"note": "stolen"},
    "Replay": {"event_id": "1.1"},
    "NewBillingHook": {"name": "stolen"},
    "BillingHookPatch": {"note": "stolen"},
    "Notice": {"id": "1", "type": "invoice.overdue", "username": "alice"},
    "NewJob": {"kind": "audit.verify"},
    "Decision": {"note": "stolen"},
    "NewSchedule": {"name": "stolen", "kind": "audit.verify", "cron": "@daily"},
    "SchedulePatch": {"note": "stolen"},
    "NewUser": {"name": "stolen"},
    "UserPatch": {"full_name": "stolen"},
    "NewGrant": {"role": "read_only"},
    "PasswordLogin": {"username": "ursula", "password": "stolen"},
    "CodeLogin": {"challenge": "stolen", "code": "123456"},
    "Setup": {"token": "stolen", "password": "stolen stolen"},
    "PasswordChange": {"current_password": "stolen", "password": "stolen stolen"},
    "Proof": {"current_password": "stolen"},
    "TotpCode": {"code": "123456"},
    "NewPool": {"name": "stolen", "kind": "ipv4", "ranges": ["198.18.0.0/24"]},
    "PoolPatch": {"description": "stolen"},
    "MoreRanges": {"ranges": ["198.18.1.0/24"]},
    "NewPoolRule": {"pool": "cgn"},
    "Release": {"force": True},
    "NewSubnet": {"name": "stolen", "prefix": "198.18.3.0/24", "profiles": ["plain"]},
    "SubnetPatch": {"description": "stolen"},
    "NewReservation": {"subnet": "access", "kind": "mac", "value": "02:00:00:00:00:01", "address": "100.64.0.8"},
    "NewExpected": {"hostname": "stolen", "profile": "plain", "serial": "S9"},
    "ExpectedPatch": {"target_version": "stolen"},
    "Retry": {"boot": True},
    "Revoke": {"reason": "superseded"},
    "Adoption": {"hostname": "stolen", "profile": "plain"},
    "Disregard": {"ignored": True},
    "NewRule": {"name": "stolen", "profiles": ["plain"], "hostname": "stolen-{serial}"},
    "RulePatch": {"enabled": False},
    "NewAuthority": {},
    "NewFramedRoute": {"prefix": "198.18.2.0/24"},
    "NewDevice": {"hostname": "stolen", "mgmt_address": "198.51.100.3", "vendor": "generic"},
    "DevicePatch": {"note": "stolen"},
    "NewDeviceGroup": {"name": "stolen", "selector": {}},
    "DeviceGroupPatch": {"note": "stolen"},
    "InterfacePatch": {"monitored": False},
    "NewCredential": {"name": "stolen", "type": "snmp_community", "community": "stolen"},
    "CredentialPatch": {"enabled": False},
    "DiscoveryOrder": {"ranges": ["198.51.100.0/30"]},
    "CandidatePatch": {"state": "ignored"},
    "Approval": {"note": "stolen"},
    "NewTemplate": {"name": "stolen", "body": "x"},
    "TemplatePatch": {"note": "stolen"},
    "NewTemplateVariables": {"role": "stolen", "variables": {}},
    "TemplateVariablesPatch": {"note": "stolen"},
    "Preview": {"device": "north-core"},
    "DeviceChoice": {"selector": {}},
    "NewSoftwareTarget": {"platform": "mikrotik_routeros", "software_version": "9.9", "reason": "stolen"},
    "SoftwareTargetPatch": {"reason": "stolen"},
    "Acceptance": {"hostname": "stolen", "vendor": "generic"},
    "NewPortalToken": {"subscriber": "alice"},
    "AuthTest": {"username": "alice"},
    "OwnPassword": {"current_password": "wonderland", "password": "stolen stolen"},
    "NewThreshold": {"name": "stolen", "metric": "cpu_percent", "raise_level": 1},
    "ThresholdPatch": {"note": "stolen"},
    "Acknowledgement": {"note": "stolen"},
}
FILES: dict[str, bytes] = {
    "/software-images": b"stolen",
    "/import": b'{"subscriber": {"username": "alice", "plan": "home", "note": "stolen"}}\n',
    "/subscribers/import": b"username,password,plan,note\nalice,x,home,stolen\n",
    "/plans/import": b"name,down_bps,up_bps\nhome,1000,1000\n",
    "/radius/nas/import": b"name,address,secret,vendor\nbras1,192.0.2.0/24,stolen1,generic\n",
    "/pools/import": b"name,kind,ranges,rules\ncgn,ipv4,198.18.0.0/24,all\n",
    "/devices/import": b"hostname,mgmt_address,vendor,note\ncore9,192.0.2.40,generic,stolen\n",
    "/credentials/import": b"name,type,community\nnorth-snmp,snmp_community,stolen\n",
    "/device-groups/import": b"name,selector,note\nnorth,{},stolen\n",
    "/thresholds/import": b"name,metric,raise_level,note\nnorth,cpu_percent,1,stolen\n",
    "/schedules/import": b"name,kind,cron,note\nnorth-nightly,audit.verify,@daily,stolen\n",
}
QUERIES = {
    **{path: "mode=upsert" for path in FILES if path.endswith("/import") and path != "/import"},
    "/software-images": "platform=mikrotik_routeros&software_version=9.9&file_name=stolen&sha256=" + "e" * 64,
    "/addresses": "ip=100.64.0.7",
    "/radius/sessions/who-had": "ip=192.0.2.7",
    "/radius/postauth": "username=alice",
    "/subscribers/explain": "username=alice",
    "/devices/{id}/series": "metric=cpu_percent",
    "/devices/{id}/optics-series": "metric=rx_dbm&interface=north-0",
    "/interfaces/{id}/series": "metric=in_bps",
}
ROLE = "walker"


@pytest.fixture
async def owned(api: Api, database: Database) -> dict[str, int]:
    """One of everything in the default tenant, at its site: ids by the first part of the path."""
    made: dict[str, int] = {}
    made["organizations"] = (await api.post("/organizations", {"name": "north"})).value["id"]
    made["sites"] = (await api.post("/sites", {"name": "oslo", "organization": "north"})).value["id"]
    made["plans"] = (await api.post("/plans", {"name": "home", "down_bps": 1_000_000, "up_bps": 1_000_000})).value["id"]
    alice = {"username": "alice", "password": "wonderland", "plan": "home", "site": "oslo"}
    made["subscribers"] = (await api.post("/subscribers", alice)).value["id"]
    nas = {"name": "bras1", "address": "192.0.2.0/24", "secret": "testing123", "vendor": "generic", "site": "oslo"}
    made["nas"] = (await api.post("/radius/nas", nas)).value["id"]
    made["roles"] = (await api.post("/roles", {"name": "own", "title": "Own", "permissions": ["plans:read"]})).value["id"]
    made["tokens"] = (await api.post("/tokens", {"name": "t", "role": "read_only"})).value["token"]["id"]
    made["coa-clients"] = (await api.post("/radius/coa-clients", {"name": "north", "address": "192.0.2.9", "secret": "testing123"})).value["id"]
    made["pools"] = (await api.post("/pools", {"name": "cgn", "kind": "ipv4", "ranges": ["100.64.0.0/24"]})).value["id"]
    made["rules"] = (await api.post("/pools/rules", {"pool": "cgn"})).value["id"]
    made["leases"] = await lease(database, made["pools"], "alice", "100.64.0.7")
    subnet = {"name": "access", "prefix": "100.64.0.0/24", "serves": "classes", "profiles": ["plain"], "site": "oslo"}
    made["subnets"] = (await api.post("/dhcp/subnets", subnet)).value["id"]
    reservation = {"subnet": "access", "kind": "serial", "value": "JPE1", "address": "100.64.0.9"}
    made["reservations"] = (await api.post("/dhcp/reservations", reservation)).value["id"]
    made["routes"] = (await api.post(f"/subscribers/{made['subscribers']}/routes", {"prefix": "10.9.0.0/24"})).value["id"]
    ursula = (await api.post("/users", {"name": "ursula", "grants": [{"role": "read_only"}]})).value["user"]
    made["users"], made["grants"] = ursula["id"], ursula["grants"][0]["id"]
    made["lockouts"] = await a_lockout(database)
    made["webhooks"] = (await api.post("/webhooks", {"name": "north-hook", "url": "https://127.0.0.1:9/north", "site": "oslo"})).value["webhook"]["id"]
    made["billing-hooks"] = (await api.post("/billing-hooks", {"name": "north-billing"})).value["hook"]["id"]
    made |= await inventory(api, database)
    made["jobs"] = await a_job(database, made["sites"])
    nightly = {"name": "north-nightly", "kind": "audit.verify", "cron": "@daily"}
    made["schedules"] = (await api.post("/schedules", nightly)).value["id"]
    made |= await booting(api, database, made["subnets"])
    made["sessions"] = await open_session(database)
    await api.post(f"/subscribers/{made['subscribers']}/locks", {"reason": "fraud"})
    async with database.acquire() as conn:
        await conn.execute("update sessions set subscriber_id = $1, nas_id = $2", made["subscribers"], made["nas"])
        await conn.execute(
            """insert into radpostauth (tenant_id, nas_id, subscriber_id, username, username_key, reply, reason, authdate)
               values (1, $1, $2, 'alice', 'alice', 'Access-Accept', 'ok', now())""", made["nas"], made["subscribers"],
        )  # fmt: skip
        await conn.execute(
            """insert into webhook_deliveries (tenant_id, webhook_id, delivery_id, event_type, at, attempt, delivered, seconds)
               values (1, $1, 'north', 'plan.created', now(), 1, true, 0)""", made["webhooks"],
        )  # fmt: skip
    return made


async def inventory(api: Api, database: Database) -> dict[str, int]:
    """A device at the site, what opens it, and what was observed of it."""
    made: dict[str, int] = {}
    credential = {"name": "north-ssh", "type": "ssh", "username": "north", "password": "testing123", "site": "oslo"}
    made["credentials"] = (await api.post("/credentials", credential)).value["id"]
    await api.post("/credentials", {"name": "north-snmp", "type": "snmp_community", "community": "testing123"})
    core = {"hostname": "core9", "mgmt_address": "192.0.2.40", "vendor": "generic", "site": "oslo", "nas": "bras1", "credential": "north-ssh"}
    made["devices"] = (await api.post("/devices", core)).value["id"]
    made["device-groups"] = (await api.post("/device-groups", {"name": "north", "selector": {"sites": ["oslo"]}})).value["id"]
    async with database.acquire() as conn:
        made["candidates"] = await conn.fetchval(
            """insert into discovery_candidates (tenant_id, site_id, address, sys_name, first_seen_at, last_seen_at)
               select 1, id, '192.0.2.41', 'north-edge', now(), now() from sites where name = 'oslo' returning id"""
        )
        made["interfaces"] = await conn.fetchval(
            "insert into interfaces (tenant_id, device_id, if_index, name, alias) values (1, $1, 7, 'north-0', 'to oslo') returning id", made["devices"]
        )
        for statement in (
            "insert into links (tenant_id, device_id, identity, local_interface, protocol, remote_name, first_seen_at, last_seen_at) "
            "values (1, $1, 'x', 'north-0', 'lldp', 'north-edge', now(), now())",
            "insert into endpoints (tenant_id, device_id, source, mac, interface, first_seen_at, last_seen_at) "
            "values (1, $1, 'mac', '00:11:22:33:44:55', 'north-0', now(), now())",
            "insert into device_facts (tenant_id, device_id, at, fact, after, source) values (1, $1, now(), 'hostname', 'north-core', 'snmp')",
            "insert into device_credentials (tenant_id, device_id, protocol, credential_id, worked_at) "
            "select 1, $1, 'ssh', id, now() from credentials where name = 'north-ssh'",
        ):
            await conn.execute(statement, made["devices"])
        made["thresholds"] = await conn.fetchval(
            "insert into thresholds (tenant_id, name, metric, raise_level, clear_level) values (1, 'north', 'cpu_percent', 1, 1) returning id"
        )
        made["alarms"] = await conn.fetchval(
            "insert into alarms (tenant_id, device_id, threshold_id, name, severity, raised_at) values (1, $1, $2, 'north', 'major', now()) returning id",
            made["devices"], made["thresholds"],
        )  # fmt: skip
        await measured(conn, made["devices"], made["interfaces"])
    made["configurations"] = await a_configuration(api, database, made["devices"])
    made["templates"] = (await api.post("/templates", {"name": "north", "body": "hostname north", "role": "north", "site": "oslo"})).value["id"]
    made["template-variables"] = (await api.post("/template-variables", {"variables": {"ntp": "north"}, "site": "oslo"})).value["id"]
    target = {"platform": "mikrotik_routeros", "software_version": "7.17", "reason": "north"}
    made["software-targets"] = (await api.post("/software-targets", target)).value["id"]
    image = {"platform": "mikrotik_routeros", "software_version": "7.17", "file_name": "north", "sha256": hashlib.sha256(b"x").hexdigest()}
    headers = {"Content-Type": "application/octet-stream"}
    made["software-images"] = (await api.call("POST", "/software-images", params=image, data=b"x", headers=headers)).value["id"]
    return made


async def booting(api: Api, database: Database, subnet: int) -> dict[str, int]:
    """A device that is expected at the site, with a step and a token, one that came unexpected, and a rule."""
    device = {"hostname": "north-cpe", "profile": "plain", "serial": "N1", "site": "oslo", "boot_template": "alice"}
    made = {"ztp-devices": (await api.post("/ztp/devices", device)).value["id"]}
    rule = {"name": "north-rule", "profiles": ["plain"], "hostname": "north-{serial}", "site": "oslo"}
    made["ztp-rules"] = (await api.post("/ztp/rules", rule)).value["id"]
    async with database.acquire() as conn:
        made["ztp-candidates"] = await conn.fetchval(
            """insert into ztp_candidates (tenant_id, site_id, subnet_id, identity, serial, said, first_seen_at, last_seen_at)
               select 1, id, $1, $2, 'north-2', '{"hostname": "north"}', now(), now() from sites where name = 'oslo' returning id""", subnet, bytes(32),
        )  # fmt: skip
        await conn.execute(
            """insert into ztp_tokens (digest, tenant_id, ztp_device_id, generation, purpose, address, expires_at)
               values ($1, 1, $2, 1, 'boot', '192.0.2.77', now())""", bytes(32), made["ztp-devices"],
        )  # fmt: skip
    made["ztp-authorities"] = (await api.post("/ztp/authorities", {})).value["id"]
    async with database.acquire() as conn:
        made["ztp-certificates"] = await conn.fetchval(
            """insert into certificates (tenant_id, ztp_device_id, authority_id, subject, names, algorithm, certificate, key, serial, fingerprint, not_before,
                                         not_after)
               values (1, $1, $2, 'CN=north', '{north}', 'ec', 'north', $3, '1', 'f', now(), now() + interval '1 year') returning id""", made["ztp-devices"],
            made["ztp-authorities"], api.deps.keyring.seal(b"north", certificates.CONTEXT),
        )  # fmt: skip
        await conn.execute(
            """insert into certificate_revocations (tenant_id, authority_id, serial, subject, reason, not_after, revoked_by)
               values (1, $1, '2', 'CN=north', 'superseded', now() + interval '1 year', 'north')""", made["ztp-authorities"],
        )  # fmt: skip
    return made


async def measured(conn: Connection, device_id: int, interface_id: int) -> None:
    """Samples of now, and their sums."""
    now = datetime.now(UTC)
    await timeseries.ensure(conn, now.date())
    await telemetry.copy(conn, "reach_samples", [(1, device_id, now, True, 1.0, 60.0)])
    await telemetry.copy(conn, "device_samples", [(1, device_id, now, 100, 50.0, 1, 2, None, None, None)])
    await telemetry.copy(conn, "interface_samples", [(1, device_id, interface_id, now, 60.0, 1000, 2000, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0, True, 10**6)])
    await telemetry.copy(conn, "optics_samples", [(1, device_id, "north-0", None, now, -20.0, 2.0, None, None, None, None, None)])
    for level in timeseries.LEVELS:
        while await timeseries.roll_up(conn, level, now + timedelta(days=2)):
            continue


async def a_job(database: Database, site: int) -> int:
    """A job at the site, that has done something to bras1 and said so."""
    async with database.acquire() as conn:
        job = int(await conn.fetchval(
            """insert into jobs (tenant_id, kind, state, sites, args, idempotent, max_attempts, timeout_seconds, created_by, person, approval_until,
                                 log_seq)
               values (1, 'audit.verify', 'awaiting_approval', array[$1::bigint], '{"nas": "bras1"}', true, 1, 60, 'north', 'user:0', now() + interval '1 day',
                       1) returning id""", site))  # fmt: skip
        await conn.execute("insert into job_log (tenant_id, job_id, seq, type, level, attempt, text) values (1, $1, 1, 'line', 'info', 1, 'bras1')", job)
        await conn.execute("insert into job_targets (tenant_id, job_id, key, name, said) values (1, $1, 'nas:1', 'bras1', 'bras1')", job)
        await conn.execute("insert into job_file_parts (tenant_id, job_id, fence, number, data) values (1, $1, 0, 0, 'bras1')", job)
        await conn.execute(
            """insert into job_files (tenant_id, job_id, fence, name, media_type, permission, octets)
               values (1, $1, 0, 'north.csv', 'text/csv', 'devices:read', 5)""", job,
        )  # fmt: skip
    return job


async def a_configuration(api: Api, database: Database, device: int) -> int:
    """A version of a device's configuration."""
    sealed = configurations.seal(api.deps.keyring, "hostname north")
    async with database.acquire() as conn:
        text = await conn.fetchval(
            "insert into configuration_texts (tenant_id, digest, octets, sealed) values (1, $1, 9, $2) returning id", bytes(32), sealed
        )  # fmt: skip
        await conn.execute("insert into configuration_keys (tenant_id, secret) values (1, $1)", api.deps.keyring.seal(bytes(32), configurations.KEY_CONTEXT))
        version = int(await conn.fetchval(
            """insert into configurations (tenant_id, device_id, which, number, text_id, normal, platform, lines, octets, source, first_seen_at, last_seen_at)
               values (1, $1, 'running', 1, $2, $3, 'generic_frr', 1, 9, 'backup', now(), now()) returning id""", device, text, bytes(32)))  # fmt: skip
        await conn.execute("insert into configuration_states (tenant_id, device_id, running_id) values (1, $1, $2)", device, version)
    return version


async def a_lockout(database: Database) -> int:
    """Failed log-ins of ursula."""
    async with database.acquire() as conn:
        return int(await conn.fetchval(
            """insert into login_failures (tenant_id, kind, key, subject, failures, failed_at, locked_until)
               values (1, 'user', 'x', 'ursula', 9, now(), now() + interval '1 hour') returning id"""))  # fmt: skip


async def a_token(database: Database, tenant: int, **bound: str) -> str:
    """A token that may do all that a tenant's token can, where it is bound."""
    new = msgspec.convert({"name": "walker", "role": "admin", **bound}, tokens.NewToken)
    return (await tokens.create(database, system(tenant, "test"), new, datetime.now(UTC))).text


def target(route: Route, owned: dict[str, int]) -> str:
    """The route's path at the object of the default tenant."""
    kind = [part for part in route.path.split("/") if part and not part.startswith("{")]
    if kind[0] == "ztp":
        kind = [f"ztp-{part}" for part in kind]
    key = next((part for part in reversed(kind) if part in owned and part not in ("routes", "grants")), "")
    path = route.path.replace("{route_id}", str(owned["routes"])).replace("{grant}", str(owned["grants"]))
    path = path.replace("{other}", str(owned["configurations"])).replace("{id}", str(owned.get(key, 1))).replace("{reason}", "fraud")
    return path + (f"?{QUERIES[route.path]}" if route.path in QUERIES and (route.path != "/software-images" or route.method == "POST") else "")


def body_of(route: Route, owned: dict[str, int]) -> object:
    """What to send: for a bulk route, to look at, change and remove the object of the default tenant."""
    if route.path.endswith("/bulk"):
        key = next(part for part in reversed(route.path.split("/")) if part in owned)
        return {"items": [{"do": do, "id": owned[key]} for do in ("update", "delete", "release", "acknowledge")]}
    return BODIES[route.body.__name__]


async def everything(database: Database) -> dict[str, set[str]]:
    """All rows of all tables, but those that asking itself changes."""
    async with database.acquire() as conn:
        tables = await conn.fetch(
            """select relname from pg_class where relkind = 'r' and relnamespace = current_schema()::regnamespace
               and relname not in ('audit_log', 'audit_heads', 'changes', 'schema_migrations') order by 1"""
        )
        found = {}
        for (table,) in tables:
            rows = await conn.fetch(f"select to_jsonb(t) - 'last_used_at' as row from {table} t")
            found[table] = {str(row["row"]) for row in rows}
        return found


def names(value: object) -> set[str]:
    """What an answer tells of the default tenant's things."""
    return set(re.findall(r"alice|bras1|oslo|north|\bown\b|wonderland|testing123|ursula", msgspec.json.encode(value, enc_hook=str).decode()))


async def walk(api: Api, database: Database, owned: dict[str, int], token: str, *, skip: tuple[str, ...] = ()) -> list[str]:
    """Ask every route with ``token``; returns what it saw or changed."""
    leaks = []
    before = await everything(database)
    headers = {"Authorization": f"Bearer {token}"}
    for route in sorted(resources.ROUTES, key=lambda each: each.method != "GET"):  # look first: what is gone cannot be shown
        if route.path in EVERYWHERE or (route.method == "GET" and route.path.startswith(skip or ("\0",))):
            continue
        sent: dict[str, Any]
        if route.body in UPLOADS:
            sent = {"data": FILES[route.path], "headers": {**headers, "Content-Type": route.body.media_types[0]}}
        else:
            sent = {"body": None if route.body is None else body_of(route, owned), "headers": headers}
        answer = await api.call(route.method, target(route, owned), role=None, **sent)
        assert answer.status < 500, (route.method, route.path, answer.value)
        if leak := leaked(route, answer):
            leaks.append(f"{route.method} {route.path} -> {answer.status}: {leak}")
    after = await everything(database)
    return leaks + [f"{table}: {sorted(lost)}" for table in before if (lost := before[table] - after[table])]


def leaked(route: Route, answer: Answer) -> str:
    """What an answer tells, or seems to have done, that it should not."""
    if answer.status == 204:
        return "done"
    if route.returns is Download:
        return ", ".join(sorted(names(answer.raw.decode()))) if answer.status == 200 else ""
    items = answer.value.get("items") if answer.status == 200 else None
    if items is not None:
        return ", ".join(sorted(names(items)))
    if answer.status < 300 and "{id}" in route.path:
        return "answered"
    if answer.status < 300 and route.returns is Verdict:
        return "" if answer.value["reason"] == "unknown_user" else "alice"
    if answer.status < 300 and route.method == "GET":
        return ", ".join(sorted(names(answer.value)))
    if answer.status >= 400:  # the caller's own words come back: where it asked, and for whom
        return ", ".join(sorted(names({**answer.value, "instance": ""}) - {"alice"}))
    return ""


async def test_another_tenants_token(api: Api, database: Database, owned: dict[str, int]):
    made = await api.post("/tenants", {"name": "other"})
    assert await walk(api, database, owned, made.value["token"]) == []


async def test_another_sites_token(api: Api, database: Database, owned: dict[str, int]):
    await api.post("/sites", {"name": "rome"})
    token = await a_token(database, 1, site="rome")
    assert await walk(api, database, owned, token, skip=SHARED_IN_TENANT) == []


async def test_another_organizations_token(api: Api, database: Database, owned: dict[str, int]):
    await api.post("/organizations", {"name": "south"})
    await api.post("/sites", {"name": "rome", "organization": "south"})
    token = await a_token(database, 1, organization="south")
    assert await walk(api, database, owned, token, skip=SHARED_IN_TENANT) == []


async def own_token(api: Api, username: str) -> str:
    """A token of a subscriber's own account that may do all that such a token can."""
    made = await api.post("/portal-tokens", {"subscriber": username, "permissions": ["me:read", "me:set_password", "me:disconnect"]})
    return str(made.value["text"])


async def test_another_subscribers_token(api: Api, database: Database, owned: dict[str, int]):
    """It opens its own account and nothing else, not even what every other token may see; another's session is not there."""
    await api.post("/subscribers", {"username": "bob", "password": "bobs word", "plan": "home", "site": "oslo"})
    token = await own_token(api, "bob")
    headers = {"Authorization": f"Bearer {token}"}
    assert {route.path for route in resources.ROUTES if (route.permission or "").startswith("me:")} == {
        route.path for route in resources.ROUTES if route.path.startswith("/self")
    }
    for route in resources.ROUTES:
        if route.public or (route.path.startswith("/self") and "{id}" not in route.path):
            continue
        body = None if route.body is None or route.body in UPLOADS else body_of(route, owned)
        answer = await api.call(route.method, target(route, owned), role=None, body=body, headers=headers)
        assert answer.status in (403, 404), (route.method, route.path, answer.status, answer.value)
    assert (await api.get("/self", role=None, headers=headers)).value["username"] == "bob"
    leaks = await walk(api, database, owned, token)
    assert leaks == []
    assert api.control.asked == []


async def test_the_walk_notices_the_own_sessions(api: Api, owned: dict[str, int]):
    headers = {"Authorization": f"Bearer {await own_token(api, 'alice')}"}
    own = await api.get(f"/self/sessions/{owned['sessions']}", role=None, headers=headers)
    assert (own.status, own.value["id"]) == (200, owned["sessions"])
    listed = await api.get("/self/sessions", role=None, headers=headers)
    assert [each["id"] for each in listed.value["items"]] == [owned["sessions"]]


async def test_a_subscribers_scope_shows_the_subscribers_own_rows(api: Api, database: Database, owned: dict[str, int]):
    """What a statement without any condition finds in the scope of one subscriber."""
    bob = (await api.post("/subscribers", {"username": "bob", "plan": "home", "site": "oslo"})).value["id"]
    await api.post("/plans", {"name": "other", "down_bps": 1_000_000, "up_bps": 1_000_000})
    for plan in ("home", "other"):
        await api.post(f"/plans/{owned['plans'] + (plan == 'other')}/quotas", {"name": "q", "unit": "volume", "period": "day", "amount": 10**9})
    allowed = {"subscribers": 1, "plans": 1, "plan_quotas": 1, "tenants": 1}
    async with database.acquire() as conn:
        tables = [row[0] for row in await conn.fetch(
            """select c.relname from pg_class c where c.relkind in ('r', 'p') and not c.relispartition and c.relrowsecurity
               and c.relnamespace = current_schema()::regnamespace and has_table_privilege('netd_tenant', c.oid, 'select') order by 1""")]  # fmt: skip
    async with api.confined.transaction(Scope(1, None, bob)) as conn:
        seen = {table: await conn.fetchval(f"select count(*) from {table}") for table in tables}
    assert {table: count for table, count in seen.items() if count and table != "events"} == allowed
    async with api.confined.transaction(Scope(1, None, bob)) as conn:
        assert await conn.fetchval("select count(*) from events where subscriber_id is distinct from $1", bob) == 0


async def test_the_walk_notices_what_is_shown(api: Api, database: Database, owned: dict[str, int]):
    """The same walk by the rightful site sees things: it does not pass because it looks at nothing."""
    token = await a_token(database, 1, site="oslo")
    headers = {"Authorization": f"Bearer {token}"}
    for path in ("/subscribers", "/radius/nas", "/radius/sessions", "/sites", "/organizations", "/radius/postauth?username=alice", "/webhooks",
                 "/top-talkers", "/alarms",
                 "/devices", "/credentials", "/interfaces", "/links", "/endpoints", "/device-facts", "/discovery/candidates", "/jobs",
                 "/configurations", "/configuration-states", "/templates", "/template-variables", "/ztp/devices", "/ztp/candidates", "/ztp/rules",
                 "/ztp/certificates", "/ztp/authorities"):  # fmt: skip
        answer = await api.get(path, role=None, headers=headers)
        assert answer.value["items"], path
    for path in ("/subscribers/export", "/radius/nas/export", *(f"/reports/{report.name}" for report in REPORTS if report.permission != "reports:read")):
        assert (await api.get(path, role=None, headers=headers)).raw.count(b"\r\n") == 2, path
    assert (await api.get(f"/jobs/{owned['jobs']}/file", role=None, headers=headers)).raw == b"bras1"
    assert await walk(api, database, owned, token) != []


@pytest.mark.parametrize(
    ("table", "policy", "path"), [("subscribers", "site", "/subscribers"), ("nas", "site", "/radius/nas"), ("audit_log", "whole", "/audit")]
)
async def test_the_walk_notices_a_missing_policy(api: Api, database: Database, owned: dict[str, int], table, policy, path):
    await api.post("/sites", {"name": "rome"})
    token = await a_token(database, 1, site="rome")
    async with database.acquire() as conn:
        await conn.execute(f"drop policy {policy} on {table}")
    if table == "subscribers":
        assert names((await api.get("/subscribers/export", role=None, headers={"Authorization": f"Bearer {token}"})).raw.decode()) == {"alice"}
    leaks = await walk(api, database, owned, token, skip=SHARED_IN_TENANT)
    assert any(leak.startswith(f"GET {path} ->") for leak in leaks), leaks


async def shown(conn: Any, tables: Iterable[str]) -> set[str]:
    """Of these tables, those of which the connection sees a row though no condition is asked for."""
    counts = await conn.fetchrow("select " + ", ".join(f"exists (select from {table}) as {table}" for table in tables))
    return {table for table, there in dict(counts).items() if there}


async def readable(database: Database) -> list[str]:
    """The tables that a tenant owns and the API's role may read."""
    async with database.acquire() as conn:
        return [row[0] for row in await conn.fetch(
            """select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
               where c.relkind in ('r', 'p') and not c.relispartition and c.relnamespace = current_schema()::regnamespace
               and has_table_privilege('netd_tenant', c.oid, 'select') order by 1""")]  # fmt: skip


async def test_a_forgotten_condition_shows_nothing(database: Database, owned: dict[str, int], api: Api):
    """Without any scope, with another tenant's and with another site's, the API's role sees no row of any table that these do not own."""
    other = (await api.post("/tenants", {"name": "other"})).value["tenant"]["id"]
    await api.post("/sites", {"name": "rome"})
    tables = await readable(database)
    assert {"subscribers", "sessions", "radacct", "api_tokens", "audit_log"} <= set(tables)
    async with api.confined.transaction() as conn:
        assert await shown(conn, tables) == set()
    async with api.confined.transaction(system(other).scope) as conn:
        assert await shown(conn, tables) == {"roles", "api_tokens", "audit_log", "audit_heads"} & set(tables), "what every new tenant has"
    async with api.confined.transaction(await elsewhere(database)) as conn:
        assert await shown(conn, tables) <= CATALOGUE


CATALOGUE = {
    "plans", "device_groups", "software_images", "software_targets", "thresholds", "certificate_authorities", "roles", "pools", "pool_ranges", "pool_rules",
    "pool_spans", "plan_quotas", "quota_stages", "sites", "events",
}  # fmt: skip
"""What who may at one site only reads, too: the tenant's catalogue, the own site and what happened there."""

UNFILLED: set[str] = set()


async def act_for(conn: Any, scope: Scope) -> None:
    """As netd does at the beginning of a transaction, written down apart from it."""
    sites = "*" if scope.sites is None else ",".join(map(str, scope.sites))
    await conn.execute("select set_config('netd.tenant', $1, true), set_config('netd.sites', $2, true)", str(scope.tenant_id), sites)


async def elsewhere(database: Database) -> Scope:
    async with database.acquire() as conn:
        return Scope(1, frozenset((await conn.fetchval("select id from sites where name = 'rome'"),)), None, None)


async def test_each_policy_is_needed(database: Database, owned: dict[str, int], api: Api):
    """Taken away one after the other, each lets through just what it kept back: none is there for show, and the test above sees every table."""
    other = (await api.post("/tenants", {"name": "other"})).value["tenant"]["id"]
    await api.post("/sites", {"name": "rome"})
    await api.post("/plans/1/quotas", {**BODIES["NewQuota"], "stages": [{"percent": 80, "action": "notify"}]})
    await api.post("/pools/1/ranges", {"exclusions": ["100.64.0.9"]})
    await api.post("/sites", {"name": "bonn"}, headers={"Idempotency-Key": "bonn"})
    await api.patch("/subscribers/1", {"mac_addresses": ["00:11:22:33:44:55"]})
    async with database.acquire() as conn:
        await conn.execute("insert into user_recovery_codes (tenant_id, user_id, code_hash) values (1, 1, 'x')")
        await conn.execute("insert into quota_usage (tenant_id, subscriber_id, quota_id, starts_at, ends_at, amount) values (1, 1, 1, now(), now(), 1)")
        await conn.execute(
            """insert into quota_events (tenant_id, subscriber_id, quota_id, starts_at, percent, action, used, allowance, at)
               values (1, 1, 1, now(), 80, 'notify', 1, 1, now())"""
        )
        await conn.execute(
            """insert into user_sessions (tenant_id, user_id, token_hash, method, network, created_at, last_used_at, expires_at)
               values (1, 1, 'x', 'password', 'x', now(), now(), now())"""
        )
        await conn.execute(
            """insert into radacct (radacctid, tenant_id, subscriber_id, acctuniqueid, acctsessionid, username, nasipaddress, nassourceaddress, acctstarttime,
                   acctupdatetime, acctstoptime, acctterminatecause, interim_seconds, closed_by)
               values (99, 1, 1, 'x', 'x', 'alice', '192.0.2.1', '192.0.2.1', now(), now(), now(), 'x', 300, 'stop')"""
        )
        await conn.execute("insert into usage_daily (tenant_id, subscriber_id, day) values (1, 1, '2026-11-01')")
        await conn.execute("insert into billing_notices (tenant_id, hook_id, notice_id, fingerprint) values (1, 1, 'x', 'x')")
        await conn.execute("insert into radcheck (tenant_id, subscriber_id, attribute, op, value) values (1, 1, 'NAS-Port-Id', '==', 'x')")
        await conn.execute("insert into radreply (tenant_id, subscriber_id, attribute, op, value) values (1, 1, 'Filter-Id', ':=', 'x')")
        await conn.execute("insert into subscriber_lines (tenant_id, subscriber_id, circuit_id) values (1, 1, 'x')")
        await conn.execute("insert into credentials (tenant_id, name, type, encrypted_secret) values (1, 'x', 'http', 'x')")
        await conn.execute("insert into devices (tenant_id, vendor, hostname, mgmt_address) values (1, 'x', 'x', '192.0.2.1')")
        await conn.execute("insert into top_ups (tenant_id, subscriber_id, quota_id, amount, created_by) values (1, 1, 1, 1, 'x')")
    tables, site, somebody = await readable(database), await elsewhere(database), Scope(1, None, 999_999)
    async with database.acquire() as conn:
        await conn.execute(
            """insert into dhcp_addresses (tenant_id, subnet_id, address, client_id, profile, until_at)
               values (1, $1, '100.64.0.99', 'x', 'plain', now() + interval '1 hour')""", owned["subnets"],
        )  # fmt: skip
        await conn.execute("insert into session_event_wishes (tenant_id, wanted_until) values (1, now()) on conflict do nothing")
        filled = await shown(conn, tables)
        policies = await conn.fetch(
            "select c.relname, p.polname, p.polpermissive from pg_policy p join pg_class c on c.oid = p.polrelid where p.polcmd in ('*', 'r') order by 1, 2"
        )
        for table, name, permissive in policies:
            if table in filled:
                transaction = conn.transaction()
                await transaction.start()
                await conn.execute(f"alter policy {name} on {table} using (true)")
                await conn.execute("set local role netd_tenant")
                await act_for(conn, system(other).scope if permissive else somebody if name == "own" else site)
                assert await shown(conn, [table]) == {table}, f"policy {name} on {table} keeps nothing back"
                await transaction.rollback()
    assert sorted({table for table, _, _ in policies} & set(tables) - filled) == sorted(UNFILLED), "tables of which the estate of this walk has no row"


async def test_every_table_of_tenants_has_policies(database: Database):
    """A new table with a tenant_id cannot be forgotten: either the API's role has no right to it, or policies confine it."""
    async with database.acquire() as conn:
        bare = await conn.fetch(
            """select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
               where c.relkind in ('r', 'p') and c.relnamespace = current_schema()::regnamespace and not c.relispartition
               and has_table_privilege('netd_tenant', c.oid, 'select')
               and not (c.relrowsecurity and exists (select from pg_policy p where p.polrelid = c.oid and p.polname = 'tenant'))"""
        )
        partitions = await conn.fetch(
            "select relname from pg_class where relispartition and relkind = 'r' and has_table_privilege('netd_tenant', oid, 'select')"
        )
        assert [row[0] for row in bare] == []
        assert [row[0] for row in partitions] == []
