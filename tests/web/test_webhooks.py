"""/webhooks, /billing-hooks, /hooks and /health, as clients see them."""

import asyncio
import hmac
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from netd.domain.ports import Part
from tests.web.running import Answer, Api
from tests.web.test_isolation import a_token
from tests.work.receiver import Receiver


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    started = await Receiver().start()
    yield started
    await started.stop()


async def test_a_webhooks_life(api: Api, receiver: Receiver):
    made = await api.post("/webhooks", {"name": "crm", "url": receiver.url, "types": ["quota.*"]})
    assert made.status == 201
    secret, hook = made.value["secret"], made.value["webhook"]
    path = f"/webhooks/{hook['id']}"
    shown = await api.get(path)
    assert shown.value == hook and secret not in str(shown.value)
    assert (await api.get("/webhooks?q=CRM")).value["items"] == [hook]
    asked = time.monotonic()
    tested = await api.post(f"{path}/test")
    assert (tested.value["delivered"], tested.value["status"]) == (True, 200) and 0 < tested.value["seconds"] < time.monotonic() - asked
    assert (receiver.got[0].type, receiver.got[0].event["type"]) == ("webhook.test", "webhook.test")
    assert receiver.got[0].signed_by(secret)
    rotated = await api.post(f"{path}/rotate")
    await api.post(f"{path}/test")
    assert receiver.got[1].signed_by(secret) and receiver.got[1].signed_by(rotated.value["secret"])
    receiver.status = 500
    assert (await api.post(f"{path}/test")).value["error"] == "answered 500"
    log = (await api.get(f"{path}/deliveries?limit=2")).value
    assert [each["delivered"] for each in log["items"]] == [False, True]
    more = (await api.get(f"{path}/deliveries?limit=2&after={log['next']}")).value
    assert [each["event_type"] for each in more["items"]] == ["webhook.test"] and more["next"] is None
    assert len((await api.get(f"{path}/deliveries?delivered=false")).value["items"]) == 1
    off = await api.patch(path, {"enabled": False, "note": "maintenance"})
    assert (off.value["enabled"], off.value["disabled_reason"]) == (False, None) and off.value["disabled_at"]
    assert (await api.patch(path, {"enabled": True})).value["disabled_at"] is None
    again = await api.post(f"{path}/replay", {"event_id": "12.5"})
    assert again.value["after"] == "12.4"
    assert (await api.delete(path, headers={"If-Match": '"1"'})).status == 412
    assert (await api.delete(path)).status == 204
    assert (await api.get(path)).status == 404
    actions = [row["action"] for row in (await api.get("/audit?object_type=webhook&sort=id")).value["items"]]
    assert actions == [
        "webhook.create", "webhook.test", "webhook.rotate", "webhook.test", "webhook.test", "webhook.update", "webhook.update", "webhook.replay",
        "webhook.delete",
    ]  # fmt: skip
    everything = str((await api.get("/audit?limit=1000")).value) + str((await api.get("/events?limit=1000")).value)
    assert secret not in everything and rotated.value["secret"] not in everything


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"url": "ftp://x/"}, "/url"), ({"url": "https://"}, "/url"), ({"url": "https://u:p@x/"}, "/url"), ({"url": "https://x/#a"}, "/url"),
        ({"url": "https://x:99999/"}, "/url"), ({"url": "https://x/\u2028"}, "/url"), ({"types": ["session.begun"]}, "/types/0"),
        ({"types": ["*"]}, "/types/0"), ({"site": "nowhere"}, "/site"), ({"name": ""}, "/name"),
    ],
)  # fmt: skip
async def test_what_a_webhook_cannot_be(api: Api, wrong, pointer):
    answer = await api.post("/webhooks", {"name": "crm", "url": "https://x.example/", **wrong})
    assert answer.status == 422
    assert [each["pointer"] for each in answer.value["errors"]] == [pointer]


async def test_names_are_taken_once_and_replay_wants_an_event(api: Api):
    made = await api.post("/webhooks", {"name": "crm", "url": "https://x.example/"})
    assert (await api.post("/webhooks", {"name": "CRM", "url": "https://x.example/"})).status == 409
    assert (await api.post(f"/webhooks/{made.value['webhook']['id']}/replay", {"event_id": "x.y"})).status == 422


async def test_who_cannot_read_events_can_make_no_webhook(api: Api):
    """Else the permission to make webhooks would be the one to read everything."""
    await api.post("/roles", {"name": "wirer", "title": "Wirer", "permissions": ["webhooks:read", "webhooks:write"]})
    token = (await api.post("/tokens", {"name": "w", "role": "wirer"})).value["text"]
    headers = {"Authorization": f"Bearer {token}"}
    made = (await api.post("/webhooks", {"name": "crm", "url": "https://x.example/"})).value["webhook"]
    assert (await api.post("/webhooks", {"name": "mine", "url": "https://x.example/"}, role=None, headers=headers)).status == 403
    assert (await api.patch(f"/webhooks/{made['id']}", {"url": "https://mine.example/"}, role=None, headers=headers)).status == 403
    assert (await api.post("/billing-hooks", {"name": "mine"}, role=None, headers=headers)).status == 403


