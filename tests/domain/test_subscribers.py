"""Subscribers."""

from datetime import UTC, datetime

import msgspec
import pytest

from netd.domain import plans, subscribers
from netd.domain.subscribers import PASSWORD_CONTEXT, NewPassword, NewSubscriber, SubscriberPatch
from netd.errors import Conflict, InvalidInput, NotFound


class OnlyFilter:
    """Rules that know one attribute."""

    def validate_check(self, attribute, op, value):
        if attribute != "Filter-Id":
            raise ValueError(f"no attribute {attribute}")
        if value == "bad":
            raise ValueError("bad value")

    validate_reply = validate_check


async def test_create(world, keyring, actor, database):
    plan = await world.plan(actor)
    until = datetime(2030, 1, 1, tzinfo=UTC)
    made = await world.subscriber(
        actor,
        "Alice@Example.net",
        ipv4="192.0.2.10",
        ipv6_prefix="2001:db8:1::/64",
        delegated_ipv6_prefix="2001:db8:2::/56",
        max_sessions=2,
        expires_at=until,
        full_name="Alice",
        note="line 1\nline 2",
        checks=[{"attribute": "NAS-Port-Id", "value": "eth0"}],
        replies=[{"attribute": "Filter-Id", "op": "+=", "value": v} for v in ("b", "a")],
    )
    assert (made.username, made.plan, made.plan_id, made.state, made.max_sessions, made.expires_at) == (
        "Alice@Example.net",
        "Home 100",
        plan.id,
        "active",
        2,
        until,
    )
    assert (str(made.ipv4), str(made.ipv6_prefix), str(made.delegated_ipv6_prefix)) == ("192.0.2.10", "2001:db8:1::/64", "2001:db8:2::/56")
    assert [(c.attribute, c.op, c.value) for c in made.checks] == [("NAS-Port-Id", "==", "eth0")]
    assert [(r.op, r.value) for r in made.replies] == [("+=", "b"), ("+=", "a")]
    (row,) = await world.fetch("select password, username_key from subscribers")
    assert keyring.open(row["password"], PASSWORD_CONTEXT) == b"wonderland"
    assert row["username_key"] == "alice@example.net"
    assert await world.fetch("select distinct username from radreply") == [{"username": "Alice@Example.net"}]
    assert await subscribers.by_username(database, actor, " ALICE@example.NET ") == made
    told = (await world.audited(actor))[-1]
    assert (told.action, told.object_id, told.after["password"]) == ("subscriber.create", str(made.id), "***")
    assert "wonderland" not in await world.dump()


async def test_all_faults_at_once(world, database, keyring, actor):
    new = msgspec.convert(
        {
            "username": "é" * 200,
            "password": "é" * 100,
            "plan": "nosuch",
            "ipv4": "10.0.0.300",
            "ipv6_prefix": "2001:db8::1/64",
            "delegated_ipv6_prefix": "10.0.0.0/8",
            "checks": [{"attribute": "Filter-Id", "op": "=*"}, {"attribute": "anything", "op": "=*"}],
            "replies": [{"attribute": "Filter-Id", "value": "ok"}, {"attribute": "Filter-Id", "value": "bad"}, {"attribute": "X", "value": ""}],
        },
        NewSubscriber,
    )
    with pytest.raises(InvalidInput) as caught:
        await subscribers.create(database, actor, keyring, new, OnlyFilter())
    faults = {fault.where: fault.what for fault in caught.value.faults}
    assert set(faults) == {"/username", "/password", "/plan", "/ipv4", "/ipv6_prefix", "/delegated_ipv6_prefix", "/checks/1", "/replies/1", "/replies/2"}
    assert "2001:db8::/64" in faults["/ipv6_prefix"]
    assert faults["/replies/2"] == "no attribute X"
    assert await world.audited(actor) == []


