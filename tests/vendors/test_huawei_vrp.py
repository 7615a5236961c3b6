import pytest

from netd.errors import PeerError
from netd.extensions import Extensions
from netd.model.device import Facts, Image, MacEntry, Outcome
from netd.sdk import device
from netd.sdk.dialogue import Pause, Step, play
from netd.sdk.terminal import Refused
from tests.vendors.recorded import Recorded


@pytest.fixture
def router(extensions: Extensions) -> Recorded:
    return Recorded(extensions, "huawei/NE40E_V800R011C00SPC200")


def image(name: str = "new.cc", octets: int = 572847476) -> Image:
    return Image(name=name, version="V800R012", octets=octets, sha256="", md5="")


def test_facts(router: Recorded) -> None:
    known = Facts(
        hostname="NE1", model="NE40E-X2-M8A", serial="210235397610B3000056", software_version="V800R011C00SPC200", uptime_seconds=161 * 86400 + 20 * 60
    )
    assert router.run(router.driver.facts()) == known
    assert router.snmp_facts() == Facts(hostname="NE1", software_version="V800R011C00SPC200")


def test_two_configurations(router: Recorded) -> None:
    running, startup = (router.run(router.driver.configuration(which)) for which in ("running", "startup"))
    assert "Last configuration" in running and "Last configuration" not in router.driver.normal(running)
    assert "GigabitEthernet0/1/0" in running and "GigabitEthernet0/1/0" not in startup


def test_a_description_is_no_secret(router: Recorded) -> None:
    text = " description customers-of-oslo\n snmp-agent usm-user v3 noc authentication-mode des56 canarycanary\n"
    assert router.driver.masked(text) == text.replace("canarycanary", "<secret>")


def test_neighbours_and_tables(router: Recorded) -> None:
    assert router.can(device.Tables)
    first, second, third = router.run(router.driver.neighbours())
    assert (first.local_interface, first.remote_mac, first.remote_name) == ("10GE1/0/1", "00:e0:fc:12:80:01", "localhost.localdomain")
    assert (second.remote_interface, third.local_interface, third.remote_interface) == ("10GE1/0/45", "MEth0/0/0", "GigabitEthernet1/0/42")
    assert router.run(router.driver.macs()) == [
        MacEntry(mac="b8:d6:f6:ff:73:90", interface="XGE0/0/1", vlan=10),
        MacEntry(mac="b8:d6:f6:ff:73:9b", interface="10GE1/0/2"),
    ]
    assert [(str(entry.address), entry.interface) for entry in router.run(router.driver.arps())] == [
        ("192.0.2.1", "Eth-Trunk3"),
        ("192.0.2.2", "Eth-Trunk3"),
        ("192.0.2.9", "Vlanif4024"),
    ]


def test_other_layouts(router: Recorded) -> None:
    ar = "VRP (R) software, Version 5.170 (AR6280 V300R019C10SPC300)\nHuawei AR6280 Router uptime is 60 weeks, 4 days, 11 hours, 20 minutes"
    known = play(router.driver.facts(), lambda step: ar)
    assert (known.model, known.software_version, known.uptime_seconds) == ("AR6280", "V300R019C10SPC300", 36674400)
    arps = "10.110.138.33   4cf5-5b2e-3d18            I -         GE0/2/13.203     LTE-S1X2\n"
    arps += "0.0.0.0         4cf5-5b2e-3d19            S--                          LTE-S1X2"
    (found,) = play(router.driver.arps(), lambda step: arps)
    assert found.interface == "GE0/2/13.203"
    macs = "aaaa-aaaa-aaaa 1/-                               GE0/0/25            dynamic   "
    assert play(router.driver.macs(), lambda step: macs) == [MacEntry(mac="aa:aa:aa:aa:aa:aa", interface="GE0/0/25", vlan=1)]


def test_the_other_order_of_neighbours(router: Recorded) -> None:
    """S switches of older releases: local, name, remote, expiry."""
    text = "Local Intf       Neighbor Dev         Neighbor Intf             Exptime\nGE0/0/1          core1                GE0/0/24                  107"
    (found,) = play(router.driver.neighbours(), lambda step: text)
    assert (found.local_interface, found.remote_name, found.remote_interface) == ("GE0/0/1", "core1", "GE0/0/24")


