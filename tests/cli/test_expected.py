"""``netd ztp`` and ``netd dhcp`` against a running API: who is expected, rules and subnets."""

from pathlib import Path


async def test_a_device_is_expected(netd, tmp_path: Path):
    assert (await netd("ztp", "list")).err.startswith("netd: no device is expected yet: netd ztp expect")
    (tmp_path / "boot.j2").write_text("hostname {{ hostname }}\nuser {{ boot_user }}\n")
    files = ("--boot-template", "@boot.j2", "--configuration", "snmp {{ snmp_community }} {{ vlan }}")
    made = await netd("ztp", "expect", "sw1", "--profile", "plain", "--serial", "FOC1932X0K1", *files, "--closes-at", "2099-01-01")
    assert made.code == 0, made.err
    lines = made.out.splitlines()
    assert ["closes_at", "2099-01-01", "00:00:00Z"] in [line.split() for line in lines]
    (at,) = (place for place, line in enumerate(lines) if line.startswith("boot_template"))
    assert lines[at].split(maxsplit=1)[1] == "hostname {{ hostname }}" and lines[at + 1].strip() == "user {{ boot_user }}", "a template's line is a line"
    checked = await netd("ztp", "check")
    assert checked.code == 1 and checked.out.splitlines() == [
        "0 can be rendered, 1 cannot", "sw1: /configuration: the device's own, line 1: 'vlan' is undefined",
    ]  # fmt: skip
    assert (await netd("ztp", "preview", "sw1")).err == "netd: /configuration: the device's own, line 1: 'vlan' is undefined\n"
    assert (await netd("ztp", "update", "sw1", "--variables", '{"vlan": 7}')).code == 0
    shown = (await netd("ztp", "preview", "sw1")).out.splitlines()
    assert shown[1:3] == ["hostname sw1", "user netd-boot"] and shown[-2:] == ["--- afterwards, over its command line", "snmp <snmp_community> 7"]
    listed = (await netd("ztp", "list")).out.splitlines()
    assert listed[1].split()[1:5] == ["sw1", "FOC1932X0K1", "plain", "expected"] and listed[1].split()[6].endswith("Z")
    assert (await netd("ztp", "steps", "sw1")).out.splitlines()[1].split()[2:] == ["expected", "by=test", "admin"]
    assert (await netd("ztp", "expect", "sw1", "--profile", "plain", "--serial", "X")).err == "netd: hostname: a device of this name is expected already\n"
    assert (
        await netd("ztp", "expect", "x", "--profile", "nix", "--serial", "X")
    ).err == "netd: profile: there is no such boot profile; there are plain, tr069_cpe\n"
    assert (await netd("ztp", "authority")).code == 1


async def test_rules_and_subnets(netd):
    assert (await netd("ztp", "add-rule", "cpes", "--profiles", "plain", "--hostname", "cpe-{serial}")).code == 0
    changed = await netd("ztp", "update-rule", "cpes", "--enabled", "no", "--name", "phones", "--settings", '{"role": "cpe"}', "--json")
    assert [changed.value[name] for name in ("name", "enabled", "settings")] == ["phones", False, {"role": "cpe"}]
    assert (await netd("ztp", "rules")).out.splitlines()[1].split()[1:] == ["phones", "plain", "-", "-", "-", "cpe-{serial}", "no"]
    assert (await netd("ztp", "update-rule", "phones")).code == 2
    assert (await netd("ztp", "remove-rule", "phones")).out == "rule phones is removed\n"
    await netd("pool", "add", "street", "--kind", "ipv4", "--ranges", "10.1.0.10-10.1.0.250")
    profiles = {line.split()[0]: line.split()[-3:] for line in (await netd("dhcp", "profiles")).out.splitlines()[1:]}
    assert profiles["plain"][-1] == profiles["tr069_cpe"][-1] == "-" and profiles["plain"][0] == "it"
    served = await netd("dhcp", "serve", "access", "--prefix", "10.1.0.0/24", "--pool", "street", "--lease", "1d", "--json")
    assert served.value["lease_seconds"] == 86_400
    assert (await netd("dhcp", "list")).out.splitlines()[1].split()[-2:] == ["1d", "yes"]
