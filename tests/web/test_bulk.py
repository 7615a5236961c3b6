"""Many operations in one request."""

from tests.web.running import Api

RATES = {"down_bps": 1_000_000, "up_bps": 1_000_000}


def statuses(answer) -> list[int]:
    return [item["status"] for item in answer.value["items"]]


async def test_each_item_is_done_or_refused_for_itself(api: Api):
    await api.post("/plans", {"name": "home", **RATES})
    items = [
        {"do": "create", "value": {"username": "a", "plan": "home"}},
        {"do": "create", "value": {"username": "A", "plan": "home"}},
        {"do": "create", "value": {"username": "", "plan": 0}},
        {"do": "suspend", "id": 1, "value": {"note": "unpaid"}},
        {"do": "update", "id": 1, "value": {"full_name": "Ann"}, "if_match": 1},
        {"do": "update", "id": 1, "value": {"full_name": "Ann"}},
        {"do": "lock", "id": 1, "value": {"reason": "fraud"}},
        {"do": "delete", "id": 99},
        {"do": "explode", "id": 1},
        {"do": "suspend"},
        {"do": "create", "id": 1, "value": {"username": "b", "plan": "home"}},
        {"do": "delete", "id": 1},
    ]
    answer = await api.post("/subscribers/bulk", {"items": items})
    assert answer.status == 200
    assert statuses(answer) == [201, 409, 422, 200, 412, 200, 201, 404, 422, 422, 404, 204]
    assert (answer.value["done"], answer.value["refused"]) == (5, 7)
    assert answer.value["items"][0]["value"]["username"] == "a"
    third = answer.value["items"][2]["problem"]
    assert sorted(each["pointer"] for each in third["errors"]) == ["/value/plan", "/value/username"]
    assert third["instance"] == "/api/v1/subscribers/bulk#/items/2"
    rows = (await api.get("/audit?object_type=subscriber&sort=id")).value["items"]
    assert [row["action"] for row in rows] == ["subscriber.create", "subscriber.suspend", "subscriber.update", "subscriber.lock", "subscriber.delete"]


async def test_each_items_permission_counts(api: Api):
    await api.post("/plans", {"name": "home", **RATES})
    await api.post("/subscribers", {"username": "a", "plan": "home"})
    made = await api.post("/tokens", {"name": "x", "role": "billing"})
    headers = {"Authorization": f"Bearer {made.value['text']}"}
    answer = await api.post("/subscribers/bulk", {"items": [{"do": "suspend", "id": 1}, {"do": "delete", "id": 1}]}, role=None, headers=headers)
    assert statuses(answer) == [200, 403]
    refused = (await api.get("/audit?result=refused")).value["items"]
    assert [row["action"] for row in refused] == ["subscriber.delete"]


async def test_an_item_that_reaches_beyond_the_site_is_on_record_as_refused(api: Api):
    await api.post("/sites", {"name": "oslo"})
    made = await api.post("/tokens", {"name": "x", "role": "operator", "site": "oslo"})
    headers = {"Authorization": f"Bearer {made.value['text']}"}
    answer = await api.post("/plans/bulk", {"items": [{"do": "create", "value": {"name": "mine", **RATES}}] * 2}, role=None, headers=headers)
    assert statuses(answer) == [403, 403]
    refused = (await api.get("/audit?result=refused")).value["items"]
    assert [(row["action"], row["object_id"]) for row in refused] == [("plan.create", "POST /plans")] * 2


async def test_too_many_or_none(api: Api):
    assert (await api.post("/plans/bulk", {"items": []})).status == 422
    assert (await api.post("/plans/bulk", {"items": [{"do": "delete", "id": 1}] * 1001})).status == 422
    answer = await api.post("/plans/bulk", {"items": [{"do": "create", "value": {"name": f"p{number}", **RATES}} for number in range(1000)]})
    assert answer.value["done"] == 1000
