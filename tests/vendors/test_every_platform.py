"""What every bundled driver of devices must hold to, against every recording of its platform."""

import re

import pytest

from netd.errors import PeerError
from netd.extensions import Extensions
from netd.model.device import Facts, Outcome
from netd.sdk import device, ifmib
from netd.sdk.dialogue import Command, Step, play
from netd.sdk.polled import oid
from netd.sdk.recording import Recording, select, varbinds
from netd.sdk.terminal import ErrorText
from netd.share import share
from tests.vendors.recorded import FOLDERS, ROOT, Recorded

NAMES = [f"{folder.parent.name}/{folder.name}" for folder in FOLDERS]
CANARY = re.compile(r"canary\w*")


@pytest.fixture(params=NAMES)
def recorded(request: pytest.FixtureRequest, extensions: Extensions) -> Recorded:
    return Recorded(extensions, request.param)


def test_every_platform_has_a_recording(extensions: Extensions) -> None:
    """Or a relative that shares its driver and data has one."""
    recorded = {Recording.parse((folder / "session.txt").read_text("utf-8")).platform for folder in FOLDERS}
    known = {(item.vendor, item.platform.driver, item.platform.data): name for name, item in extensions.platforms.items() if name in recorded}
    assert recorded <= set(extensions.platforms)
    assert not [name for name, item in extensions.platforms.items() if (item.vendor, item.platform.driver, item.platform.data) not in known]


def test_a_recording_says_what_it_is_made_from(recorded: Recorded) -> None:
    found = recorded.recording
    assert found.made_from in {"documents", "a device"}
    assert found.sources
    assert Recording.parse(found.dump()) == found


def test_capabilities_are_whole(recorded: Recorded) -> None:
    """Half a capability would be offered as none, and nobody would notice."""
    protocols = [getattr(device, name) for name in CAPABILITIES]
    methods = {name for protocol in protocols for name in vars(protocol) if not name.startswith("_") and callable(getattr(protocol, name, None))}
    whole = {name for protocol in protocols if recorded.can(protocol) for name in dir(protocol) if not name.startswith("_")}
    assert {name for name in methods if hasattr(recorded.driver, name)} <= whole


CAPABILITIES = (
    "CommandLine",
    "Inspect",
    "Neighbours",
    "Macs",
    "Arps",
    "Backup",
    "Configure",
    "Restore",
    "TakeBack",
    "Checkpoint",
    "Firmware",
    "Telemetry",
    "SnmpFacts",
    "OnuOptics",
)


def test_it_says_what_it_is(recorded: Recorded) -> None:
    facts = recorded.run(recorded.driver.facts())
    assert isinstance(facts, Facts)
    assert facts.software_version
    if recorded.recording.platform not in {"generic_linux", "generic_frr"} and recorded.recording.hardware != "C600":
        assert facts.model


def test_it_prepares_and_leaves(recorded: Recorded) -> None:
    recorded.run(recorded.driver.prepare())
    recorded.run(recorded.driver.leave())


def test_a_configuration_keeps_its_secrets_to_itself(recorded: Recorded) -> None:
    driver = recorded.driver
    if not recorded.can(device.Backup):
        pytest.skip("has no backup")
    text = recorded.run(driver.configuration("running"))
    canaries = CANARY.findall(text)
    assert canaries, "the recording has no secret to be masked"
    shown = driver.masked(text)
    assert not CANARY.findall(shown), shown
    assert shown.count("<secret>") >= len(canaries)
    assert driver.masked(shown) == shown
    assert driver.normal(driver.normal(text)) == driver.normal(text)
    assert CANARY.findall(driver.normal(text)), "what is compared must know the secrets: a changed password is a change"
    assert text.endswith("\n") and "\r" not in text


def test_a_configuration_that_was_cut_is_refused(recorded: Recorded) -> None:
    driver = recorded.driver
    if not recorded.can(device.Backup):
        pytest.skip("has no backup")
    if not driver.family.configuration.end:
        pytest.skip("where a configuration ends is not documented")
    text = recorded.run(driver.configuration("running"))

    for missing in range(40, len(text) - 60, 7):  # less may leave enough of an end marker with a date

        def cut(step: Step, missing: int = missing) -> str:
            reply = recorded.player(step)
            return reply[: len(reply) - missing] if isinstance(step, Command) and text.strip()[:40] in reply.replace("\r", "") else reply

        with pytest.raises(PeerError) as refusal:
            play(driver.configuration("running"), cut)
        assert getattr(refusal.value, "outcome", None) is Outcome.UNVERIFIED
        assert not CANARY.search(f"{refusal.value} {refusal.value.said}")