async def test_a_site_has_its_own(api: Api, database):
    for name in ("oslo", "rome"):
        await api.post("/sites", {"name": name})
    headers = {"Authorization": f"Bearer {await a_token(database, 1, site='oslo')}"}
    own = await api.post("/webhooks", {"name": "own", "url": "https://x.example/"}, role=None, headers=headers)
    assert own.value["webhook"]["sites"] == [1]
    assert (await api.post("/webhooks", {"name": "far", "url": "https://x.example/", "site": "rome"}, role=None, headers=headers)).status in (403, 422)
    await api.post("/webhooks", {"name": "all", "url": "https://x.example/"})
    await api.post("/webhooks", {"name": "rome", "url": "https://x.example/", "site": "rome"})
    assert [each["name"] for each in (await api.get("/webhooks", role=None, headers=headers)).value["items"]] == ["own"]


# Billing hooks


@pytest.fixture
async def alice(api: Api) -> int:
    await api.post("/plans", {"name": "home", "down_bps": 1000, "up_bps": 1000})
    return int((await api.post("/subscribers", {"username": "alice", "password": "wonderland", "plan": "home"})).value["id"])


class Billing:
    """A billing system with a hook."""

    def __init__(self, api: Api, issued: Any) -> None:
        self.api = api
        self.secret = issued["secret"]
        self.hook = issued["hook"]

    async def tell(self, notice: Any, *, ago: float = 0.0, secret: str | None = None, header: str | None = None, host: str = "") -> Answer:
        body = msgspec.json.encode(notice)
        stamp = str(int(time.time() - ago))
        digest = hmac.new((secret or self.secret).encode(), f"{stamp}.".encode() + body, "sha256").hexdigest()
        headers = {"X-Netd-Signature": f"t={stamp},v1={digest}" if header is None else header}
        return await self.api.post(f"/hooks/{self.hook['public_id']}", notice, role=None, headers={**headers, **({"Host": host} if host else {})})


@pytest.fixture
async def billing(api: Api) -> Billing:
    return Billing(api, (await api.post("/billing-hooks", {"name": "erp", "mode": "walled"})).value)


async def locks(api: Api, subscriber: int) -> list[tuple[str, str]]:
    return [(each["reason"], each["mode"]) for each in (await api.get(f"/subscribers/{subscriber}")).value["locks"]]


async def test_a_signature_is_good_under_any_name_of_the_server(api: Api, alice: int, billing: Billing):
    notice = {"id": "n9", "type": "invoice.overdue", "username": "alice"}
    assert (await billing.tell(notice, host="netd.example.net")).status == 200


async def test_overdue_and_paid(api: Api, alice: int, billing: Billing):
    overdue = {"id": "n1", "type": "invoice.overdue", "username": "Alice", "note": "invoice 7"}
    waited = api.health.waited_for
    told = await billing.tell(overdue)
    assert (told.status, told.value["changed"], told.value["locked"], told.value["subscriber_id"]) == (200, True, True, alice)
    assert await locks(api, alice) == [("overdue", "walled")]
    assert api.health.waited_for == waited + 1  # the engine knows before the billing system is told
    await api.post(f"/subscribers/{alice}/locks", {"reason": "fraud"})
    assert (await billing.tell({**overdue, "id": "n2"})).value["changed"] is False
    paid = await billing.tell({"id": "n3", "type": "invoice.paid", "username": "alice"})
    assert (paid.value["changed"], paid.value["locked"]) == (True, False)
    assert await locks(api, alice) == [("fraud", "reject")]  # only its own
    again = await billing.tell(overdue)
    assert again.value == told.value and await locks(api, alice) == [("fraud", "reject")]  # answered as before, and nothing is done
    rows = (await api.get(f"/audit?object_type=subscriber&object_id={alice}&sort=id")).value["items"]
    by_hook = [(row["action"], row["result"]) for row in rows if row["actor"] == "billing hook erp"]
    assert by_hook == [("subscriber.lock", "ok"), ("subscriber.lock", "unchanged"), ("subscriber.unlock", "ok")]
    assert (await api.get(f"/billing-hooks/{billing.hook['id']}")).value["last_used_at"]


