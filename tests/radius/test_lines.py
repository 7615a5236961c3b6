"""Lines that subscribers are bound to, VLANs, devices that log in by MAC address or circuit id, and committed rates: what is on the wire."""

import hashlib
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrad import packet as pyrad

from netd.domain import attempts, audit, explain, nas, plans, subscribers
from netd.domain.attempts import AttemptQuery
from netd.domain.lines import NewLine
from netd.radius.lines import LineLogin, Seen, seen
from netd.radius.plan import Grant
from netd.sdk import Service
from netd.store import policies
from netd.wire import radius
from tests.radius import engine
from tests.radius.test_hours import change, change_plan
from tests.radius.world import ACTOR, SECRET, TestNas, World, eventually, nas_at, world

MAC = "00:11:22:aa:bb:cc"
CIRCUIT = "olt1 eth 0/1/3:100.7"


async def code(device: TestNas, username: str = "alice", password: str = "wonderland", **attributes: Any) -> int:
    answer = await device.login(username, password, **attributes)
    assert answer is not None
    return int(answer.code)


async def newest(world: World, username: str = "alice") -> Any:
    page = await attempts.page(world.db, ACTOR, AttemptQuery(username=username, limit=1))
    return page.items[0] if page.items else None


async def recorded(world: World, *parts: str) -> None:
    """Wait until the newest attempt's reason and detail have these parts."""

    async def there() -> bool:
        await world.running.upkeep.flush_postauth()  # the newest that is written may be an earlier one else
        attempt = await newest(world)
        return attempt is not None and all(part in f"{attempt.reply} {attempt.reason.value} {attempt.detail}" for part in parts)

    await eventually(there)


# -- where a request comes from -----------------------------------------------------------------------------------------


def vendor_specific(vendor: int, *attributes: tuple[int, bytes]) -> bytes:
    return engine.attribute(26, vendor.to_bytes(4, "big") + b"".join(engine.attribute(kind, value) for kind, value in attributes))


def of(attributes: bytes) -> Seen:
    return seen(radius.parse(engine.packet(1, 1, bytes(16), engine.attribute(1, b"x") + attributes)))


OPTIONS = bytes.fromhex("3501013d0701001122aabbcc") + b"\x00" + engine.attribute(82, b"")[:1] + b"\x0a" + b"\x01\x04\x00\x64\x00\x01" + b"\x02\x02r1" + b"\xff"


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        (vendor_specific(3561, (1, b"c1"), (2, b"r1")), "circuit id c1, remote id r1"),
        (vendor_specific(2352, (97, b"c1"), (96, b"\x00\x01")), "circuit id c1, remote id 0x0001"),
        (vendor_specific(3561, (1, b"c1")) + vendor_specific(2352, (97, b"c1")), "circuit id c1"),
        (vendor_specific(9, (1, b"circuit-id-tag=c1")) + vendor_specific(9, (1, b"remote-id-tag=r=1")), "circuit id c1, remote id r=1"),
        (vendor_specific(9, (1, b"client-mac-address=0011.22aa.bbcc"), (1, b"audit-session-id=1")), f"MAC {MAC}"),
        (vendor_specific(6527, (102, OPTIONS), (27, b"00:11:22:aa:bb:cc")), f"circuit id 0x00640001, remote id r1, MAC {MAC}"),
        (vendor_specific(4874, (55, OPTIONS), (56, b"0011.22aa.bbcc")), f"circuit id 0x00640001, remote id r1, MAC {MAC}"),
        (vendor_specific(2011, (153, b"0011-22aa-bbcc")), f"MAC {MAC}"),
        (engine.attribute(87, b"slot=0;subslot=1;port=3;vlanid=100;vlanid2=7"), "NAS-Port-Id slot=0;subslot=1;port=3;vlanid=100;vlanid2=7"),
        (engine.attribute(31, b"00-11-22-AA-BB-CC"), f"MAC {MAC}"),
        (engine.attribute(31, b"a phone"), "no id of a line"),
        (vendor_specific(3561, (1, b"c1"))[:-1] + b"\x09", "circuit id c\t".replace("c\t", "0x6309")),
        (engine.attribute(26, b"\x00\x00\x0d\xe9\x01\x09c1"), "no id of a line"),
        (engine.attribute(26, b"\x00\x00"), "no id of a line"),
        (vendor_specific(6527, (102, b"\x52\x20\x01\x04")), "no id of a line"),
        (vendor_specific(6527, (102, b"\x52\x04\x01\x09ab")), "no id of a line"),
    ],
)
def test_every_form_in_which_a_nas_tells_of_its_line(attributes: bytes, told: str) -> None:
    assert str(of(attributes)) == told


