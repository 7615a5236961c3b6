"""The main job as its users see it: radclient, an operator's commands, and a NAS that is told to disconnect."""

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.request import urlopen

import pytest
from pyrad import packet as pyrad

from tests.e2e import mschap
from tests.e2e.daemon import Daemon, eventually, furnish
from tests.e2e.device import NAMES, Say, ack, device, nak, silence
from tests.e2e.radclient import Reply, radclient
from tests.e2e.test_faults import resume

Ask = Callable[..., Reply]
SIGNED = "Message-Authenticator = 0x00"


@pytest.fixture
def ask(lab: Daemon, radclient_program: str) -> Ask:
    """``ask("auth" | "acct" | "status", attributes, port="auth" | "acct")``"""
    return asker(lab, radclient_program)


def asker(running: Daemon, program: str) -> Ask:
    def send(command: str, attributes: str, port: str | None = None) -> Reply:
        number = running.acct_port if (port or command) == "acct" else running.auth_port
        reply = radclient(program, number, command, attributes)
        if command == "acct":
            running.caught_up()  # where the database was slow it is acknowledged from the journal
        return reply

    return send


def accepted(reply: Reply) -> None:
    assert reply.name == "Access-Accept", reply.printed
    assert reply.one("Mikrotik-Rate-Limit") == "20M/100M"
    assert reply.one("Acct-Interim-Interval") == "300"
    assert reply.attributes[0][0] == "Message-Authenticator"
    assert len(reply.all("Class")) == 1


@pytest.mark.parametrize("password", ["User-Password", "CHAP-Password", "MS-CHAP-Password"])
def test_an_accept_carries_the_plan_and_a_wrong_password_is_rejected(ask: Ask, password: str) -> None:
    accepted(ask("auth", f'User-Name = "alice", {password} = "wonderland", {SIGNED}'))
    reply = ask("auth", f'User-Name = "alice", {password} = "looking-glass", {SIGNED}')
    assert reply.name == "Access-Reject", reply.printed
    assert reply.attributes[0][0] == "Message-Authenticator"
    assert reply.all("Mikrotik-Rate-Limit") == []


def test_ms_chap_v1_keys_are_those_of_the_password(ask: Ask, smbencrypt_program: str | None) -> None:
    reply = ask("auth", f'User-Name = "alice", MS-CHAP-Password = "wonderland", {SIGNED}')
    keys = bytes.fromhex(reply.one("MS-CHAP-MPPE-Keys").removeprefix("0x"))
    nt_key = mschap.md4(mschap.nt_hash("wonderland"))
    assert keys[8:24] == nt_key, "RFC 2548 2.4.1: LM key, then the hash of the NT hash"
    if smbencrypt_program is not None:
        printed = subprocess.run([smbencrypt_program, "wonderland"], capture_output=True, text=True, check=True).stdout
        assert mschap.nt_hash("wonderland").hex().upper() in printed, "our client's MD4 is FreeRADIUS's"


def microsoft(kind: int, value: bytes) -> bytes:
    return b"\x00\x00\x01\x37" + bytes((kind, len(value) + 2)) + value


def ms_chap_v2(lab: Daemon, password: str, secret: bytes = b"testing123") -> tuple[pyrad.Packet, pyrad.Packet, bytes, bytes, bytes]:
    """Log in with MS-CHAPv2 (RFC 2548 2.3); radclient cannot."""
    request = pyrad.AuthPacket(code=pyrad.AccessRequest, secret=secret, dict=NAMES, authenticator=os.urandom(16))
    challenge, peer_challenge = os.urandom(16), os.urandom(16)
    response = mschap.nt_response(challenge, peer_challenge, "alice", password)
    request["User-Name"] = "alice"
    request[26] = [microsoft(11, challenge), microsoft(25, b"\x05\x00" + peer_challenge + bytes(8) + response)]
    request.add_message_authenticator()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(30)
        sock.sendto(request.RequestPacket(), ("127.0.0.1", lab.auth_port))
        raw = sock.recv(4096)
    answer = request.CreateReply(packet=raw)
    assert request.VerifyReply(answer, raw)
    assert answer.verify_message_authenticator(secret=secret, original_authenticator=request.authenticator)
    return request, answer, challenge, peer_challenge, response