def test_what_is_typed_shows_no_secret(recorded: Recorded) -> None:
    driver = recorded.driver
    if not recorded.can(device.Configure):
        pytest.skip("cannot be configured")
    lines = driver.normal(recorded.run(driver.configuration("running"))).splitlines()
    typed: list[Command] = []

    def echo(step: Step) -> str:
        assert isinstance(step, Command)
        typed.append(step)
        return ""

    done = play(driver.configure(lines), echo)
    assert done and not CANARY.search(repr(done))
    assert [step.text for step in typed if CANARY.search(step.text)]
    assert all(step.secret for step in typed if CANARY.search(step.text))


@pytest.mark.parametrize("name", [name for name in NAMES if (ROOT / name / "agent.snmprec").exists()])
def test_it_is_recognised(name: str, extensions: Extensions) -> None:
    """By the longest sysObjectID; where several have that, by the expression that fits the longest piece of sysDescr."""
    found = varbinds((ROOT / name / "agent.snmprec").read_text("utf-8"))
    object_id, descr = found.get(ifmib.SYS_OBJECT_ID), ifmib.text(found.get(ifmib.SYS_DESCR))
    if not isinstance(object_id, tuple):
        pytest.skip("the recording has no sysObjectID")

    def fit(match: device.Match) -> tuple[int, int]:
        prefixes = [len(prefix) for prefix in map(oid, match.sys_object_id) if object_id[: len(prefix)] == prefix]
        pieces = [len(piece[0]) for pattern in match.sys_descr if (piece := re.search(pattern, descr))]
        return max(prefixes, default=0), max(pieces, default=0)

    fits = sorted(((fit(item.platform.match), item.platform.name) for item in extensions.platforms.values()), reverse=True)
    expected = "nokia_isam_nfxs" if "NFXS-E" in descr else Recorded(extensions, name).recording.platform
    assert fits[0][1] == expected and fits[0][0] > fits[1][0]


def test_error_texts_are_what_they_say(extensions: Extensions) -> None:
    """Each pattern finds something that no pattern before it takes away for another outcome, or it would be there in vain."""
    for platform in extensions.platforms.values():
        terminal = getattr(platform.driver, "terminal", None)
        if terminal is None:
            continue
        for error in terminal.errors:
            assert isinstance(error, ErrorText)
            re.compile(error.pattern, re.MULTILINE)
        assert terminal.classify("") == (Outcome.OK, "")
        assert terminal.classify("interface gpon 0/1 is up")[0] is Outcome.OK


@pytest.mark.parametrize("name", [name for name in NAMES if (ROOT / name / "agent.snmprec").exists()])
def test_telemetry_reads_nothing_into_silence(name: str, extensions: Extensions) -> None:
    """What an agent has gives figures; an agent that has nothing gives none, and no zeros."""
    recorded = Recorded(extensions, name)
    found = varbinds((ROOT / name / "agent.snmprec").read_text("utf-8"))
    for group in recorded.driver.groups():
        assert group.period_seconds >= 10
        reading = recorded.driver.read(group.name, *select(found, group.scalars, group.tables))
        assert (reading.device is not None) == (group.name == "system")
        silent = recorded.driver.read(group.name, *select({}, group.scalars, group.tables))
        assert silent.interfaces == () and silent.optics == ()
        if silent.device is not None:
            assert {getattr(silent.device, field) for field in silent.device.__struct_fields__} == {None}
    assert recorded.read("system").device is not None


def test_readme_says_what_they_can_do(extensions: Extensions) -> None:
    """The table for operators and the code do not drift apart."""
    lines = (share("vendors").parent / "README.md").read_text("utf-8").splitlines()
    head = next(line for line in lines if line.startswith("| platform |"))
    titles = [cell.strip() for cell in head.strip("|").split("|")]
    columns = {
        "backup": device.Backup,
        "configure": device.Configure,
        "restore": device.Restore,
        "firmware": device.Firmware,
        "neighbours": device.Neighbours,
        "MAC": device.Macs,
        "ARP": device.Arps,
        "ONUs": device.OnuOptics,
    }
    said: dict[str, dict[str, bool]] = {}
    for line in lines[lines.index(head) + 2 :]:
        if not line.startswith("|"):
            break
        cells = dict(zip(titles, (cell.strip() for cell in line.strip("|").split("|")), strict=True))
        for name in re.findall(r"[a-z]+_[a-z_]+", cells["platform"]):
            said[name] = {title: cells[title].startswith("yes") for title in columns}
    can = {name: {title: isinstance(item.driver, protocol) for title, protocol in columns.items()} for name, item in extensions.platforms.items()}
    assert said == can