@given(st.lists(st.tuples(st.sampled_from((9, 311, 2011, 2352, 3561, 4874, 6527)), st.binary(max_size=60)), max_size=6), st.binary(max_size=20))
def test_whatever_is_sent_is_read_without_complaint(values: list[tuple[int, bytes]], calling: bytes) -> None:
    attributes = engine.attribute(1, calling) + engine.attribute(31, calling)
    attributes += b"".join(engine.attribute(26, vendor.to_bytes(4, "big") + value) for vendor, value in values)
    packet = radius.parse(engine.packet(1, 1, bytes(16), attributes))
    assert str(seen(packet)).isprintable()
    login = LineLogin(("mac", "circuit_id"), ("same", "secret", "none"), None)
    assert all(key.isprintable() for key in login.identities(packet))
    login.password_ok(packet, radius.SharedSecret(b"secret"))


# -- binding ------------------------------------------------------------------------------------------------------------


async def test_another_line_is_rejected_with_what_was_expected_and_seen(bras: TestNas) -> None:
    world = bras.world
    await change(world, line_mode="enforce", lines=(NewLine(circuit_id=CIRCUIT), NewLine(nas=bras.address, nas_port_id="ether3", mac="0011.22aa.bbcc")))
    assert await code(bras, ADSL_Agent_Circuit_Id=CIRCUIT.encode()) == pyrad.AccessAccept
    assert await code(bras, Agent_Circuit_Id=CIRCUIT.encode()) == pyrad.AccessAccept
    assert await code(bras, Cisco_AVPair=f"circuit-id-tag={CIRCUIT}") == pyrad.AccessAccept
    assert await code(bras, NAS_Port_Id="Ether3", Calling_Station_Id="00-11-22-AA-BB-CC") == pyrad.AccessAccept
    assert await code(bras, NAS_Port_Id="ether3", Calling_Station_Id="00-11-22-AA-BB-CD") == pyrad.AccessReject, "all of a line must be so"
    assert await code(bras) == pyrad.AccessReject
    assert await code(bras, ADSL_Agent_Circuit_Id=b"olt1 eth 0/1/4:100.7") == pyrad.AccessReject
    expected = f"expected circuit id {CIRCUIT} or NAS-Port-Id ether3, MAC {MAC} with NAS 127.0.0.2; seen circuit id olt1 eth 0/1/4:100.7 on NAS 127.0.0.2"
    await recorded(world, "Access-Reject wrong_line", expected)
    async with nas_at(world, "127.0.0.3", name="another") as elsewhere:
        assert await code(elsewhere, NAS_Port_Id="ether3", Calling_Station_Id=MAC) == pyrad.AccessReject
        assert await code(elsewhere, ADSL_Agent_Circuit_Id=CIRCUIT.encode()) == pyrad.AccessAccept
        await recorded(world, "Access-Accept ok None")
        assert await code(bras, ADSL_Agent_Circuit_Id=b"olt2") == pyrad.AccessReject
        await recorded(world, "seen circuit id olt2")
    told = await explain.explain(world.db, ACTOR, "alice", world.running.probe)
    assert told.detail == f"provided that it comes from circuit id {CIRCUIT} or NAS-Port-Id ether3, MAC {MAC} with NAS 127.0.0.2"
    assert "was rejected: wrong_line (expected circuit id" in told.summary
    record = next(each for each in world.running.server.directory.nas.values() if each.name == "127.0.0.2")
    assert (record.line_mismatches, record.rejects["wrong_line"]) == (4, 4)
    with pytest.raises(Exception, match="is named by 1 line"):
        await nas.delete(world.db, ACTOR, record.id)


