"""Roles, organizations, sites, tenants, and tokens that are bound to a part of a tenant."""

import pytest

from tests.web.running import Api


def bearer(made) -> dict[str, str]:
    assert made.status == 201, made.value
    return {"Authorization": f"Bearer {made.value['text']}"}


@pytest.fixture
async def places(api: Api) -> None:
    """north (oslo, and below it arctic with alta) and south (rome)."""
    for name, parent in (("north", None), ("arctic", "north"), ("south", None)):
        assert (await api.post("/organizations", {"name": name, "parent": parent})).status == 201
    for name, organization in (("oslo", "north"), ("alta", "arctic"), ("rome", "south"), ("nowhere", None)):
        assert (await api.post("/sites", {"name": name, "organization": organization})).status == 201
    await api.post("/plans", {"name": "home", "down_bps": 1_000_000, "up_bps": 1_000_000})
    for name, site in (("ole", "oslo"), ("ane", "alta"), ("rosa", "rome"), ("odysseus", None)):
        assert (await api.post("/subscribers", {"username": name, "plan": "home", "site": site})).status == 201


async def usernames(api: Api, headers) -> list[str]:
    answer = await api.get("/subscribers", role=None, headers=headers)
    assert answer.status == 200, answer.value
    return [each["username"] for each in answer.value["items"]]