@pytest.mark.parametrize("bad", [
    {"username": ""}, {"username": " x"}, {"username": "a\0"}, {"username": "x" * 254}, {"password": ""}, {"password": "a\nb"}, {"plan": 0},
    {"max_sessions": -1}, {"state": "gone"}, {"expires_at": "2030-01-01T00:00:00"}, {"id": 3}, {"checks": [{"attribute": "A", "op": ":=", "value": "x"}]},
])  # fmt: skip
def test_what_the_struct_refuses(bad):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"username": "u", "plan": "p", **bad}, NewSubscriber)


async def test_conflicts_name_the_field(world, actor, stranger):
    await world.plan(actor)
    await world.plan(stranger)
    await world.subscriber(actor, "alice", ipv4="192.0.2.1", delegated_ipv6_prefix="2001:db8::/56")
    for field, value in {"username": "ALICE", "ipv4": "192.0.2.1", "delegated_ipv6_prefix": "2001:db8::/56"}.items():
        with pytest.raises(Conflict) as caught:
            await world.subscriber(actor, **{"username": "bob", field: value})
        assert caught.value.field == field
    await world.subscriber(stranger, "alice", ipv4="192.0.2.1")  # another tenant's own
    await world.subscriber(actor, "old", ipv4="192.0.2.1", state="terminated")  # needs its address no more


async def test_update(world, database, keyring, actor, any_attribute):
    await world.plan(actor)
    await world.plan(actor, "Home 500")
    made = await world.subscriber(actor, note="x", replies=[{"attribute": "Filter-Id", "value": "a"}], checks=[{"attribute": "Filter-Id", "value": "a"}])
    patch = msgspec.convert({"plan": "home 500", "note": None, "ipv4": "192.0.2.9", "replies": [], "password": "new-pass"}, SubscriberPatch)
    after = await subscribers.update(database, actor, keyring, made.id, patch, any_attribute, version=1)
    assert (after.plan, after.note, str(after.ipv4), after.replies, after.checks, after.version) == ("Home 500", None, "192.0.2.9", (), made.checks, 2)
    assert after.state_changed_at == made.state_changed_at
    (row,) = await world.fetch("select password from subscribers")
    assert keyring.open(row["password"], PASSWORD_CONTEXT) == b"new-pass"
    told = (await world.audited(actor))[-1]
    assert told.before == {
        "plan": "Home 100",
        "plan_id": made.plan_id,
        "note": "x",
        "ipv4": None,
        "password": "***",
        "replies": [{"attribute": "Filter-Id", "op": "=", "value": "a"}],
    }
    assert (told.after["replies"], told.after["password"]) == ([], "***")
    assert "new-pass" not in await world.dump()
    with pytest.raises(Conflict) as caught:
        await subscribers.update(database, actor, keyring, made.id, SubscriberPatch(note="y"), any_attribute, version=1)
    assert caught.value.field == "version"
    with pytest.raises(InvalidInput, match="/plan"):
        await subscribers.update(database, actor, keyring, made.id, SubscriberPatch(plan="nosuch"), any_attribute)


async def test_rename(world, database, keyring, actor, any_attribute):
    await world.plan(actor)
    made = await world.subscriber(actor, replies=[{"attribute": "Filter-Id", "value": "a"}])
    await subscribers.update(database, actor, keyring, made.id, SubscriberPatch(username="Alina"), any_attribute)
    assert (await subscribers.by_username(database, actor, "ALINA")).id == made.id
    with pytest.raises(NotFound):
        await subscribers.by_username(database, actor, "alice")
    assert await world.fetch("select username from radreply") == [{"username": "Alina"}]


async def test_lists_alone_count_the_version_up(world, database, keyring, actor, any_attribute):
    await world.plan(actor)
    made = await world.subscriber(actor)
    patch = msgspec.convert({"replies": [{"attribute": "Tunnel-Password", "value": "opensesame"}]}, SubscriberPatch)
    after = await subscribers.update(database, actor, keyring, made.id, patch, any_attribute)
    assert after.version == 2
    assert after.replies[0].value == "opensesame"
    assert "opensesame" not in await world.dump()


