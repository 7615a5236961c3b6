from ipaddress import ip_address

from netd.domain.facts import Observation, take
from netd.model.device import ArpEntry, Facts, InterfaceSample, Neighbour
from netd.store.database import Database
from tests.domain.test_facts import NOW


async def test_devices(netd, database: Database):
    assert (await netd("site", "add", "oslo")).code == 0
    made = await netd("device", "add", "core1", "--address", "10.0.0.1", "--vendor", "mikrotik", "--platform", "mikrotik_routeros", "--tags", "core,north",
                      "--ports", "ssh=2222", "--variables", '{"asn": 64500}', "--site", "oslo", "--json")  # fmt: skip
    assert (made.code, made.value["kind"], made.value["ports"], made.value["tags"]) == (0, "router", {"ssh": 2222}, ["core", "north"])
    assert (await netd("device", "add", "edge1", "--address", "10.0.0.2", "--vendor", "generic", "--parent", "core1")).code == 0
    seen = Observation(
        device_id=made.value["id"], source="snmp", at=NOW, facts=Facts(model="CCR2004", software_version="7.15"),
        interfaces=[InterfaceSample(if_index=1, name="ether1", alias="to edge", oper_up=True, admin_up=True, speed_bps=10**9)],
        neighbours=[Neighbour(local_interface="ether1", protocol="lldp", remote_name="edge1", remote_interface="eth0")],
        arps=[ArpEntry(address=ip_address("10.1.0.7"), mac="00:11:22:33:44:55", interface="ether1")],
    )  # fmt: skip
    await take(database, 1, [seen])
    later = Observation(device_id=made.value["id"], source="snmp", at=NOW, facts=Facts(software_version="7.16"))
    await take(database, 1, [later])
    listed = (await netd("device", "list", "--site", "oslo")).out.splitlines()
    assert listed[1].split()[1:] == ["core1", "10.0.0.1", "mikrotik_routeros", "oslo", "active", "CCR2004", "7.16", "2026-11-26", "12:00:00Z"]
    shown = (await netd("device", "show", "CORE1")).out
    assert ["software_version", "7.16", "snmp", "2026-11-26", "12:00:00Z"] in [line.split() for line in shown.splitlines()], shown
    interfaces = (await netd("device", "interfaces", "core1")).out.splitlines()
    assert interfaces[1].split() == ["1", "ether1", "to", "edge", "up", "up", "1G", "-", "yes"]
    silent = await netd("device", "update-interface", "core1", "ether1", "--monitored", "no", "--note", "a customer's", "--json")
    assert (silent.value["monitored"], silent.value["note"]) == (False, "a customer's")
    assert (await netd("device", "update-interface", "core1", "ether9", "--monitored", "no")).err == "netd: interface ether9 does not exist\n"
    assert (await netd("device", "links", "core1")).out.splitlines()[1].split()[:5] == ["ether1", "lldp", "edge1", "eth0", "yes"]
    for address in ("0011.2233.4455", "00-11-22-33-44-55", "10.1.0.7"):
        assert (await netd("device", "where", address)).out.splitlines()[1].split()[:5] == ["core1", "ether1", "-", "00:11:22:33:44:55", "10.1.0.7"], address
    assert (await netd("device", "history", "core1")).out.splitlines()[1].split()[2:] == ["-", "software_version", "7.15", "7.16", "snmp"]
    assert (await netd("device", "update", "core1", "--state", "maintenance", "--site", "none", "--json")).value["state"] == "maintenance"
    assert (await netd("device", "update", "core1")).code == 2
    assert (await netd("device", "add", "x", "--address", "10.0.0.0/8", "--vendor", "acme")).err.count("netd: ") == 1
    group = await netd("device-group", "add", "north", "--tags", "north", "--states", "active,maintenance", "--json")
    assert group.value["devices"] == 1
    assert (await netd("device-group", "update", "north", "--kinds", "olt", "--json")).value["devices"] == 0
    assert (await netd("device-group", "list")).out.splitlines()[1].split()[1:3] == ["north", "0"]
    wrong = await netd("device-group", "add", "x", "--kinds", "olt,foo")
    assert wrong.err == "netd: selector/kinds/1: 'foo' is none of olt, onu, other, router, server, switch\n"
    assert (await netd("job", "list", "--state", "queued,foo")).err.startswith("netd: state__in: 'foo' is none of awaiting_approval, cancelled, failed")
    assert (await netd("site", "list", "--limit", "0")).err == "netd: limit: must be at least 1\n"
    assert (await netd("device-group", "remove", "north")).out == "device group north is removed\n"
    assert (await netd("device", "remove", "core1")).out == "device core1 is removed\n"
    assert (await netd("device", "show", "core1")).err == "netd: device core1 does not exist\n"


async def test_credentials(netd, tmp_path):
    key = tmp_path / "key"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----\n")
    made = await netd("credential", "add", "shell", "--type", "ssh", "--username", "netd", "--private-key", str(key), "--position", "5", "--json")
    assert made.value["secrets"] == ["private_key"]
    assert (await netd("credential", "add", "ro", "--type", "snmp_community", "--community", "-", "--networks", "10.0.0.0/8", stdin="s3cr3t\n")).code == 0
    listed = (await netd("credential", "list")).out.splitlines()
    assert [line.split() for line in listed[1:]] == [
        ["5", "shell", "ssh", "netd", "-", "-", "yes"], ["100", "ro", "snmp_community", "-", "-", "10.0.0.0/8", "yes"],
    ]  # fmt: skip
    assert (await netd("credential", "update", "ro", "--snmp-version", "1", "--json")).value["settings"] == {"snmp_version": "1"}
    refused = await netd("credential", "update", "ro", "--username", "netd")
    assert (refused.code, "means nothing for a credential of type snmp_community" in refused.err) == (2, True)
    shown = await netd("credential", "show", "ro")
    assert "s3cr3t" not in shown.out and "community" in shown.out
    assert (await netd("credential", "remove", "ro")).out == "credential ro is removed\n"