def microsoft_attributes(answer: pyrad.Packet) -> dict[int, bytes]:
    return {kind: values[0] for (vendor, kind), values in ((key, value) for key, value in answer.items() if isinstance(key, tuple)) if vendor == 311}


def test_ms_chap_v2_proves_that_the_server_knows_the_password_too(lab: Daemon) -> None:
    request, answer, challenge, peer_challenge, response = ms_chap_v2(lab, "wonderland")
    assert answer.code == pyrad.AccessAccept
    assert answer["Mikrotik-Rate-Limit"] == ["20M/100M"]
    found = microsoft_attributes(answer)
    proof = mschap.authenticator_response(challenge, peer_challenge, "alice", "wonderland", response)
    assert found[26] == b"\x05" + proof.encode()
    wanted = mschap.session_keys("wonderland", response)
    sealed = (found[16], found[17])
    assert len({cipher[:2] for cipher in sealed}) == 2, "each key has a salt of its own"
    assert all(cipher[0] & 0x80 for cipher in sealed)
    for cipher, key in zip(sealed, wanted, strict=True):
        reader = pyrad.Packet(secret=b"testing123", dict=NAMES, authenticator=request.authenticator)
        assert reader.SaltDecrypt(cipher) == key


def test_ms_chap_v2_with_a_wrong_password(lab: Daemon) -> None:
    _, answer, _, _, _ = ms_chap_v2(lab, "looking-glass")
    assert answer.code == pyrad.AccessReject
    found = microsoft_attributes(answer)
    assert found[2].startswith(b"\x05E=691 R=")
    assert not {16, 17, 26} & set(found)


def test_status_server_on_both_ports(ask: Ask) -> None:
    assert ask("status", SIGNED).name == "Access-Accept"
    assert ask("status", SIGNED, "acct").name == "Accounting-Response"


def test_what_is_not_signed_is_not_answered(lab: Daemon, radclient_program: str) -> None:
    reply = radclient(radclient_program, lab.auth_port, "auth", 'User-Name = "alice", User-Password = "wonderland"', seconds=0.5)
    assert reply.name == "", "Debian's radclient signs only when told to"
    other = radclient(radclient_program, lab.auth_port, "auth", f'User-Name = "alice", {SIGNED}', secret="guessed", seconds=0.5)
    assert other.name == ""

    def counted() -> bool:
        with urlopen(f"{lab.url}/metrics") as answer:
            metrics = answer.read().decode()
        found = re.findall(r'^netd_radius_drops_total\{.*nas="lab".*reason="(\w+)".*\} ([0-9.]+)$', metrics, re.MULTILINE)
        return sorted(found) == [("message_authenticator_missing", "1.0"), ("message_authenticator_wrong", "1.0")]

    eventually(counted)


def online(ask: Ask, session: str, address: str) -> None:
    attributes = f'User-Name = "alice", Acct-Session-Id = "{session}", Acct-Status-Type = Start, Packet-Src-IP-Address = {address}'
    assert ask("acct", attributes).name == "Accounting-Response"


def the_session(lab: Daemon, acct_session_id: str) -> dict[str, Any]:
    (found,) = (session for session in lab.json("session", "list")["items"] if session["acct_session_id"] == acct_session_id)
    session: dict[str, Any] = found
    return session