async def test_another_line_is_let_in_and_recorded_where_it_is_only_watched(bras: TestNas) -> None:
    world = bras.world
    await change(world, line_mode="log", lines=(NewLine(remote_id="0x0001"),))
    assert await code(bras, Agent_Remote_Id=b"\x00\x01") == pyrad.AccessAccept
    await recorded(world, "Access-Accept ok None")
    assert await code(bras, Agent_Remote_Id=b"\x00\x02") == pyrad.AccessAccept
    await recorded(world, "Access-Accept ok another line: expected remote id 0x0001; seen remote id 0x0002 on NAS 127.0.0.2")
    (record,) = world.running.server.directory.nas.values()
    assert record.line_mismatches == 1
    await change(world, lines=())
    assert await code(bras, Agent_Remote_Id=b"\x00\x02") == pyrad.AccessAccept
    assert record.line_mismatches == 1, "without a line there is nothing to compare with"
    await change(world, line_mode="ignore", lines=(NewLine(remote_id="0x0001"),))
    assert await code(bras, Agent_Remote_Id=b"\x00\x02") == pyrad.AccessAccept
    assert record.line_mismatches == 1


async def test_the_first_log_in_binds_its_line_at_once_and_for_good(bras: TestNas) -> None:
    world = bras.world
    await change(world, line_mode="enforce", line_learn=True)
    assert await code(bras, password="wrong", Agent_Circuit_Id=b"c9") == pyrad.AccessReject, "who fails teaches nothing"
    assert await code(bras) == pyrad.AccessAccept, "a request that tells nothing binds nothing"
    assert await code(bras, Agent_Circuit_Id=b"c1", Agent_Remote_Id=b"r1") == pyrad.AccessAccept
    assert await code(bras, Agent_Circuit_Id=b"c2", Agent_Remote_Id=b"r1") == pyrad.AccessReject, "before it is written"

    async def kept() -> Any:
        return (await subscribers.by_username(world.db, ACTOR, "alice")).lines

    (line,) = await eventually(kept)
    assert (line.nas, line.circuit_id, line.remote_id, line.learned_at is not None) == (None, "c1", "r1", True)
    rows = (await audit.page(world.db, ACTOR, audit.AuditQuery(limit=10, object_type="subscriber"))).items
    assert (rows[0].action, rows[0].actor) == ("subscriber.learn_line", "netd")
    assert await world.running.feed.settle()
    assert await code(bras, Agent_Circuit_Id=b"c2", Agent_Remote_Id=b"r1") == pyrad.AccessReject
    await change(world, lines=())
    assert await code(bras, NAS_Port_Id="ether7", Calling_Station_Id=MAC) == pyrad.AccessAccept, "taken away: the next one binds"
    (line,) = await eventually(kept)
    assert (line.nas, line.nas_port_id, line.mac) == ("127.0.0.2", "ether7", None)
    (record,) = world.running.server.directory.nas.values()
    await nas.delete(world.db, ACTOR, record.id)
    assert await kept() == (), "what was learned on a NAS goes with it"


# -- VLAN ---------------------------------------------------------------------------------------------------------------


async def test_a_vlan_is_assigned_and_another_one_is_a_new_login(bras: TestNas) -> None:
    world = bras.world
    await change_plan(world, vlan="100")
    answer = await bras.online()
    # RFC 2868 3.1, 3.2, 3.6: tag 0, type VLAN (13), medium IEEE 802 (6), the VLAN as text
    assert (answer["Tunnel-Type"], answer["Tunnel-Medium-Type"], answer["Tunnel-Private-Group-Id"]) == ([13], [6], [b"100"])
    await change_plan(world, vlan="200")
    await eventually(lambda: bras.told)
    assert bras.told[0].code == pyrad.DisconnectRequest
    assert await bras.account("Stop")
    bras.told.clear()
    await change(world, vlan="guests")
    answer = await bras.online("s2")
    assert (answer["Tunnel-Type"], answer["Tunnel-Medium-Type"], answer["Tunnel-Private-Group-Id"]) == ([13], [6], [b"guests"]), "in place of the plan's"
    await change(world, vlan="300")
    await eventually(lambda: bras.told)
    assert bras.told[0].code == pyrad.DisconnectRequest
    await change(world, vlan=None)
    await change_plan(world, vlan=None)
    answer = await bras.login()
    assert answer is not None
    assert "Tunnel-Type" not in answer


