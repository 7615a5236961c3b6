"""The simulated provider is whole, says that it is simulated, and its traffic adds up."""

from pathlib import Path

import pytest

from netd.demo import devices
from netd.demo.configurations import BEHIND
from netd.demo.devices import BEFORE_OCTETS, FADE_SECONDS, DemoDevice, light
from netd.demo.scenario import OLT, SCENARIO, SITE, WEAK, Machine
from netd.demo.traffic import Octets
from netd.errors import ConfigError
from netd.extensions import Extensions, load_simulator
from netd.sdk import ifmib

MACHINES = {machine.name: machine for machine in SCENARIO.machines}


@pytest.fixture(scope="module")
def extensions() -> Extensions:
    return Extensions.discover(packages=())


def made(extensions: Extensions, name: str, folder: Path) -> DemoDevice:
    machine = MACHINES[name]
    return DemoDevice(machine, load_simulator(extensions.platforms[machine.platform]), SCENARIO.subscribers, folder)


def counter(device: DemoDevice, column: tuple[int, ...], index: int) -> int:
    value = device._agent._table[*column, index].value
    assert isinstance(value, int)
    return value


def test_everybody_is_somewhere_once() -> None:
    plans = {plan.name for plan in SCENARIO.plans}
    access = {machine.name for machine in SCENARIO.machines if machine.access}
    for each in SCENARIO.subscribers:
        assert each.plan in plans and each.router in access
    assert len({(each.pon, each.onu) for each in SCENARIO.subscribers}) == len({each.mac for each in SCENARIO.subscribers}) == len(SCENARIO.subscribers)
    assert any(each.chap for each in SCENARIO.subscribers) and not all(each.chap for each in SCENARIO.subscribers)
    assert len(MACHINES) == 3 and [machine.name for machine in SCENARIO.machines if not machine.access] == [OLT]


def test_everything_says_that_it_is_simulated() -> None:
    for each in SCENARIO.subscribers:
        assert "simulated" in each.username and "simulated" in each.full_name
    assert all("simulated" in plan.name for plan in SCENARIO.plans) and "simulated" in SITE
    for machine in SCENARIO.machines:
        assert machine.name.startswith("sim-") and "simulated" in machine.configuration and machine.address.startswith("127.")


@pytest.mark.parametrize("name", list(MACHINES))
def test_its_agent_says_what_its_driver_reads(name: str, extensions: Extensions, tmp_path: Path) -> None:
    device, machine = made(extensions, name, tmp_path), MACHINES[name]
    device.live(10.0, {each.username: Octets(1e6, 1e5) for each in SCENARIO.subscribers})
    table = {oid: item.value for oid, item in device._agent._table.items()}
    driver = extensions.platforms[machine.platform].driver
    descr = table[ifmib.SYS_DESCR]
    assert isinstance(descr, bytes) and b"simulated" in descr
    for group in driver.groups():  # type: ignore[attr-defined]
        scalars = {oid: table.get(oid) for oid in group.scalars}
        tables = {column: {oid[len(column) :]: value for oid, value in table.items() if oid[: len(column)] == column} for column in group.tables}
        reading = driver.read(group.name, scalars, tables)  # type: ignore[attr-defined]
        if group.name == "system":
            assert reading.device.uptime_seconds == devices.UPTIME_SECONDS + 10
            assert reading.device.cpu_percent and reading.device.temperature_celsius
        elif group.name == "interfaces":
            assert [port.name for port in reading.interfaces] == [link.port.name for link in sorted(machine.links, key=lambda link: link.port.index)]
            assert all("simulated" in (port.alias or "") or port.name.startswith("GPON") for port in reading.interfaces)
            assert {port.counter_bits for port in reading.interfaces} == {64}
        elif name == OLT:
            onus = {(sample.interface, sample.onu): sample for sample in reading.optics if sample.onu is not None}
            assert onus.keys() == {(each.port, str(each.onu)) for each in SCENARIO.subscribers}
            for each in SCENARIO.subscribers:
                sample, true = onus[each.port, str(each.onu)], light(each, 10.0)
                assert (sample.rx_dbm, sample.tx_dbm, sample.olt_rx_dbm) == pytest.approx((true.rx_dbm, true.tx_dbm, true.olt_rx_dbm))
                assert (sample.distance_metres, sample.temperature_celsius) == (true.distance_metres, true.temperature_celsius)