def test_an_upgrade(router: Recorded) -> None:
    assert router.run(router.driver.free_octets()) == 801664 * 1024
    router.run(router.driver.transfer(image()))
    assert router.run(router.driver.verify(image())) is Outcome.UNVERIFIED  # its length is right, more it does not say
    assert router.run(router.driver.verify(image(octets=5))) is Outcome.FAILED
    router.run(router.driver.activate(image()))
    router.run(router.driver.reboot())
    assert router.player.restarts == 1


def test_an_image_that_the_next_start_does_not_take(router: Recorded) -> None:
    with pytest.raises(Refused) as refusal:
        play(
            router.driver.activate(image("other.cc")),
            lambda step: router.player(step) if "startup system" not in getattr(step, "text", "") else "Info: Succeeded",
        )
    assert refusal.value.outcome is Outcome.UNVERIFIED


def test_a_restored_configuration(router: Recorded) -> None:
    text = router.run(router.driver.configuration("running"))
    assert router.run(router.driver.restore(text)) is Outcome.OK
    assert router.player.stored == {"netd-restore.cfg": text.encode()} and router.player.restarts == 0
    assert router.player.typed[-1] == "save" and "delete /unreserved /quiet netd-restore.cfg" in router.player.typed


def test_a_rollback_that_does_not_say_that_it_succeeded(router: Recorded) -> None:
    text = router.run(router.driver.configuration("running"))

    def act(step: Step) -> str:
        left = {
            "rollback configuration to file netd-restore.cfg": "Checking changes...\nCommitting\nCheck rollback result",
            "display configuration rollback result": "There are still several differences as follow:\n+ snmp-agent community read cipher canarysnmp",
        }
        return left.get(getattr(step, "text", "")) or router.player(step)

    assert play(router.driver.restore(text), act) is Outcome.OK  # what counts is what it runs
    (note,) = router.player.notes
    assert "snmp-agent community read cipher <secret>" in note


@pytest.mark.parametrize("said", ["Error: The file does not exist.", "Error: Unrecognized command found at '^' position."])
def test_a_rollback_that_is_refused(said: str, router: Recorded) -> None:
    text = router.run(router.driver.configuration("running"))

    def act(step: Step) -> str:
        if getattr(step, "text", "").startswith("rollback"):
            raise Refused(said, router.driver.terminal.classify(said)[0], said)
        return router.player(step)

    with pytest.raises(Refused):
        play(router.driver.restore(text), act)
    assert "delete /unreserved /quiet netd-restore.cfg" in router.player.typed and "save" not in router.player.typed


def test_vrp_5_starts_with_it(extensions: Extensions) -> None:
    switch = Recorded(extensions, "huawei/S5720_V200R019C10")
    text = switch.run(switch.driver.configuration("running"))
    assert switch.run(switch.driver.restore(text)) is Outcome.OK
    assert switch.player.restarts == 1
    assert switch.player.typed[-3:] == ["save vrpcfg.zip", "startup saved-configuration vrpcfg.zip", "delete /unreserved /quiet netd-restore.cfg"]


def test_a_start_that_does_not_take_it(extensions: Extensions) -> None:
    switch = Recorded(extensions, "huawei/S5720_V200R019C10")
    text = switch.run(switch.driver.configuration("running"))
    same = "  Next startup saved-configuration file:     flash:/vrpcfg.zip"
    with pytest.raises(Refused, match="nothing was restarted"):
        play(switch.driver.restore(text), lambda step: same if getattr(step, "text", "") == "display startup" else switch.player(step))
    assert switch.player.restarts == 0