async def test_set_password(world, database, keyring, actor):
    await world.plan(actor)
    made = await world.subscriber(actor)
    await subscribers.set_password(database, actor, keyring, made.id, NewPassword(password=None))
    assert await world.fetch("select password from subscribers") == [{"password": None}]
    await subscribers.set_password(database, actor, keyring, made.id, NewPassword(password="räksmörgås"))
    (row,) = await world.fetch("select password from subscribers")
    assert keyring.open(row["password"], PASSWORD_CONTEXT) == "räksmörgås".encode()
    told = [(row.action, row.before, row.after) for row in await world.audited(actor)][-2:]
    assert told == [("subscriber.set_password", {"password": "***"}, {"password": None}), ("subscriber.set_password", {"password": None}, {"password": "***"})]


async def test_page(world, database, actor, stranger):
    await world.plan(stranger)
    await world.subscriber(stranger, "hidden")
    await world.plan(actor)
    await world.plan(actor, "other")
    for n, name in enumerate(["anna", "Anton", "bert", "a_x", "abx"]):
        await world.subscriber(actor, name, plan="other" if n == 2 else "Home 100", state="pending" if n == 1 else "active")

    async def names(limit=100, after=None, **wanted):
        page = await subscribers.page(database, actor, subscribers.SubscriberQuery(limit=limit, after=after, count=True, **wanted))
        return [each.username for each in page.items], page

    found, page = await names(limit=2)
    assert (found, page.total) == (["anna", "Anton"], 5)
    assert (await names(limit=100, after=page.next))[0] == ["bert", "a_x", "abx"]
    assert (await names(username__begins="AN"))[0] == ["anna", "Anton"]
    assert (await names(username__begins="a_"))[0] == ["a_x"]
    assert (await names(username__begins="%"))[0] == []
    assert (await names(q="NT"))[0] == ["Anton"]
    assert (await names(sort="-username"))[0] == ["bert", "Anton", "anna", "abx", "a_x"]
    assert (await names(state="pending"))[0] == ["Anton"]
    assert (await names(username="ANTON"))[0] == ["Anton"]
    found, page = await names(plan="OTHER")
    assert (found, page.total) == (["bert"], 1)
    with pytest.raises(InvalidInput, match="/plan"):
        await names(plan="nosuch")


async def test_delete_keeps_sessions(world, database, actor):
    await world.plan(actor)
    made = await world.subscriber(actor, replies=[{"attribute": "Filter-Id", "value": "a"}])
    async with database.acquire() as conn:
        await conn.execute(
            """insert into sessions (acctuniqueid, tenant_id, subscriber_id, acctsessionid, username, nasipaddress, nassourceaddress, acctstarttime,
               acctupdatetime, interim_seconds) values ('u', $1, $2, 's', 'alice', '10.0.0.1', '10.0.0.1', now(), now(), 300)""",
            actor.tenant_id,
            made.id,
        )
    await subscribers.delete(database, actor, made.id)
    assert await world.fetch("select subscriber_id, username from sessions") == [{"subscriber_id": None, "username": "alice"}]
    assert await world.fetch("select * from radreply") == []
    told = (await world.audited(actor))[-1]
    assert (told.action, told.before["username"]) == ("subscriber.delete", "alice")
    with pytest.raises(NotFound):
        await subscribers.delete(database, actor, made.id)


async def test_other_tenants_subscriber(world, database, keyring, actor, stranger, any_attribute):
    plan = await world.plan(actor)
    made = await world.subscriber(actor)
    for attempt in (
        subscribers.get(database, stranger, made.id),
        subscribers.by_username(database, stranger, "alice"),
        subscribers.delete(database, stranger, made.id),
        subscribers.update(database, stranger, keyring, made.id, SubscriberPatch(note="x"), any_attribute),
        subscribers.set_password(database, stranger, keyring, made.id, NewPassword(password=None)),
    ):
        with pytest.raises(NotFound):
            await attempt
    for reference in (plan.id, plan.name):  # nor can another tenant's plan be used
        with pytest.raises(InvalidInput, match="/plan"):
            await world.subscriber(stranger, "eve", plan=reference)
    assert await subscribers.get(database, actor, made.id) == made
    assert await plans.get(database, actor, plan.id) == plan
    assert await world.audited(stranger) == []