def test_counters_are_the_sum_of_what_subscribers_use(extensions: Extensions, tmp_path: Path) -> None:
    carried = {each.username: Octets(1000.0 * place, 10.0 * place) for place, each in enumerate(SCENARIO.subscribers, 1)}
    for machine in SCENARIO.machines:
        device = made(extensions, machine.name, tmp_path)
        device.live(0.25, carried)
        for link in machine.links:
            down = sum(int(carried[each.username].down) for each in SCENARIO.subscribers if link.carries(each))
            up = sum(int(carried[each.username].up) for each in SCENARIO.subscribers if link.carries(each))
            base = BEFORE_OCTETS if link.routers else 0
            into, out = (base + down, base // 4 + up) if link.side == "core" else (base // 4 + up, base + down)
            assert counter(device, ifmib.IF_HC_IN_OCTETS, link.port.index) == into
            assert counter(device, ifmib.IF_HC_OUT_OCTETS, link.port.index) == out
            assert counter(device, ifmib.IF_IN_OCTETS, link.port.index) == into % (1 << 32)
    everybody = sum(int(each.down) for each in carried.values())
    olt = made(extensions, OLT, tmp_path)
    olt.live(0.25, carried)
    assert sum(counter(olt, ifmib.IF_HC_OUT_OCTETS, link.port.index) - BEFORE_OCTETS for link in MACHINES[OLT].links if link.pon is not None) == everybody


def test_a_restart_shows_in_its_uptime(extensions: Extensions, tmp_path: Path) -> None:
    device = made(extensions, "sim-bng1", tmp_path)
    device.live(50.0, {})
    assert device.device.uptime_seconds == devices.UPTIME_SECONDS + 50
    device.device.restart()
    device.live(50.2, {})
    device.live(57.2, {})
    assert device.device.uptime_seconds == 7 and device._agent._table[ifmib.SYS_UPTIME].value == 700
    device.type(("/system identity set name=elsewhere",))
    device.live(57.4, {})
    assert device._agent._table[ifmib.SYS_NAME].value == b"elsewhere"


def test_one_light_fades_and_comes_back() -> None:
    weak = next(each for each in SCENARIO.subscribers if each.username == WEAK)
    dbm = [light(weak, FADE_SECONDS * part / 8).rx_dbm for part in range(9)]
    assert min(dbm) < -24.0 and max(dbm) > -22.0 and dbm[0] == dbm[8]
    assert all(light(each, 60.0).rx_dbm > -20.0 for each in SCENARIO.subscribers if each is not weak)


def test_what_is_saved_outlives_the_power(extensions: Extensions, tmp_path: Path) -> None:
    device = made(extensions, "sim-bng2", tmp_path)
    device.type(BEHIND)
    section = ("interface GigabitEthernet0/1/3",)
    assert device.device.running.find(section, "ip address 198.18.99.1") and not device.device.startup.find(section, "ip address 198.18.99.1")
    key = device.server.host_key
    device.keep()
    again = made(extensions, "sim-bng2", tmp_path)
    assert not again.device.running.find(section, "ip address 198.18.99.1") and again.server.host_key == key
    again.type(("system-view", "sysname elsewhere", "return", "save", "y"))
    again.keep()
    assert made(extensions, "sim-bng2", tmp_path).device.hostname == "elsewhere"
    (tmp_path / "sim-bng2.json").write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        made(extensions, "sim-bng2", tmp_path)


@pytest.mark.parametrize("machine", SCENARIO.machines, ids=lambda machine: machine.name)
def test_a_configuration_is_the_same_after_it_was_kept(machine: Machine, extensions: Extensions, tmp_path: Path) -> None:
    device = made(extensions, machine.name, tmp_path)
    shown = device.device.running.render("#")
    device.keep()
    assert made(extensions, machine.name, tmp_path).device.running.render("#") == shown and shown.count("simulated") > 2