@pytest.mark.usefixtures("places")
class TestBoundTokens:
    async def test_an_organization_reaches_all_below_it(self, api: Api):
        north = bearer(await api.post("/tokens", {"name": "n", "role": "reseller", "organization": "north"}))
        south = bearer(await api.post("/tokens", {"name": "s", "role": "reseller", "organization": "south"}))
        assert (await usernames(api, north), await usernames(api, south)) == (["ole", "ane"], ["rosa"])

    async def test_a_site_that_moves_is_seen_from_the_next_request_on(self, api: Api):
        south = bearer(await api.post("/tokens", {"name": "s", "role": "reseller", "organization": "south"}))
        alta = next(site for site in (await api.get("/sites?name=alta")).value["items"])
        assert (await api.patch(f"/sites/{alta['id']}", {"organization": "south"})).status == 200
        assert await usernames(api, south) == ["ane", "rosa"]

    async def test_what_is_made_stands_where_the_token_holds(self, api: Api):
        oslo = bearer(await api.post("/tokens", {"name": "o", "role": "reseller", "site": "oslo"}))
        made = await api.post("/subscribers", {"username": "olga", "plan": "home"}, role=None, headers=oslo)
        assert (made.status, made.value["site"]) == (201, "oslo")
        elsewhere = await api.post("/subscribers", {"username": "rex", "plan": "home", "site": "rome"}, role=None, headers=oslo)
        assert (elsewhere.status, elsewhere.value["errors"]) == (422, [{"pointer": "/site", "detail": "there is no site rome"}])
        moved = await api.patch(f"/subscribers/{made.value['id']}", {"site": None}, role=None, headers=oslo)
        assert (moved.status, moved.value["errors"][0]["pointer"]) == (422, "/site")
        plan = (await api.get("/plans")).value["items"][0]
        changed = await api.patch(f"/plans/{plan['id']}", {"down_bps": 5000}, role=None, headers=oslo)
        assert changed.status == 403
        assert (await api.get(f"/plans/{plan['id']}")).value["down_bps"] == 1_000_000

    async def test_several_sites_must_be_told_apart(self, api: Api):
        north = bearer(await api.post("/tokens", {"name": "n", "role": "reseller", "organization": "north"}))
        made = await api.post("/subscribers", {"username": "olga", "plan": "home"}, role=None, headers=north)
        assert (made.status, made.value["errors"][0]["pointer"]) == (422, "/site")
        assert (await api.post("/subscribers", {"username": "olga", "plan": "home", "site": "Alta"}, role=None, headers=north)).status == 201

    async def test_a_plan_is_not_changed_by_who_may_act_at_one_site(self, api: Api):
        oslo = bearer(await api.post("/tokens", {"name": "o", "role": "operator", "site": "oslo"}))
        refused = await api.post("/plans", {"name": "mine", "down_bps": 1000, "up_bps": 1000}, role=None, headers=oslo)
        assert (refused.status, refused.value["type"]) == (403, "/problems/forbidden")

    async def test_what_reaches_beyond_the_site_is_on_record_as_refused(self, api: Api):
        """Whether the role lacks the permission, PostgreSQL keeps the row out, or netd sees that the whole tenant is meant; with a key and without."""
        tried = (
            ("operator", "/webhooks", {"name": "mine", "url": "https://mine.example/"}), ("operator", "/organizations", {"name": "mine"}),
            ("operator", "/plans", {"name": "mine", "down_bps": 1000, "up_bps": 1000}), ("admin", "/users", {"name": "mine"}),
        )  # fmt: skip
        for number, (role, path, body) in enumerate(tried):
            oslo = bearer(await api.post("/tokens", {"name": role, "role": role, "site": "oslo"}))
            for key in ({}, {"Idempotency-Key": f"key-{number}"}):
                refused = await api.post(path, body, role=None, headers=oslo | key)
                assert (refused.status, refused.value["type"]) == (403, "/problems/forbidden"), path
        rows = (await api.get("/audit?result=refused&sort=id")).value["items"]
        assert [(row["action"], row["object_type"], row["object_id"]) for row in rows[::2]] == [
            ("webhook.create", "route", "POST /api/v1/webhooks"), ("organization.create", "route", "POST /api/v1/organizations"),
            ("plan.create", "route", "POST /api/v1/plans"), ("user.create", "route", "POST /api/v1/users"),
        ]  # fmt: skip
        assert [row["action"] for row in rows[::2]] == [row["action"] for row in rows[1::2]]

    async def test_a_login_is_tried_where_the_token_holds(self, api: Api):
        oslo = bearer(await api.post("/tokens", {"name": "o", "role": "operator", "site": "oslo"}))
        for name, site in (("here", "oslo"), ("there", "rome")):
            nas = {"name": name, "address": "192.0.2.1" if name == "here" else "192.0.2.2", "secret": "testing123", "vendor": "generic", "site": site}
            assert (await api.post("/radius/nas", nas)).status == 201
        for username in ("rosa", "odysseus", "nobody"):
            hidden = await api.post("/radius/test/auth", {"username": username, "password": "x"}, role=None, headers=oslo)
            assert (hidden.status, hidden.value["detail"]) == (404, f"subscriber {username} does not exist")
        beyond = await api.post("/radius/test/auth", {"username": "ole", "nas": "there"}, role=None, headers=oslo)
        assert (beyond.status, beyond.value["errors"]) == (422, [{"pointer": "/nas", "detail": "NAS there does not exist"}])
        assert api.probe.asked == []
        assert (await api.post("/radius/test/auth", {"username": "OLE", "nas": "here"}, role=None, headers=oslo)).status == 200
        assert (await api.post("/radius/test/auth", {"username": "nobody"})).value["reason"] == "unknown_user"

    async def test_what_has_something_at_it_stays(self, api: Api):
        rome = (await api.get("/sites?name=rome")).value["items"][0]
        refused = await api.delete(f"/sites/{rome['id']}")
        assert (refused.status, refused.value["errors"][0]["pointer"]) == (409, "/site")
        nowhere = (await api.get("/sites?name=nowhere")).value["items"][0]
        assert (await api.delete(f"/sites/{nowhere['id']}")).status == 204
        north = (await api.get("/organizations?name=north")).value["items"][0]
        assert (await api.delete(f"/organizations/{north['id']}")).status == 409
        loop = await api.patch(f"/organizations/{north['id']}", {"parent": "arctic"})
        assert (loop.status, loop.value["errors"][0]["pointer"]) == (422, "/parent")

    @pytest.mark.parametrize(
        ("wanted", "pointer"),
        [
            ({"role": "nobody"}, "/role"),
            ({"role": "reseller", "site": "atlantis"}, "/site"),
            ({"role": "reseller", "site": "oslo", "organization": "north"}, ""),
            ({"role": "reseller", "permissions": ["plans:write"]}, "/permissions/0"),
            ({"role": "self_service"}, "/subscriber"),
            ({"role": "reseller", "subscriber": "ole"}, "/subscriber"),
            ({"role": "self_service", "subscriber": "nobody"}, "/subscriber"),
        ],
    )
    async def test_tokens_that_make_no_sense(self, api: Api, wanted, pointer):
        refused = await api.post("/tokens", {"name": "x", **wanted})
        assert refused.status == 422, refused.value
        assert pointer in [each["pointer"] for each in refused.value["errors"]]