# -- devices without a user name ----------------------------------------------------------------------------------------


async def allow(world: World, *by: str, accept: tuple[str, ...] = ("same",), fixed: str | None = None) -> None:
    (record,) = world.running.server.directory.nas.values()
    patch = nas.NasPatch(line_login=by, line_login_passwords=accept, line_login_password=fixed)  # type: ignore[arg-type]
    await nas.update(world.db, ACTOR, world.running.keyring, record.id, patch, world.running.vendors)
    assert await world.running.feed.settle()


NOTATIONS = ("001122aabbcc", "00-11-22-AA-BB-CC", "00:11:22:aa:bb:cc", "0011.22aa.bbcc", "0011-22aa-bbcc", "001122AABBCC@ipoe")


async def test_a_device_logs_in_by_its_mac_address_where_it_may(bras: TestNas) -> None:
    world = bras.world
    await change(world, password=None, mac_addresses=("00-11-22-AA-BB-CC", "0011.2233.4455"))
    for name in NOTATIONS:
        assert await code(bras, name, name) == pyrad.AccessReject, "off unless the operator says so: a MAC address is no secret"
    await allow(world, "mac")
    world.running.server.access.failures = type(world.running.server.access.failures)()
    for name in NOTATIONS:
        assert await code(bras, name, name) == pyrad.AccessAccept, name
    assert await code(bras, "1:0:11:22:33:44:55", "00:11:22:33:44:55", Service_Type=10) == pyrad.AccessAccept, "another notation in the password"
    assert await code(bras, "001122aabbcc", "") == pyrad.AccessReject, "no password does not count here"
    assert await code(bras, "001122aabbcc", "another") == pyrad.AccessReject
    assert await code(bras, "001122aabbcd", "001122aabbcd") == pyrad.AccessReject, "nobody's"
    assert await code(bras, "001122aabbcc", "001122aabbcc", Calling_Station_Id="00-11-22-33-44-66") == pyrad.AccessReject, "typed by another device"
    assert await code(bras, "001122aabbcc", "001122aabbcc", Framed_Protocol=1) == pyrad.AccessReject, "in PPP anybody types it"
    answer = await bras.online("s1", "00:11:22:aa:bb:cc", "00:11:22:aa:bb:cc", Calling_Station_Id="1:0:11:22:aa:bb:cc")
    assert answer["Mikrotik-Rate-Limit"] == ["20M/100M"]
    (session,) = await world.sessions()
    alice = await subscribers.by_username(world.db, ACTOR, "alice")
    assert (session.username, session.subscriber_id) == ("00:11:22:aa:bb:cc", alice.id)
    await recorded(world, "Access-Accept ok")
    assert (await newest(world)).username == "00:11:22:aa:bb:cc"
    for text in ("alice", "0011.22AA.BBCC"):
        told = await explain.explain(world.db, ACTOR, text, world.running.probe)
        assert (told.username, told.accept, told.detail) == ("alice", True, "no password is set: only by its devices, through a NAS with line_login")
    await world.suspend()
    await eventually(lambda: bras.told)
    assert bras.told[0]["User-Name"] == ["00:11:22:aa:bb:cc"]
    assert await code(bras, NOTATIONS[0], NOTATIONS[0]) == pyrad.AccessReject
    await recorded(world, "Access-Reject suspended")


