from ipaddress import ip_address

from netd.domain import discovery
from netd.domain.actor import system
from netd.domain.discovery import DiscoveryOrder
from netd.domain.recognition import Recogniser
from netd.model.inventory import Finding
from netd.store.database import Database
from tests.domain.test_facts import NOW


async def test_candidates(netd, api, database: Database):
    assert (await netd("credential", "add", "ro", "--type", "snmp_community", "--community", "s3cr3t")).code == 0
    plan = await netd("discovery", "plan", "10.0.0.0/24", "10.0.1.5", "--exclude", "10.0.0.0/25", "--rate", "5", "--json")
    assert plan.value == {"addresses": 128, "seconds_least": 25.6, "credentials": ["ro"], "site": None}
    refused = await netd("discovery", "plan", "10.0.0.0/8")
    assert (refused.code, "at a time 65536 are looked at" in refused.err) == (2, True)
    actor = system(1)
    search = await discovery.prepare(database, database, api.deps.keyring, actor, DiscoveryOrder(ranges=("10.0.0.0/24",)))
    seen = [
        Finding(
            address=ip_address("10.0.0.10"), at=NOW, answers=("ping", "snmp"), sys_object_id="1.3.6.1.4.1.14988.1", sys_name="core1", sys_descr="RouterOS 7"
        ),
        Finding(address=ip_address("10.0.0.9"), at=NOW, answers=("ping",)),
    ]
    await discovery.keep(database, search, seen, Recogniser(api.deps.catalogue.platforms))
    listed = (await netd("discovery", "list")).out.splitlines()
    assert [line.split() for line in listed[1:]] == [
        ["10.0.0.9", "-", "-", "-", "ping", "-", "-"], ["10.0.0.10", "core1", "mikrotik_routeros", "RouterOS", "7", "ping,", "snmp", "-", "-"],
    ]  # fmt: skip
    assert (await netd("discovery", "accept", "10.0.0.9")).code == 2
    assert (await netd("discovery", "accept", "10.0.0.10", "--tags", "new")).out == "10.0.0.10 is device core1\n"
    assert (await netd("device", "list", "--platform", "mikrotik_routeros", "--tag", "new")).out.splitlines()[1].split()[1:3] == ["core1", "10.0.0.10"]
    assert (await netd("discovery", "ignore", "10.0.0.9")).out == "10.0.0.9 is ignored\n"
    assert (await netd("discovery", "list")).err == "netd: there are no candidates: netd discovery start RANGE\n"
    assert (await netd("discovery", "reconsider", "10.0.0.9")).code == 0
    assert (await netd("discovery", "show", "10.0.0.9", "--json")).value["state"] == "new"
    assert (await netd("discovery", "forget", "10.0.0.9")).out == "10.0.0.9 is forgotten\n"
    assert (await netd("discovery", "show", "10.0.0.9")).err == "netd: candidate 10.0.0.9 does not exist\n"