async def test_a_token_has_the_permissions_that_it_is_narrowed_to(api: Api):
    headers = bearer(await api.post("/tokens", {"name": "x", "role": "operator", "permissions": ["plans:read"]}))
    assert (await api.get("/plans", role=None, headers=headers)).status == 200
    assert (await api.get("/subscribers", role=None, headers=headers)).status == 403
    told = await api.get("/whoami", role=None, headers=headers)
    assert told.value["grants"] == [{"permissions": ["plans:read"], "sites": None, "subscriber_id": None}]


async def test_a_role_changes_for_the_next_request(api: Api):
    role = (await api.post("/roles", {"name": "shop", "title": "Shop", "permissions": ["plans:read"]})).value
    headers = bearer(await api.post("/tokens", {"name": "x", "role": "shop"}))
    assert (await api.get("/subscribers", role=None, headers=headers)).status == 403
    changed = await api.patch(f"/roles/{role['id']}", {"permissions": ["subscribers:read"]})
    assert changed.value["permissions"] == ["subscribers:read"]
    assert (await api.get("/subscribers", role=None, headers=headers)).status == 200
    assert (await api.get("/plans", role=None, headers=headers)).status == 403
    refused = await api.delete(f"/roles/{role['id']}")
    assert (refused.status, refused.value["errors"][0]["pointer"]) == (409, "/role")


async def test_nobody_gives_away_what_they_have_not(api: Api):
    await api.post("/roles", {"name": "hr", "title": "HR", "permissions": ["tokens:write", "roles:write", "plans:read"]})
    headers = bearer(await api.post("/tokens", {"name": "x", "role": "hr"}))
    for role in ("admin", "operator", "read_only"):
        assert (await api.post("/tokens", {"name": "y", "role": role}, role=None, headers=headers)).status == 422
    assert (await api.post("/tokens", {"name": "y", "role": "hr"}, role=None, headers=headers)).status == 201
    wide = {"name": "wide", "title": "x", "permissions": ["plans:read", "plans:write", "secrets:rotate", "me:read", "whims:follow"]}
    refused = await api.post("/roles", wide, role=None, headers=headers)
    assert [each["pointer"] for each in refused.value["errors"]] == ["/permissions/1", "/permissions/2", "/permissions/3", "/permissions/4"]


async def test_built_in_roles_stay(api: Api):
    for role in (await api.get("/roles")).value["items"]:
        assert role["built_in"]
        assert role["permissions"]
        assert (await api.patch(f"/roles/{role['id']}", {"title": "x"})).status == 409
        assert (await api.delete(f"/roles/{role['id']}")).status == 409
    assert (await api.post("/roles", {"name": "admin", "title": "x", "permissions": ["plans:read"]})).status == 409


async def test_tenants_are_the_operators_own_affair(api: Api):
    made = await api.post("/tenants", {"name": "isp-two"})
    headers = {"Authorization": f"Bearer {made.value['token']}"}
    assert (await api.get("/whoami", role=None, headers=headers)).value["tenant_id"] == made.value["tenant"]["id"]
    assert (await api.get("/tenants", role=None, headers=headers)).status == 403
    assert (await api.post("/secrets/rotate", {}, role=None, headers=headers)).status == 403
    assert (await api.post("/plans", {"name": "home", "down_bps": 1000, "up_bps": 1000}, role=None, headers=headers)).status == 201
    assert (await api.get("/plans")).value["items"] == []
    assert [each["name"] for each in (await api.get("/tenants")).value["items"]] == ["default", "isp-two"]
    assert (await api.post("/tenants", {"name": "isp-two"})).status == 409
    assert (await api.post("/tenants", {"name": "ISP two"})).status == 422
    renamed = await api.patch(f"/tenants/{made.value['tenant']['id']}", {"name": "isp-2"})
    assert renamed.value["name"] == "isp-2"
    assert (await api.get("/tenants", role="operator")).status == 403
    assert (await api.post("/tenants", {"name": "three"}, role="operator")).status == 403