def test_a_session_is_listed_between_start_and_stop(lab: Daemon, ask: Ask) -> None:
    class_ = ask("auth", f'User-Name = "alice", User-Password = "wonderland", {SIGNED}').one("Class")
    common = f'User-Name = "alice", Acct-Session-Id = "0001", Framed-IP-Address = 100.64.0.9, NAS-Port-Id = "ether1", Class = {class_}'
    assert lab.json("session", "list", "--ip", "100.64.0.9")["items"] == []
    assert ask("acct", f"{common}, Acct-Status-Type = Start").name == "Accounting-Response"
    session = the_session(lab, "0001")
    assert (session["username"], session["framed_ip_address"], session["nas"]) == ("alice", "100.64.0.9", "lab")
    assert "100.64.0.9" in lab.netd("session", "list")
    octets = "Acct-Session-Time = 300, Acct-Input-Octets = 7, Acct-Output-Octets = 9, Acct-Output-Gigawords = 2"
    assert ask("acct", f"{common}, Acct-Status-Type = Interim-Update, {octets}").name == "Accounting-Response"
    session = the_session(lab, "0001")
    assert (session["up_octets"], session["down_octets"], session["session_seconds"]) == (7, 2 * 2**32 + 9, 300)
    stop = f"{common}, Acct-Status-Type = Stop, {octets.replace('300', '310')}, Acct-Terminate-Cause = User-Request"
    assert ask("acct", stop).name == "Accounting-Response"
    assert lab.json("session", "list", "--ip", "100.64.0.9")["items"] == []
    (closed,) = lab.json("session", "list", "--state", "closed", "--ip", "100.64.0.9")["items"]
    assert (closed["id"], closed["session_seconds"], closed["terminate_cause"], closed["closed_by"]) == (session["id"], 310, "User-Request", "stop")


def test_a_nas_and_a_subscriber_work_at_their_next_packet(lab: Daemon, ask: Ask, radclient_program: str) -> None:
    attributes = f'User-Name = "bob", User-Password = "builder", Packet-Src-IP-Address = 127.0.7.7, {SIGNED}'
    assert ask("auth", attributes).name == "Access-Reject"
    lab.netd("subscriber", "add", "bob", "--password", "-", "--plan", "home", typed="builder")
    lab.netd("nas", "add", "huawei", "--address", "127.0.7.7", "--secret", "-", "--vendor", "huawei", typed="its own")
    reply = radclient(radclient_program, lab.auth_port, "auth", attributes, secret="its own")
    assert reply.name == "Access-Accept", reply.printed
    assert (reply.one("Huawei-Output-Average-Rate"), reply.one("Huawei-Input-Average-Rate")) == ("100000000", "20000000")


DISCONNECTS: dict[str, tuple[Say, int, str, str, bool]] = {
    # what the NAS does: exit code, outcome, what is printed, whether the session is closed here
    "ack": (ack, 0, "ack", "the NAS acknowledged (1 attempt", False),
    "nak": (nak(506), 1, "nak", "the NAS refused: Resources Unavailable (1 attempt", False),
    "silence": (silence, 1, "timeout", "the NAS did not answer (2 attempts", False),
    "unknown": (nak(503), 1, "nak", "the NAS refused: Session Context Not Found (1 attempt", True),
}


def test_who_was_told_of_a_subscriber_can_let_it_log_in_at_once(lab: Daemon) -> None:
    """The very next packet after the API's answer; in a program, not a person's time later."""
    codes = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(30)
        sock.connect(("127.0.0.1", lab.auth_port))
        for number in range(20):
            packet = pyrad.AuthPacket(code=pyrad.AccessRequest, secret=b"testing123", dict=NAMES, id=number, authenticator=os.urandom(16))
            packet["User-Name"] = f"prompt{number}"
            packet["User-Password"] = packet.PwCrypt("at once")
            packet.add_message_authenticator()
            data = packet.RequestPacket()
            lab.make("subscribers", username=f"prompt{number}", password="at once", plan="home")
            sock.send(data)
            codes.append(sock.recv(4096)[0])
    assert codes == [pyrad.AccessAccept] * 20


def test_who_was_told_of_a_subscriber_can_let_it_log_in_at_once_where_changes_are_read_late(lab: Daemon, ask: Ask) -> None:
    """The connections on which the daemon reads them stand still for longer than they ever take on an idle machine."""
    readers = [pid for (pid,) in lab.sql("select pid from pg_stat_activity where query like $1", "%pg_snapshot_xmin%")]
    assert readers
    later = threading.Timer(2.0, resume, [readers])
    for pid in readers:
        os.kill(pid, signal.SIGSTOP)
    try:
        later.start()
        lab.make("subscribers", username="dora", password="explorer", plan="home")
        assert ask("auth", f'User-Name = "dora", User-Password = "explorer", {SIGNED}').name == "Access-Accept"
    finally:
        later.cancel()
        resume(readers)