def test_changes_and_save(router: Recorded) -> None:
    done = router.run(router.driver.configure(["vlan 10", "nonsense"]))
    assert [outcome for _, outcome, _ in done] == [Outcome.OK, Outcome.SYNTAX]
    assert router.player.typed[-2:] == ["clear configuration candidate", "return"]
    router.player.typed.clear()
    router.run(router.driver.configure(["vlan 10"]))
    assert router.player.typed == ["system-view", "vlan 10", "display version", "commit trial 120", "commit", "return"]
    router.run(router.driver.save())


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ("Error: The system is in trial configuration mode.", Outcome.FAILED),
        ("Error: The configuration is locked by other users.", Outcome.BUSY),
    ],
)
def test_a_trial_that_is_refused(said: str, outcome: Outcome, router: Recorded) -> None:
    """What was typed is thrown away, or leaving would commit it."""
    with pytest.raises(Refused) as refusal:
        play(router.driver.configure(["vlan 10"]), lambda step: said if getattr(step, "text", "").startswith("commit trial") else router.player(step))
    assert refusal.value.outcome is outcome and router.player.typed[-2:] == ["clear configuration candidate", "return"]


def test_a_trial_of_a_session_that_is_gone(router: Recorded) -> None:
    """Nobody else can end it: it is waited for."""
    text = router.run(router.driver.configuration("running"))
    waited: list[float] = []

    def act(step: Step) -> str:
        if isinstance(step, Pause):
            waited.append(step.seconds)
        if getattr(step, "text", "").startswith("rollback"):
            said = "Error: The system is in trial configuration mode."
            raise Refused(said, Outcome.FAILED, said)
        return router.player(step)

    assert play(router.driver.take_back(text, save=True), act) is Outcome.OK and waited == [120]
    assert play(router.driver.take_back(text + "#\n", save=True), act) is Outcome.UNVERIFIED


def test_telemetry(router: Recorded) -> None:
    sample = router.read("system").device
    assert sample is not None
    assert (sample.cpu_percent, sample.temperature_celsius, sample.uptime_seconds) == (14.0, 47.0, 13911600)


def test_an_mdu_is_walked_without_getbulk(extensions: Extensions) -> None:
    driver = extensions.platforms["huawei_mdu"].driver
    assert isinstance(driver, device.Telemetry)
    assert not any(group.bulk for group in driver.groups())


def test_a_candidate_that_is_broken_off_is_not_committed_on_the_way_out(router: Recorded) -> None:
    def act(step: Step) -> str:
        if getattr(step, "text", "") == "vlan 10":
            raise PeerError("it asks what nobody answers")
        return router.player(step)

    with pytest.raises(PeerError, match="nobody answers"):
        play(router.driver.configure(["vlan 10", "description x"]), act)
    assert router.player.typed == ["system-view", "clear configuration candidate", "return"]


def test_a_restart_that_is_refused_leaves_the_next_start_as_it_was(extensions: Extensions) -> None:
    switch = Recorded(extensions, "huawei/S5720_V200R019C10")
    text = switch.run(switch.driver.configuration("running"))

    def act(step: Step) -> str:
        if getattr(step, "text", "") == "reboot fast":
            raise Refused("reboot fast: Error: The system is busy.", Outcome.BUSY)
        return switch.player(step)

    with pytest.raises(Refused, match="busy"):
        play(switch.driver.restore(text), act)
    assert switch.player.restarts == 0
    assert switch.player.typed[-2:] == ["startup saved-configuration vrpcfg.zip", "delete /unreserved /quiet netd-restore.cfg"]


def test_what_it_starts_with_is_neither_overwritten_nor_deleted(extensions: Extensions) -> None:
    """An earlier restoration, after which not all was as it should be, left its file as what it starts with."""
    switch = Recorded(extensions, "huawei/S5720_V200R019C10")
    text = switch.run(switch.driver.configuration("running"))
    following = ["netd-restore.cfg", "2-netd-restore.cfg"]

    def act(step: Step) -> str:
        words = getattr(step, "text", "")
        if words == "display startup":
            return f"  Next startup saved-configuration file:     flash:/{following.pop(0)}"
        if words.startswith(("save ", "startup ", "delete ")):
            switch.player.typed.append(words)
            return "Info: Save the configuration successfully."
        return switch.player(step)

    assert play(switch.driver.restore(text), act) is Outcome.OK
    assert list(switch.player.stored) == ["2-netd-restore.cfg"]
    assert switch.player.typed[-3:] == ["save netd-restore.cfg", "startup saved-configuration netd-restore.cfg", "delete /unreserved /quiet 2-netd-restore.cfg"]
