"""Quotas over HTTP."""

from tests.web.running import Api
from tests.web.test_resources import subscriber

QUOTA = {
    "name": "monthly", "unit": "volume", "period": "month", "amount": 100_000_000_000, "free_windows": [{"start": "01:00", "end": "07:00"}],
    "stages": [{"percent": 80, "action": "notify"}, {"percent": 100, "action": "lower", "down_bps": 2_000_000}],
}  # fmt: skip


async def test_a_quota_is_made_shown_changed_and_removed(api: Api):
    alice = (await subscriber(api)).value
    path = f"/plans/{alice['plan_id']}/quotas"
    assert (await api.post(path, QUOTA, role="read_only")).status == 403
    made = await api.post(path, QUOTA, role="operator")
    assert (made.status, made.value["hysteresis_percent"], made.headers["etag"]) == (201, 1, '"1"')
    one = made.headers["location"].removeprefix("/api/v1")
    assert (await api.get(one, role="read_only")).value == made.value
    assert (await api.get(path)).value == {"items": [made.value], "next": None}
    assert (await api.patch(one, {"amount": 5}, headers={"If-Match": '"2"'})).status == 412
    assert (await api.patch(one, {"amount": 5}, headers={"If-Match": '"1"'})).value["amount"] == 5
    assert (await api.delete(one)).status == 204
    assert (await api.get(one)).status == 404


async def test_faults_point_at_their_members(api: Api):
    alice = (await subscriber(api)).value
    path = f"/plans/{alice['plan_id']}/quotas"
    for member, value, pointer in (
        ("stages", [{"percent": 80, "action": "lower"}], "/stages/0"),
        ("stages", [{"percent": 80, "action": "explode"}], "/stages/0/action"),
        ("free_windows", [{"start": "25:00", "end": "07:00"}], "/free_windows/0"),
        ("timezone", "Mars/Olympus", "/timezone"),
        ("amount", 0, "/amount"),
    ):
        answer = await api.post(path, {**QUOTA, member: value})
        assert (answer.status, answer.value["errors"][0]["pointer"]) == (422, pointer), answer.value
    assert (await api.post("/plans/9999/quotas", QUOTA)).status == 404


async def test_what_a_subscriber_has_left(api: Api):
    alice = (await subscriber(api)).value
    await api.post(f"/plans/{alice['plan_id']}/quotas", QUOTA)
    path = f"/subscribers/{alice['id']}"
    waited = api.health.waited_for
    given = await api.post(path + "/top-ups", {"amount": 7, "note": "gift"}, role="operator")
    assert (given.status, given.value["standing"]["left"]) == (201, 100_000_000_007)
    assert api.health.waited_for == waited + 1, "answered once the engine knows"
    (standing,) = (await api.get(path + "/quota", role="read_only")).value["items"]
    assert (standing["quota"], standing["percent"], standing["stage"], standing["top_ups"][0]["note"]) == ("monthly", 0.0, None, "gift")
    assert (await api.get(path + "/top-ups?count=true")).value["total"] == 1
    assert (await api.post(path + "/quota/reset", {"quota": "none such"})).status == 422
    assert (await api.post(path + "/quota/reset", {"quota": "Monthly", "note": "x"}, role="operator")).status == 200
    assert (await api.get("/quota-events?username=alice", role="read_only")).value == {"items": [], "next": None}
    assert (await api.get("/quota-events?username=nobody")).value["items"] == []