@pytest.mark.parametrize("case", [case for case in DISCONNECTS if case != "silence"])
def test_what_a_nas_says_to_a_disconnect_is_told_as_it_is(lab: Daemon, ask: Ask, case: str) -> None:
    disconnect(lab, ask, case)


def test_that_a_nas_says_nothing_to_a_disconnect_is_told(fresh: Daemon, radclient_program: str) -> None:
    """By a daemon that waits as short as the others need not."""
    fresh.start()
    furnish(fresh)
    disconnect(fresh, asker(fresh, radclient_program), "silence")
    assert fresh.stop() == 0


def disconnect(lab: Daemon, ask: Ask, case: str) -> None:
    """Two sessions at a NAS of this kind are to end: one is told of in words, one in JSON."""
    say, code, outcome, sentence, closed = DISCONNECTS[case]
    address = f"127.0.8.{list(DISCONNECTS).index(case) + 1}"
    with device(address, say=say) as nas:
        lab.make("radius/nas", name=case, address=address, secret="testing123", vendor="mikrotik", coa_port=nas.port)
        for session in (f"{case}-1", f"{case}-2"):
            online(ask, session, address)
        answer = lab.command("session", "disconnect", str(the_session(lab, f"{case}-1")["id"]))
        assert (answer.returncode, answer.stderr) == (code, "")
        assert sentence in answer.stdout
        answer = lab.command("session", "disconnect", "--json", str(the_session(lab, f"{case}-2")["id"]))
        assert answer.returncode == code
        assert f'"{outcome}"' in answer.stdout
        assert nas.forged == 0
        assert {request.code for request in nas.told} == {pyrad.DisconnectRequest}
        eventually(lambda: len(nas.told) >= (4 if outcome == "timeout" else 2))
        orders = {request.raw_packet: request["User-Name"] for request in nas.told}
        assert list(orders.values()) == [["alice"]] * 2
        assert len(nas.told) == (4 if outcome == "timeout" else 2), "without an answer each is tried twice, in the same octets"
        left = {session["acct_session_id"] for session in lab.json("session", "list", "--nas", case)["items"]}
        assert left == (set() if closed else {f"{case}-1", f"{case}-2"}), "an acknowledged one ends with its Stop"


def test_suspending_ends_the_live_session_within_a_second(lab: Daemon, ask: Ask) -> None:
    lab.make("subscribers", username="carol", password="singer", plan="home")
    with device("127.0.9.1") as nas:
        lab.make("radius/nas", name="bras", address=nas.address, secret="testing123", vendor="mikrotik", coa_port=nas.port)
        took = []
        for number in range(1, 6):  # on a busy machine it takes no longer now and then
            attributes = f'User-Name = "carol", Acct-Session-Id = "c{number}", Acct-Status-Type = Start, Packet-Src-IP-Address = 127.0.9.1'
            assert ask("acct", attributes).name == "Accounting-Response"
            lab.netd("subscriber", "suspend", "carol")
            begun = time.monotonic()
            wanted = [f"c{number}"]
            eventually(lambda wanted=wanted: any(order["Acct-Session-Id"] == wanted for order in nas.told))  # type: ignore[misc]
            took.append(time.monotonic() - begun)
            if took[-1] < 1.0:
                break
            assert ask("acct", attributes.replace("Start", "Stop")).name == "Accounting-Response"
            lab.netd("subscriber", "restore", "carol")
        assert min(took) < 1.0, took
        reply = ask("auth", f'User-Name = "carol", User-Password = "singer", {SIGNED}')
        assert reply.name == "Access-Reject"
        explained = lab.command("subscriber", "explain", "carol")
        assert "suspended" in explained.stdout


def test_the_service_manager_is_told(lab: Daemon) -> None:
    assert lab.manager is not None
    beats = lab.manager.count("WATCHDOG=1")
    eventually(lambda: lab.manager is not None and lab.manager.count("WATCHDOG=1") >= beats + 2)
    assert lab.manager.count("READY=1") == 1
    assert lab.manager.count("STOPPING=1") == 0
