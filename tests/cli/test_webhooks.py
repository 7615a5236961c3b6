from collections.abc import AsyncIterator

import pytest

from tests.work.receiver import Receiver


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    started = await Receiver().start()
    yield started
    await started.stop()


async def test_webhooks(netd, receiver):
    made = await netd("webhook", "add", "crm", "--url", receiver.url, "--types", "quota.*,plan.created", "--note", "by ann")
    assert made.code == 0 and made.out.startswith("whsec_") and "not shown again" in made.err
    secret = made.out.strip()
    assert (await netd("webhook", "list")).out.splitlines()[1].split()[1:6] == ["crm", receiver.url, "quota.*", "plan.created", "good"]
    assert secret not in (await netd("webhook", "show", "crm", "--json")).out
    tested = await netd("webhook", "test", "crm")
    assert tested.code == 0 and receiver.got[0].signed_by(secret)
    receiver.status = 500
    failed = await netd("webhook", "test", "crm", "--json")
    assert (failed.code, failed.value["error"]) == (1, "answered 500")
    log = (await netd("webhook", "deliveries", "crm")).out.splitlines()
    assert len(log) == 3 and log[1].endswith("answered 500") and log[2].endswith("delivered")
    assert len((await netd("webhook", "deliveries", "crm", "--failed")).out.splitlines()) == 2
    assert (await netd("webhook", "update", "crm", "--disable", "--types", "none", "--json")).value["enabled"] is False
    assert (await netd("webhook", "list")).out.splitlines()[1].split()[3:5] == ["all", "disabled"]
    assert (await netd("webhook", "update", "crm", "--enable", "--json")).value["enabled"] is True
    assert (await netd("webhook", "rotate", "crm")).out.strip() not in ("", secret)
    assert (await netd("webhook", "replay", "crm", "--from", "7.3", "--json")).value["after"] == "7.2"
    assert (await netd("webhook", "replay", "crm", "--from", "seven")).code == 2
    assert (await netd("webhook", "remove", "crm")).out == "webhook crm is removed\n"
    assert (await netd("webhook", "show", "crm")).err == "netd: webhook crm does not exist\n"


async def test_billing_hooks_and_health(netd):
    made = await netd("billing-hook", "add", "erp", "--mode", "walled")
    assert made.out.startswith("whsec_") and "POST /api/v1/hooks/" in made.err
    assert (await netd("billing-hook", "list")).out.splitlines()[1].split()[3:5] == ["walled", "good"]
    assert (await netd("billing-hook", "update", "erp", "--mode", "reject", "--disable", "--json")).value["mode"] == "reject"
    assert (await netd("billing-hook", "rotate", "erp")).out.strip() not in ("", made.out.strip())
    assert (await netd("billing-hook", "show", "erp")).code == 0
    assert (await netd("billing-hook", "remove", "erp")).out == "billing hook erp is removed\n"
    health = await netd("health")
    assert health.code == 0 and [line.split()[:2] for line in health.out.splitlines()[1:]] == [["database", "ok"], ["coa", "ok"]]