async def test_each_form_of_password_counts_only_where_it_is_named(bras: TestNas) -> None:
    world = bras.world
    await change(world, password=None, mac_addresses=(MAC,))
    texts = {"same": "001122aabbcc", "secret": SECRET.decode(), "fixed": "ipoe", "none": ""}
    for form in texts:
        await allow(world, "mac", accept=(form,), fixed="ipoe")
        for other, text in texts.items():
            world.running.server.access.failures = type(world.running.server.access.failures)()
            assert (await code(bras, "001122aabbcc", text) == pyrad.AccessAccept) == (form == other), (form, other)
    packet = bras.request("001122aabbcc", "")
    del packet["User-Password"]
    packet.add_message_authenticator()
    raw = await bras.ask(packet.RequestPacket(), world.running.auth_port)
    assert raw is not None
    assert raw[0] == pyrad.AccessAccept, "none: without the attribute, too"
    packet = bras.request("001122aabbcc", "")
    del packet["User-Password"]
    packet["MS-CHAP-Challenge"] = bytes(16)
    packet.add_message_authenticator()
    raw = await bras.ask(packet.RequestPacket(), world.running.auth_port)
    assert raw is not None
    assert raw[0] == pyrad.AccessReject, "a proof that is not understood is not no password"
    await allow(world, "mac", accept=("fixed",), fixed="ipoe")
    for password, expected in ((b"ipoe", pyrad.AccessAccept), (b"other", pyrad.AccessReject)):
        packet = bras.request("001122aabbcc", "-")
        del packet["User-Password"]
        packet["CHAP-Challenge"] = b"0123456789abcdef"
        packet["CHAP-Password"] = b"\x07" + hashlib.md5(b"\x07" + password + b"0123456789abcdef").digest()
        packet.add_message_authenticator()
        raw = await bras.ask(packet.RequestPacket(), world.running.auth_port)
        assert raw is not None
        assert raw[0] == expected, "RouterOS's hotspot speaks CHAP"


async def test_who_guesses_with_a_devices_address_does_not_lock_it_out(bras: TestNas) -> None:
    world = bras.world
    await change(world, password=None, mac_addresses=(MAC,))
    await allow(world, "mac")
    assert await code(bras, MAC, MAC, Calling_Station_Id=MAC) == pyrad.AccessAccept
    for _ in range(11):
        assert await code(bras, MAC, "guessed") == pyrad.AccessReject
    assert await code(bras, MAC, MAC) == pyrad.AccessReject, "another line is refused unseen"
    await recorded(world, "Access-Reject rate_limited")
    assert await code(bras, MAC, MAC, Calling_Station_Id=MAC) == pyrad.AccessAccept


async def test_a_line_logs_in_by_its_circuit_id(bras: TestNas) -> None:
    world = bras.world
    await change(world, password=None, circuit_ids=("0x000400640001", CIRCUIT))
    await allow(world, "circuit_id", accept=("none",))
    assert await code(bras, "aa:bb:cc:00:00:01", "", Agent_Circuit_Id=bytes.fromhex("000400640001")) == pyrad.AccessAccept
    assert await code(bras, "whoever", "", ADSL_Agent_Circuit_Id=CIRCUIT.encode()) == pyrad.AccessAccept
    assert await code(bras, CIRCUIT, "") == pyrad.AccessReject, "typed, not put in by the access node"
    assert await code(bras, "whoever", "", ADSL_Agent_Circuit_Id=b"another") == pyrad.AccessReject
    assert await code(bras, "alice", "") == pyrad.AccessReject


async def test_all_of_it_is_there_again_after_a_restart(dsn: str, tmp_path: Path) -> None:
    async with world(dsn, tmp_path) as first:
        await first.add_plan(access_hours="Al", vlan="100")
        terms: dict[str, Any] = {"line_mode": "enforce", "lines": (NewLine(circuit_id=CIRCUIT),), "mac_addresses": (MAC,), "access_hours": "Al"}
        await first.add_subscriber(password=None, **terms)
        await first.add_nas("127.0.0.2", line_login=("mac",), line_login_passwords=("fixed",), line_login_password="ipoe")
    async with world(dsn, tmp_path) as second:
        device = TestNas(second, "127.0.0.2")
        assert await code(device, MAC, "ipoe", Agent_Circuit_Id=CIRCUIT.encode()) == pyrad.AccessAccept
        assert await code(device, MAC, "ipoe", Agent_Circuit_Id=b"another") == pyrad.AccessReject
        (alice,) = second.running.server.directory.subscribers.values()
        assert alice.terms is not None
        assert alice.terms.hours is not None
        assert alice.terms.hours.at(0.0) == (True, None)


async def test_a_subscriber_whose_name_is_its_mac_address(bras: TestNas) -> None:
    world = bras.world
    await world.add_subscriber("001122aabbcc", None, mac_addresses=(MAC,))
    assert await code(bras, "001122aabbcc", "001122aabbcc") == pyrad.AccessReject
    await allow(world, "mac")
    assert await code(bras, "001122aabbcc", "001122aabbcc") == pyrad.AccessAccept
    assert await code(bras, "001122aabbcc", "guessed") == pyrad.AccessReject
    assert await code(bras, "alice", "wonderland") == pyrad.AccessAccept
    assert await code(bras, "alice", "alice") == pyrad.AccessReject


