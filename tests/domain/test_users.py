"""Users and their grants."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from netd.config import LoginConfig
from netd.domain import logins, passwords, sites, users
from netd.domain.actor import Actor, Grant, anonymous
from netd.domain.logins import Setup
from netd.domain.users import NewGrant, NewUser, UserPatch
from netd.errors import Conflict, InvalidInput, NotFound, OutsideScope, Unauthenticated
from netd.model.permission import BUILT_IN

NOW = datetime.now(UTC)
PASSWORD = "correct horse battery"
LOGIN = LoginConfig()


async def test_make_change_and_remove(world, database, actor, stranger):
    made = await users.create(database, actor, NewUser(name="ann", full_name="Ann", grants=(NewGrant(role="operator"),)), NOW)
    assert made.setup_token not in repr(made)
    user = made.user
    assert (user.name, user.has_password, user.totp, [grant.role for grant in user.grants]) == ("ann", False, False, ["operator"])
    with pytest.raises(Conflict, match="exists"):
        await users.create(database, actor, NewUser(name="ann"), NOW)
    with pytest.raises(NotFound):
        await users.get(database, stranger, user.id)
    changed = await users.update(database, actor, user.id, UserPatch(email="ann@example.net"), NOW, version=user.version)
    assert (changed.email, changed.version > user.version) == ("ann@example.net", True)
    with pytest.raises(Conflict, match="meanwhile"):
        await users.update(database, actor, user.id, UserPatch(email=None), NOW, version=user.version)
    await users.delete(database, actor, user.id)
    assert [row.action for row in await world.audited(actor)] == ["user.create", "user.update", "user.delete"]
    secret = made.setup_token.split("_", 3)[3]
    assert secret not in await world.dump()
    assert await world.fetch("select * from events") == []


async def test_setup_sets_the_password_once(world, database, actor):
    made = await users.create(database, actor, NewUser(name="ann"), NOW)
    who = anonymous("192.0.2.1", "r")
    with pytest.raises(InvalidInput, match="less than 12"):
        await logins.set_up(database, Setup(token=made.setup_token, password="short"), who, NOW)
    for wrong in ("", "netdsetup_1_1_x", made.setup_token + "x", made.setup_token.replace("_1_", "_2_", 1), "netdsetup_1_99999999999999999999_x"):
        with pytest.raises(Unauthenticated):
            await logins.set_up(database, Setup(token=wrong, password=PASSWORD), who, NOW)
    with pytest.raises(Unauthenticated, match="expired"):
        await logins.set_up(database, Setup(token=made.setup_token, password=PASSWORD), who, NOW + users.SETUP_KEPT)
    await logins.set_up(database, Setup(token=made.setup_token, password=PASSWORD), who, NOW)
    with pytest.raises(Unauthenticated):
        await logins.set_up(database, Setup(token=made.setup_token, password=PASSWORD + "2"), who, NOW)
    (row,) = await world.fetch("select password_hash from users")
    assert await passwords.matches(row["password_hash"], PASSWORD)
    assert PASSWORD not in await world.dump()
    assert "argon2" not in await world.dump()


async def test_grants_at_places(database, actor):
    await sites.create_organization(database, actor, sites.NewOrganization(name="north"))
    oslo = await sites.create_site(database, actor, sites.NewSite(name="oslo", organization="north"))
    made = await users.create(database, actor, NewUser(name="ann", grants=(NewGrant(role="read_only"),)), NOW)
    await users.grant(database, actor, made.user.id, NewGrant(role="reseller", site="Oslo"))
    user = await users.grant(database, actor, made.user.id, NewGrant(role="noc_engineer", organization="north"))
    assert [(each.role, each.organization, each.site) for each in user.grants] == [
        ("read_only", None, None),
        ("reseller", None, "oslo"),
        ("noc_engineer", "north", None),
    ]
    with pytest.raises(Conflict, match="already"):
        await users.grant(database, actor, made.user.id, NewGrant(role="reseller", site="oslo"))
    for wrong in (
        NewGrant(role="nobody"),
        NewGrant(role="self_service"),
        NewGrant(role="billing", site="rome"),
        NewGrant(role="billing", site="oslo", organization="north"),
    ):
        with pytest.raises(InvalidInput):
            await users.grant(database, actor, made.user.id, wrong)
    with pytest.raises(Conflict, match="have roles"):
        await sites.delete_site(database, actor, oslo.id)
    left = await users.revoke(database, actor, made.user.id, user.grants[1].id)
    assert [each.role for each in left.grants] == ["read_only", "noc_engineer"]
    with pytest.raises(NotFound):
        await users.revoke(database, actor, made.user.id, user.grants[1].id)


async def test_nobody_gives_or_takes_over_more_than_they_have(database, actor):
    admin = (await users.create(database, actor, NewUser(name="root", grants=(NewGrant(role="admin"),)), NOW)).user
    plain = (await users.create(database, actor, NewUser(name="ann"), NOW)).user
    hr = Actor(tenant_id=actor.tenant_id, name="hr", role="hr", grants=(Grant(frozenset({"users:read", "users:write", "plans:read"})),), sites=None)
    with pytest.raises(InvalidInput, match="give away"):
        await users.grant(database, hr, plain.id, NewGrant(role="admin"))
    with pytest.raises(InvalidInput, match="give away"):
        await users.create(database, hr, NewUser(name="x", grants=(NewGrant(role="operator"),)), NOW)
    for attempt in (
        users.reset_password(database, hr, admin.id, NOW),
        users.update(database, hr, admin.id, UserPatch(oidc_issuer="https://x.example", oidc_subject="me"), NOW),
        users.remove_totp(database, hr, admin.id, NOW),
        users.delete(database, hr, admin.id),
        users.revoke(database, hr, admin.id, admin.grants[0].id),
    ):
        with pytest.raises(OutsideScope, match="more than you"):
            await attempt
    # what somebody may at one site is not theirs to give in the whole tenant
    wide = (Grant(frozenset({"users:read", "users:write"})), Grant(BUILT_IN["operator"], frozenset({1})))
    mixed = msgspec.structs.replace(hr, grants=wide)
    with pytest.raises(InvalidInput, match="give away"):
        await users.grant(database, mixed, plain.id, NewGrant(role="operator"))
    with pytest.raises(OutsideScope):
        await users.create(database, msgspec.structs.replace(hr, sites=frozenset({1})), NewUser(name="x"), NOW)


async def test_names_that_are_netds_own(database, actor):
    with pytest.raises(InvalidInput, match="own"):
        await users.create(database, actor, NewUser(name="netd"), NOW)
    with pytest.raises(InvalidInput, match="issuer and subject"):
        await users.create(database, actor, NewUser(name="ann", oidc_subject="7"), NOW)


async def test_nobody_disables_or_removes_themselves(database, actor):
    made = await users.create(database, actor, NewUser(name="ann"), NOW)
    own = msgspec.structs.replace(actor, user_id=made.user.id)
    with pytest.raises(InvalidInput, match="yourself"):
        await users.update(database, own, made.user.id, UserPatch(disabled=True), NOW)
    with pytest.raises(Conflict, match="yourself"):
        await users.delete(database, own, made.user.id)


async def test_setup_of_yesterday_is_no_good_after_a_reset(database, actor):
    made = await users.create(database, actor, NewUser(name="ann"), NOW)
    again = await users.reset_password(database, actor, made.user.id, NOW + timedelta(hours=1))
    with pytest.raises(Unauthenticated):
        await logins.set_up(database, Setup(token=made.setup_token, password=PASSWORD), anonymous(None, None), NOW)
    await logins.set_up(database, Setup(token=again.setup_token, password=PASSWORD), anonymous(None, None), NOW)