async def test_notices_at_the_same_time_do_it_once(api: Api, alice: int, billing: Billing):
    notice = {"id": "n1", "type": "invoice.overdue", "username": "alice"}
    answers = await asyncio.gather(*(billing.tell(notice) for _ in range(8)))
    assert {each.status for each in answers} == {200} and len({each.raw for each in answers}) == 1
    rows = (await api.get(f"/audit?object_type=subscriber&object_id={alice}&action=subscriber.lock")).value["items"]
    assert len(rows) == 1


async def test_a_burst_at_the_turn_of_the_month_is_not_slowed_as_guesses_are(api: Api, alice: int, billing: Billing):
    notices = [{"id": f"n{number}", "type": "invoice.overdue", "username": "alice"} for number in range(100)]
    assert {(await billing.tell(each)).status for each in notices} == {200}


async def test_the_same_id_for_something_else(api: Api, alice: int, billing: Billing):
    await billing.tell({"id": "n1", "type": "invoice.overdue", "username": "alice"})
    assert (await billing.tell({"id": "n1", "type": "invoice.paid", "username": "alice"})).status == 409
    assert await locks(api, alice) == [("overdue", "walled")]


async def test_an_unknown_subscriber_may_be_told_of_again(api: Api, billing: Billing):
    notice = {"id": "n1", "type": "invoice.overdue", "username": "alice"}
    assert (await billing.tell(notice)).status == 404
    await api.post("/plans", {"name": "home", "down_bps": 1000, "up_bps": 1000})
    await api.post("/subscribers", {"username": "alice", "plan": "home", "password": "x"})
    assert (await billing.tell(notice)).value["changed"] is True


async def test_what_is_not_believed(api: Api, alice: int, billing: Billing):
    notice = {"id": "n1", "type": "invoice.overdue", "username": "alice"}
    now = time.time()
    for wrong in (
        {"secret": "whsec_guess"}, {"ago": 310}, {"ago": -400}, {"header": ""}, {"header": "v1=00"}, {"header": f"t={int(now)}"},
        {"header": f"t={int(now)},v1="}, {"header": f"t={int(now)},t=1,v1=00"}, {"header": f"t={'9' * 4000},v1=00"},
    ):  # fmt: skip
        assert (await billing.tell(notice, **wrong)).status == 401, wrong
    assert (await api.post("/hooks/nosuchhook", notice, role=None)).status == 404
    await api.patch(f"/billing-hooks/{billing.hook['id']}", {"enabled": False})
    assert (await billing.tell(notice)).status == 404
    assert await locks(api, alice) == []
    await api.patch(f"/billing-hooks/{billing.hook['id']}", {"enabled": True})
    assert (await billing.tell({**notice, "type": "invoice.lost"})).status == 422
    assert (await billing.tell(notice, ago=200)).status == 200


async def test_both_secrets_of_a_billing_hook_for_a_day(api: Api, alice: int, billing: Billing):
    rotated = (await api.post(f"/billing-hooks/{billing.hook['id']}/rotate")).value
    assert (await billing.tell({"id": "n1", "type": "invoice.overdue", "username": "alice"})).status == 200
    assert (await billing.tell({"id": "n2", "type": "invoice.paid", "username": "alice"}, secret=rotated["secret"])).status == 200
    assert billing.secret not in str((await api.get("/audit?limit=1000")).value)


async def test_a_hook_of_a_site_reaches_its_subscribers_only(api: Api, alice: int, database):
    await api.post("/sites", {"name": "oslo"})
    bob = (await api.post("/subscribers", {"username": "bob", "plan": "home", "password": "x", "site": "oslo"})).value["id"]
    headers = {"Authorization": f"Bearer {await a_token(database, 1, site='oslo')}"}
    billing = Billing(api, (await api.post("/billing-hooks", {"name": "oslo"}, role=None, headers=headers)).value)
    assert (await billing.tell({"id": "1", "type": "invoice.overdue", "username": "alice"})).status == 404
    assert (await billing.tell({"id": "1", "type": "invoice.overdue", "username": "bob"})).status == 200
    assert (await locks(api, alice), await locks(api, bob)) == ([], [("overdue", "reject")])


async def test_health_tells_all_parts(api: Api):
    api.health.listed = [
        Part(name="radius", state="ok", critical=True, since=1_700_000_000.0),
        Part(name="netbox", state="down", detail="no answer", latency_seconds=None, last_error="no answer"),
        Part(name="awx", state="ok", latency_seconds=0.012, last_error="it was away"),
    ]
    told = (await api.get("/health", role="read_only")).value
    assert told["state"] == "degraded"
    assert told["parts"][0] == {
        "name": "radius", "state": "ok", "critical": True, "since": "2023-11-14T22:13:20Z", "latency_seconds": None, "last_error": None, "detail": "",
    }  # fmt: skip
    assert (told["parts"][2]["latency_seconds"], told["parts"][2]["last_error"]) == (0.012, "it was away")
    assert (await api.get("/health", role=None)).status == 401
