"""API tokens."""

import asyncio
import hashlib
import re
import stat
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from netd.domain import tokens
from netd.domain.actor import Grant
from netd.domain.tokens import NewToken
from netd.errors import InvalidInput, NotFound, OutsideScope
from netd.model.permission import BUILT_IN

NOW = datetime.now(UTC)


async def test_create_and_authenticate(world, database, actor):
    issued = await tokens.create(database, actor, NewToken(name="billing", role="operator"), NOW)
    assert re.fullmatch(r"netd_[a-z2-7]{12}_[A-Za-z0-9_-]{43}", issued.text)
    assert issued.token.public_id == issued.text.split("_", 2)[1]
    assert issued.text not in repr(issued)
    found = await tokens.authenticate(database, issued.text, NOW, address="192.0.2.1", request_id="r")
    assert found is not None
    assert (found.tenant_id, found.name, found.role, found.token_id, found.address, found.request_id) == (
        actor.tenant_id,
        "billing",
        "operator",
        issued.token.id,
        "192.0.2.1",
        "r",
    )
    (row,) = await world.fetch("select * from api_tokens")
    assert row["token_hash"] == hashlib.sha256(issued.text.encode()).digest()
    assert (row["created_by"], row["role"]) == ("ann", "operator")
    (told,) = await world.audited(actor)
    assert (told.action, told.after["name"]) == ("token.create", "billing")
    secret = issued.text.split("_", 2)[2]
    assert secret not in str(row)
    assert secret not in await world.dump()


async def test_what_does_not_authenticate(database, actor):
    issued = await tokens.create(database, actor, NewToken(name="t", role="admin"), NOW)
    text = issued.text
    last = "A" if text[-1] != "A" else "B"
    for wrong in (
        "", "x", text[:-1], text + "A", text[:-1] + last, text.upper(), "netd_" + "a" * 12 + text[17:], text + "\n", text.replace("_", "-", 1), "netd_\0",
    ):  # fmt: skip
        assert await tokens.authenticate(database, wrong, NOW) is None, wrong
    assert await tokens.authenticate(database, text, NOW) is not None


async def test_expiry(database, actor):
    soon = NOW + timedelta(hours=1)
    issued = await tokens.create(database, actor, NewToken(name="t", role="admin", expires_at=soon), NOW)
    assert await tokens.authenticate(database, issued.text, soon - timedelta(seconds=1)) is not None
    assert await tokens.authenticate(database, issued.text, soon) is None
    with pytest.raises(InvalidInput, match="/expires_at"):
        await tokens.create(database, actor, NewToken(name="t", role="admin", expires_at=NOW), NOW)


async def test_revoke(world, database, actor, stranger):
    issued = await tokens.create(database, actor, NewToken(name="t", role="admin"), NOW)
    with pytest.raises(NotFound):
        await tokens.revoke(database, stranger, issued.token.id)
    assert await tokens.authenticate(database, issued.text, NOW) is not None
    revoked = await tokens.revoke(database, actor, issued.token.id)
    assert revoked.revoked_at is not None
    assert await tokens.authenticate(database, issued.text, NOW) is None
    assert (await tokens.revoke(database, actor, issued.token.id)).revoked_at == revoked.revoked_at
    assert [row.result for row in await world.audited(actor)] == ["ok", "ok", "unchanged"]


async def test_nobody_revokes_a_token_that_may_do_more(database, actor):
    admins = await tokens.create(database, actor, NewToken(name="t", role="admin"), NOW)
    readers = await tokens.create(database, actor, NewToken(name="r", role="read_only"), NOW)
    lesser = msgspec.structs.replace(actor, role="keys", grants=(Grant(BUILT_IN["read_only"] | {"tokens:write"}),))
    with pytest.raises(OutsideScope, match=r"may do more than you: .*subscribers:write"):
        await tokens.revoke(database, lesser, admins.token.id)
    assert await tokens.authenticate(database, admins.text, NOW) is not None
    assert (await tokens.revoke(database, lesser, readers.token.id)).revoked_at is not None
    own = msgspec.structs.replace(lesser, token_id=admins.token.id)
    assert (await tokens.revoke(database, own, admins.token.id)).revoked_at is not None  # one's own may always be ended


async def test_use_is_noted_once_a_minute(world, database, actor):
    issued = await tokens.create(database, actor, NewToken(name="t", role="admin"), NOW)
    noted = []
    for seconds in (0, 59, 60, 61):
        await tokens.authenticate(database, issued.text, NOW + timedelta(seconds=seconds))
        noted.append((await tokens.get(database, actor, issued.token.id)).last_used_at)
    assert noted == [NOW, NOW, NOW + timedelta(seconds=60), NOW + timedelta(seconds=60)]


async def test_page(database, actor, stranger):
    await tokens.create(database, stranger, NewToken(name="hidden", role="admin"), NOW)
    for name in "abc":
        await tokens.create(database, actor, NewToken(name=name, role="read_only"), NOW)
    first = await tokens.page(database, actor, tokens.TokenQuery(limit=2, count=True))
    second = await tokens.page(database, actor, tokens.TokenQuery(limit=2, after=first.next))
    assert ([each.name for each in (*first.items, *second.items)], first.total) == (["a", "b", "c"], 3)


async def test_the_first_start_leaves_a_token(world, database, actor, tmp_path):
    path = tmp_path / "admin.token"
    assert await tokens.ensure_admin(database, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text().strip()
    found = await tokens.authenticate(database, text, NOW)
    assert found is not None
    assert (found.tenant_id, found.role, found.name) == (actor.tenant_id, "admin", "admin")
    assert not await tokens.ensure_admin(database, path)
    path.unlink()
    assert not await tokens.ensure_admin(database, path)  # deleted on purpose: it does not come back
    assert not [each for each in tmp_path.iterdir() if "token" in each.name]


async def test_a_first_start_that_failed_is_made_up_for(database, tmp_path):
    with pytest.raises(FileNotFoundError):
        await tokens.ensure_admin(database, tmp_path / "nosuch" / "admin.token")
    path = tmp_path / "admin.token"
    path.write_text("left behind\n")
    (tmp_path / ".admin.token.new").write_text("half")
    assert await tokens.ensure_admin(database, path)
    assert await tokens.authenticate(database, path.read_text().strip(), NOW) is not None
    assert (tmp_path / "admin.token.old").read_text() == "left behind\n"


async def test_two_first_starts_at_once_make_one_token(world, database, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    made = await asyncio.gather(*(tokens.ensure_admin(database, tmp_path / node / "admin.token") for node in "ab"))
    assert sorted(made) == [False, True]
    assert len(await world.fetch("select from api_tokens")) == 1