async def test_an_accounting_packet_without_class_is_of_the_device_it_names(bras: TestNas) -> None:
    world = bras.world
    await change(world, mac_addresses=(MAC,))
    await allow(world, "mac")
    assert await bras.account("Start", username="0011.22AA.BBCC")
    (session,) = await world.sessions()
    assert session.subscriber_id == (await subscribers.by_username(world.db, ACTOR, "alice")).id


# -- committed rates ----------------------------------------------------------------------------------------------------


async def test_contention_and_burst_are_granted_and_changed_live(bras: TestNas) -> None:
    world = bras.world
    await change_plan(world, contention_ratio=20, burst_down_bps=200_000_000, burst_seconds=8)
    answer = await bras.online()
    assert answer["Mikrotik-Rate-Limit"] == ["20M/100M 0/200M 0/100M 0/8 8 1M/5M"]
    await change_plan(world, contention_ratio=None, committed_down_bps=10_000_000, committed_up_bps=2_500_000)
    await eventually(lambda: bras.told)
    assert bras.told[0].code == pyrad.CoARequest
    assert bras.told[0]["Mikrotik-Rate-Limit"] == ["20M/100M 0/200M 0/100M 0/8 8 2500k/10M"]


async def test_committed_and_peak_rate_go_to_a_huawei(daemon: World) -> None:
    await daemon.add_plan(contention_ratio=4)
    await daemon.add_subscriber()
    async with nas_at(daemon, "127.0.0.2", "huawei") as device:
        answer = await device.online()
        told = [answer[f"Huawei-{way}-Rate"][0] for way in ("Input-Average", "Input-Peak", "Output-Average", "Output-Peak")]
        assert told == [5_000_000, 20_000_000, 25_000_000, 100_000_000]
        plan = await plans.by_name(daemon.db, ACTOR, "home")
        await plans.update(daemon.db, ACTOR, plan.id, plans.PlanPatch(contention_ratio=None))
        await eventually(lambda: device.told)
        assert device.told[0].code == pyrad.CoARequest
        assert device.told[0]["Huawei-Output-Average-Rate"] == [100_000_000]


async def test_name_servers_of_a_plan_are_granted_and_their_service_is_kept(bras: TestNas) -> None:
    world = bras.world
    await change_plan(world, dns=("192.0.2.1", "2001:db8::1"))
    answer = await bras.login()
    assert answer is not None
    assert answer.code == pyrad.AccessAccept

    async def kept() -> bool:
        async with world.db.acquire() as conn:
            found = await policies.load(conn)
        return any(service.dns == (ip_address("192.0.2.1"), ip_address("2001:db8::1")) for service in found.values())

    await eventually(kept)


async def test_a_plain_subscriber_is_asked_nothing_of_all_this(monkeypatch: pytest.MonkeyPatch) -> None:
    """What few have must not be looked at for everybody: the hot path ends before it."""

    def asked(*_: object) -> None:
        raise AssertionError("a plain subscriber pays for what others have")

    with engine.engine("127.0.0.1") as running, engine.Peer("127.0.1.1") as peer:
        running.nas("127.0.1.1")
        assert await peer.ask(engine.access_request(), running.auth_port) is not None
        for name in ("seen", "hours_of", "_ends_at"):
            monkeypatch.setattr(f"netd.radius.access.{name}", asked)
        answer = await peer.ask(engine.access_request(identifier=2), running.auth_port)
        assert answer is not None
        assert answer[0] == pyrad.AccessAccept
        (alice,) = running.directory.subscribers.values()
        assert (alice.simple, alice.own_body, alice.terms) == (True, False, None)


def test_an_upgrade_changes_the_fingerprint_of_no_service_that_uses_nothing_new() -> None:
    """As the first release has it: another one would send a CoA to every live session."""
    plain = Service(down_bps=100_000_000, up_bps=20_000_000)
    assert Grant("mikrotik", plain, b"").fingerprint == "cb09a3e6"
    assert Grant("mikrotik", Service(down_bps=100_000_000, up_bps=20_000_000, vlan="1"), b"").fingerprint != "cb09a3e6"
