"""Log-ins: passwords, second factors, lock-outs and sessions. The time is an argument, so that nothing here waits."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta

import pytest

from netd.config import LoginConfig
from netd.domain import account, audit, logins, passwords, roles, sites, totp, users
from netd.domain.actor import anonymous
from netd.domain.logins import Challenged, CodeLogin, Opened, PasswordLogin, Setup, Visit
from netd.domain.users import NewGrant, NewUser, UserPatch
from netd.errors import Conflict, InvalidInput, NotFound, TooOften, Unauthenticated

NOW = datetime.now(UTC)
"""When this was imported, perhaps long before a test runs; the database, which says who is locked out, has its own clock."""

PASSWORD = "correct horse battery"
LOGIN = LoginConfig(user_failures=4, address_failures=8, lock_minutes=1440)
PAUSE = timedelta(minutes=LOGIN.lock_minutes)
OWNER, ATTACKER = "192.0.2.1", "198.51.100.66"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same hash with parameters that take no time."""
    import argon2

    monkeypatch.setattr(passwords, "_HASHER", argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


class Door:
    """Logs in."""

    def __init__(self, database, keyring, settings=LOGIN):
        self.database, self.keyring, self.settings = database, keyring, settings

    async def user(self, actor, name="ann", *grants: NewGrant) -> int:
        made = await users.create(self.database, actor, NewUser(name=name, grants=grants or (NewGrant(role="operator"),)), NOW)
        await logins.set_up(self.database, Setup(token=made.setup_token, password=PASSWORD), anonymous(None, None), NOW)
        return made.user.id

    async def login(self, password=PASSWORD, name="ann", *, at=OWNER, now=NOW, tenant="default", replaces=None) -> Opened | Challenged:
        wanted = PasswordLogin(username=name, password=password, tenant=tenant)
        return await logins.login(self.database, self.settings, self.keyring, wanted, Visit(anonymous(at, "r"), "Firefox", replaces), now)

    async def opened(self, **more) -> Opened:
        found = await self.login(**more)
        assert isinstance(found, Opened)
        return found

    async def code(self, challenged, code, *, at=OWNER, now=NOW) -> Opened:
        wanted = CodeLogin(challenge=challenged.challenge, code=code)
        return await logins.login_code(self.database, self.settings, self.keyring, wanted, Visit(anonymous(at, "r")), now)

    async def actor(self, text, now=NOW):
        return await logins.authenticate(self.database, self.settings, text, now, address=OWNER, request_id="r")

    async def with_totp(self, actor) -> tuple[int, bytes, tuple[str, ...]]:
        """A user with a second factor that was confirmed two minutes ago: id, secret, recovery codes."""
        user_id, before = await self.user(actor), NOW - timedelta(minutes=2)
        own = await self.actor((await self.opened(now=before)).text, before)
        enrolled = await account.enrol_totp(self.database, self.settings, self.keyring, own, account.Proof(current_password=PASSWORD), before)
        secret = base64.b32decode(enrolled.secret)
        wanted = account.TotpCode(code=totp.code(secret, totp.step_of(before)))
        codes = await account.confirm_totp(self.database, self.settings, self.keyring, own, wanted, before)
        return user_id, secret, codes.recovery_codes


@pytest.fixture
def door(database, keyring) -> Door:
    return Door(database, keyring)


async def test_log_in_and_out(world, door, database, actor):
    user_id = await door.user(actor)
    opened = await door.opened(name=" ANN ")
    own = await door.actor(opened.text)
    assert (own.name, own.user_id, own.tenant_id, own.role, own.address) == ("ann", user_id, actor.tenant_id, "operator", OWNER)
    assert own.allowed("plans:write").sites is None
    assert own.allowed("secrets:reveal") is None
    (row,) = await world.fetch("select * from user_sessions")
    assert opened.text not in str(row)
    assert opened.text not in await world.dump()
    assert PASSWORD not in await world.dump()
    (told,) = [each for each in await world.audited(actor) if each.action == "user.login"]
    assert (told.actor, told.object_id, told.address, told.result, told.after) == ("ann", str(user_id), OWNER, "ok", {"method": "password"})
    await account.logout(database, own, NOW)
    assert await door.actor(opened.text) is None
    for wrong in ("", "x", opened.text[:-1], opened.text + "x", "é" * 43):
        assert await door.actor(wrong) is None


async def test_what_is_refused_looks_the_same(world, door, database, actor):
    user_id = await door.user(actor)
    await door.user(actor, "off")
    off = (await users.page(database, actor, users.UserQuery(name="off"))).items[0]
    await users.update(database, actor, off.id, UserPatch(disabled=True), NOW)
    await users.create(database, actor, NewUser(name="new"), NOW)
    texts = set()
    for number, (name, password, tenant) in enumerate(
        (("ann", "wrong", "default"), ("nobody", PASSWORD, "default"), ("off", PASSWORD, "default"), ("new", PASSWORD, "default"), ("ann", PASSWORD, "x"))
    ):
        with pytest.raises(Unauthenticated) as refused:
            await door.login(password, name, at=f"203.0.113.{number}", tenant=tenant)
        texts.add(str(refused.value))
    assert texts == {logins.WRONG}
    failed = [row for row in await world.audited(actor) if row.result == "failed"]
    assert [(row.actor, row.object_id, row.after["reason"]) for row in failed] == [
        ("anonymous", str(user_id), "wrong password"),
        ("anonymous", "unknown", "no such user"),
        ("anonymous", str(off.id), "disabled"),
        ("anonymous", str(off.id + 1), "no password set"),
    ]
    assert "nobody" not in await world.dump()  # it may be a password in the wrong field
    assert "nobody" not in str(await world.fetch("select * from login_failures"))


async def test_an_unknown_name_costs_a_hash_too(door, actor, monkeypatch):
    await door.user(actor)
    checked = []
    real = passwords._verified

    def verified(stored: str, password: bytes) -> bool:
        checked.append(stored)
        return real(stored, password)

    monkeypatch.setattr(passwords, "_verified", verified)
    for name, tenant in (("ann", "default"), ("nobody", "default"), ("ann", "nowhere")):
        with pytest.raises(Unauthenticated):
            await door.login("wrong", name, tenant=tenant)
    assert len(checked) == 3
    assert checked[0] != checked[1] == checked[2] == passwords._NOBODYS


async def test_an_attacker_does_not_lock_the_owner_out(world, door, database, actor):
    await door.user(actor)
    await door.opened(at=OWNER)  # the owner's address is known from now on
    for _ in range(4):
        with pytest.raises(Unauthenticated):
            await door.login("guess", at=ATTACKER)
    with pytest.raises(TooOften) as locked:
        await door.login(PASSWORD, at=ATTACKER)
    assert locked.value.retry_seconds == PAUSE.total_seconds()
    with pytest.raises(TooOften):  # from anywhere that is not known
        await door.login(PASSWORD, at="203.0.113.9")
    await door.opened(at=OWNER)
    user = (await users.page(database, actor, users.UserQuery(name="ann"))).items[0]
    assert user.locked_until is not None
    assert [row.action for row in await world.audited(actor) if row.action.endswith("lock_out")] == ["user.lock_out"]
    # it ends by itself, and knocking on did not prolong it
    with pytest.raises(TooOften):
        await door.login(PASSWORD, at="203.0.113.9", now=NOW + PAUSE - timedelta(seconds=1))
    await door.opened(at="203.0.113.9", now=NOW + PAUSE)


async def test_the_owners_own_address_is_limited_too(door, actor):
    await door.user(actor)
    await door.opened(at=OWNER)
    for _ in range(4):
        with pytest.raises(Unauthenticated):
            await door.login("guess", at=OWNER)
    with pytest.raises(TooOften):
        await door.login(PASSWORD, at=OWNER)
    await door.opened(at="203.0.113.9")  # others are not concerned
    await door.opened(at=OWNER, now=NOW + PAUSE)


async def test_names_that_nobody_has_are_locked_the_same(door, actor):
    await door.user(actor)
    for name in ("ann", "nobody"):
        for number in range(4):
            with pytest.raises(Unauthenticated):
                await door.login("guess", name, at=f"203.0.113.{number}")
        with pytest.raises(TooOften):
            await door.login("guess", name, at="203.0.113.77")


async def test_an_address_is_locked_whatever_the_names(world, door, database, actor):
    await door.user(actor)
    for number in range(8):
        with pytest.raises(Unauthenticated):
            await door.login("guess", f"name{number}", at=f"2001:db8::{number}")  # one /64 is one address
    with pytest.raises(TooOften):
        await door.login(PASSWORD, at="2001:db8::ffff")
    await door.opened(at="2001:db8:0:1::1")
    (found,) = [each for each in (await users.lockouts(database, actor, users.LockoutQuery(kind="address"))).items if each.locked_until]
    assert found.subject == "2001:db8::/64"
    await users.lift(database, actor, found.id)
    await door.opened(at="2001:db8::ffff")
    actions = [row.action for row in await world.audited(actor)]
    assert ("address.lock_out" in actions, "lockout.lift" in actions) == (True, True)


async def test_an_own_account_is_no_way_around_the_limit_of_an_address(door, actor):
    await door.user(actor)
    await door.user(actor, "mallory")
    with pytest.raises(TooOften):
        for number in range(20):
            with pytest.raises(Unauthenticated):
                await door.login("guess", f"name{number}", at=ATTACKER)
            await door.opened(name="mallory", at=ATTACKER)


async def test_many_at_once_are_counted_before_they_are_looked_at(door, actor):
    await door.user(actor)
    results = await asyncio.gather(*(door.login("guess", at=f"203.0.113.{number}") for number in range(16)), return_exceptions=True)
    assert sum(isinstance(each, Unauthenticated) for each in results) == 4
    assert sum(isinstance(each, TooOften) for each in results) == 12


async def test_unlock(door, database, actor):
    user_id = await door.user(actor)
    for number in range(4):
        with pytest.raises(Unauthenticated):
            await door.login("guess", at=f"203.0.113.{number}")
    assert (await users.get(database, actor, user_id)).locked_until is not None
    assert (await users.unlock(database, actor, user_id)).locked_until is None
    await door.opened()


async def test_totp(world, door, database, actor):
    user_id, secret, codes = await door.with_totp(actor)
    assert (await users.get(database, actor, user_id)).totp
    challenged = await door.login()
    assert isinstance(challenged, Challenged)
    good = totp.code(secret, totp.step_of(NOW))
    taken = {totp.code(secret, totp.step_of(NOW) + drift) for drift in (-1, 0, 1)}
    with pytest.raises(Unauthenticated):
        await door.code(challenged, next(wrong for wrong in ("000000", "000001", "000002", "000003") if wrong not in taken))
    opened = await door.code(challenged, good[:3] + " " + good[3:])
    assert (await door.actor(opened.text)).user_id == user_id
    with pytest.raises(Unauthenticated):  # seen over the shoulder, typed again
        await door.code(await door.login(), good)
    with pytest.raises(Unauthenticated):  # nor an older one
        await door.code(await door.login(), totp.code(secret, totp.step_of(NOW) - 1))
    assert len(codes) == 10
    await door.code(await door.login(), codes[0].upper())
    with pytest.raises(Unauthenticated):
        await door.code(await door.login(), codes[0])
    own = await door.actor(opened.text)
    assert (await account.me(database, LOGIN, own, NOW)).recovery_codes_left == 9
    dump = await world.dump() + str(await world.fetch("select * from user_recovery_codes")) + str(await world.fetch("select * from users"))
    assert not any(code in dump or code.replace("-", "") in dump for code in codes)
    assert totp.text(secret) not in dump
    assert repr(secret) not in dump


async def test_one_code_at_the_same_time_opens_one_session(door, actor):
    _, secret, _ = await door.with_totp(actor)
    challenges = [await door.login() for _ in range(3)]
    good = totp.code(secret, totp.step_of(NOW))
    results = await asyncio.gather(*(door.code(each, good) for each in challenges), return_exceptions=True)
    assert sum(isinstance(each, Opened) for each in results) == 1, results


async def test_codes_cannot_be_guessed_by_who_has_the_password(door, actor):
    await door.with_totp(actor)
    with pytest.raises(TooOften):
        for number in range(50):
            challenged = await door.login(at=ATTACKER)
            with pytest.raises(Unauthenticated):
                await door.code(challenged, f"{number:06d}x", at=ATTACKER)


async def test_a_challenge_is_good_for_a_while_and_for_the_password_it_was_given_for(door, database, actor):
    user_id, secret, _ = await door.with_totp(actor)
    challenged = await door.login()
    good = totp.code(secret, totp.step_of(NOW))
    for wrong in ("x", "", challenged.challenge[:-8] + "AAAAAAA="):
        with pytest.raises(Unauthenticated):
            await door.code(challenged._replace(challenge=wrong), good)
    with pytest.raises(Unauthenticated, match="too long"):
        await door.code(challenged, good, now=NOW + logins.CHALLENGE_KEPT)
    await users.reset_password(database, actor, user_id, NOW)
    with pytest.raises(Unauthenticated, match="begin anew"):
        await door.code(challenged, good)


async def test_a_role_may_need_a_second_factor(door, database, keyring, actor):
    strict = Door(database, keyring, LoginConfig(totp_roles=("operator",)))
    await strict.user(actor)
    opened = await strict.opened()
    own = await strict.actor(opened.text)
    assert (own.permissions, own.role) == (frozenset(), "operator")
    assert (await account.me(database, strict.settings, own, NOW)).totp_needed
    enrolled = await account.enrol_totp(database, strict.settings, keyring, own, account.Proof(current_password=PASSWORD), NOW)
    code = totp.code(base64.b32decode(enrolled.secret), totp.step_of(NOW))
    await account.confirm_totp(database, strict.settings, keyring, own, account.TotpCode(code=code), NOW)
    assert "plans:write" in (await strict.actor(opened.text)).permissions


async def test_enrolment_needs_the_password_and_a_code(door, database, keyring, actor):
    await door.user(actor)
    own = await door.actor((await door.opened()).text)
    with pytest.raises(InvalidInput, match="not your password"):
        await account.enrol_totp(database, LOGIN, keyring, own, account.Proof(current_password="wrong"), NOW)
    with pytest.raises(Conflict, match="enrol first"):
        await account.confirm_totp(database, LOGIN, keyring, own, account.TotpCode(code="123456"), NOW)
    await account.enrol_totp(database, LOGIN, keyring, own, account.Proof(current_password=PASSWORD), NOW)
    with pytest.raises(InvalidInput, match="clock"):
        await account.confirm_totp(database, LOGIN, keyring, own, account.TotpCode(code="12345x"), NOW)
    assert isinstance(await door.login(), Opened)  # not confirmed: it does not count
    with pytest.raises(NotFound):
        await account.sessions(database, LOGIN, actor, NOW)  # a token has no account


async def test_password_change(world, door, database, actor):
    await door.user(actor)
    here, elsewhere = await door.opened(), await door.opened()
    own = await door.actor(here.text)
    change = account.PasswordChange(current_password=PASSWORD, password="another good one")
    for wrong, pointer in ((("wrong", "another good one"), "/current_password"), ((PASSWORD, "short"), "/password"), ((PASSWORD, PASSWORD), "/password")):
        with pytest.raises(InvalidInput) as refused:
            await account.change_password(database, LOGIN, own, account.PasswordChange(current_password=wrong[0], password=wrong[1]), NOW)
        assert refused.value.faults[0].where == pointer
    await account.change_password(database, LOGIN, own, change, NOW)
    assert await door.actor(here.text) is not None
    assert await door.actor(elsewhere.text) is None
    with pytest.raises(Unauthenticated):
        await door.login()
    await door.opened(password="another good one")
    assert "another good one" not in await world.dump() + repr(change)


async def test_sessions_end(door, database, actor):
    user_id = await door.user(actor)
    opened = await door.opened()
    idle = timedelta(minutes=LOGIN.idle_minutes)
    assert await door.actor(opened.text, NOW + idle - timedelta(seconds=1)) is not None  # counts as a use
    assert await door.actor(opened.text, NOW + 2 * idle - timedelta(seconds=2)) is not None
    assert await door.actor(opened.text, NOW + 3 * idle) is None
    end = NOW + timedelta(hours=LOGIN.session_hours)
    at = NOW
    busy = await door.opened(now=at)
    while at < end:
        assert await door.actor(busy.text, at) is not None
        at += idle / 2
    assert await door.actor(busy.text, end) is None
    for ending in ("disable", "reset", "delete"):
        if ending != "disable":
            await users.update(database, actor, user_id, UserPatch(disabled=False), NOW)
        one = await door.opened() if ending != "delete" else None
        if ending == "disable":
            await users.update(database, actor, user_id, UserPatch(disabled=True), NOW)
        elif ending == "reset":
            await users.reset_password(database, actor, user_id, NOW)
        else:
            await users.delete(database, actor, user_id)
        assert one is None or await door.actor(one.text) is None, ending


async def test_list_and_end_own_sessions(door, database, actor):
    await door.user(actor)
    await door.user(actor, "bob")
    first, second = await door.opened(), await door.opened()
    bobs = await door.opened(name="bob")
    own = await door.actor(second.text)
    listed = await account.sessions(database, LOGIN, own, NOW)
    assert [(each.id, each.current, each.user_agent, each.address) for each in listed] == [
        (second.session_id, True, "Firefox", OWNER),
        (first.session_id, False, "Firefox", OWNER),
    ]
    with pytest.raises(NotFound):
        await account.end_session(database, own, bobs.session_id, NOW)
    await account.end_session(database, own, first.session_id, NOW)
    assert await door.actor(first.text) is None
    assert await door.actor(bobs.text) is not None


async def test_a_log_in_ends_the_session_that_the_browser_had(door, actor):
    await door.user(actor)
    before = await door.opened()
    after = await door.opened(replaces=before.text)
    assert before.text != after.text
    assert await door.actor(before.text) is None
    planted = "A" * 43  # whatever an attacker put there is not adopted
    mine = await door.opened(replaces=planted)
    assert mine.text != planted
    assert await door.actor(planted) is None


async def test_a_grant_holds_where_it_says_from_the_next_request_on(door, database, actor):
    oslo = await sites.create_site(database, actor, sites.NewSite(name="oslo"))
    rome = await sites.create_site(database, actor, sites.NewSite(name="rome"))
    role = await roles.create(database, actor, roles.NewRole(name="shop", title="Shop", permissions=("plans:read",)))
    user_id = await door.user(actor, "ann", NewGrant(role="reseller", site="oslo"), NewGrant(role="shop"))
    text = (await door.opened()).text
    own = await door.actor(text)
    assert (own.allowed("subscribers:write").sites, own.allowed("plans:read").sites, own.allowed("nas:read")) == (frozenset({oslo.id}), None, None)
    user = await users.grant(database, actor, user_id, NewGrant(role="noc_engineer", site="rome"))
    own = await door.actor(text)
    assert (own.allowed("nas:read").sites, own.allowed("radius:disconnect").sites) == (frozenset({rome.id}), frozenset({oslo.id, rome.id}))
    await users.revoke(database, actor, user_id, user.grants[0].id)
    await roles.update(database, actor, role.id, roles.RolePatch(permissions=("nas:read",)))
    own = await door.actor(text)
    assert (own.allowed("subscribers:write"), own.allowed("nas:read").sites) == (None, None)
    assert await logins.still_allows(database, LOGIN, own.allowed("nas:read"), "nas:read", NOW)
    await users.revoke(database, actor, user_id, user.grants[1].id)
    assert not await logins.still_allows(database, LOGIN, own.allowed("nas:read"), "nas:read", NOW)


async def test_another_tenants_admin_rules_over_its_tenant_only(world, door, database, stranger):
    async with database.acquire() as conn:
        await conn.execute("select 1")
    await door.user(stranger, "ann", NewGrant(role="admin"))
    own = await door.actor((await door.opened(tenant="other")).text)
    assert own.tenant_id == stranger.tenant_id
    assert own.allowed("tenants:read") is None
    assert own.allowed("users:write") is not None
    with pytest.raises(Unauthenticated):
        await door.login(tenant="default")


async def test_a_hash_of_old_parameters_is_renewed(world, door, database, actor, monkeypatch):
    import argon2

    await door.user(actor)
    (before,) = await world.fetch("select password_hash from users")
    monkeypatch.setattr(passwords, "_HASHER", argon2.PasswordHasher(time_cost=2, memory_cost=8, parallelism=1))
    await door.opened()
    (after,) = await world.fetch("select password_hash from users")
    assert before != after
    assert "t=2" in str(after)


async def test_the_audit_chain_stays_whole(door, database, actor):
    await door.user(actor)
    for password in ("wrong", PASSWORD, "wrong"):
        try:
            await door.login(password)
        except Unauthenticated:
            continue
    assert (await audit.verify(database, actor)).whole
