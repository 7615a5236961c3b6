"""SNMP against net-snmp's agent, and against agents that do everything wrong."""

import asyncio
import contextlib
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netd.config import Secret
from netd.device.agent import AgentSocket, ErrorStatus, _error_status
from netd.device.snmp import SYS_OBJECT_ID, SYS_UP_TIME, Snmp, SnmpLimits, SnmpTransport, fitting
from netd.errors import PeerError, PeerUnreachable
from netd.model.target import SnmpCommunity, SnmpUser
from netd.sdk.device import Oid, SnmpGroup
from tests.clock import Standing, standing
from tests.device.agent import GEN_ERR, GET, GETBULK, NO_SUCH_NAME, NULL, RESPONSE, TOO_BIG, Agent, Request, Response, integer, octets, table, tlv
from tests.device.conftest import running, target
from tests.ports import free_port

SYSTEM: Oid = (1, 3, 6, 1, 2, 1, 1)
ORS: Oid = (1, 3, 6, 1, 2, 1, 1, 9, 1)  # sysOREntry
IP_ADDRESSES: Oid = (1, 3, 6, 1, 2, 1, 4, 20, 1, 1)
ROWS: Oid = (1, 3, 6, 1, 4, 1, 99999, 1)
COMMUNITY = SnmpCommunity(version="2c", community=Secret("c0mmunity"))
PATIENT = SnmpLimits(attempts=2, timeout_seconds=60, walk_seconds=120)
"""A busy machine repeats no question, so that they can be counted."""

QUICK = SnmpLimits(attempts=2, timeout_seconds=0.3, walk_seconds=30)
"""Where an answer is not to come: with a clock that stands still, for a busy machine must not be taken for it."""


AUTH, PRIV = Secret("authsecret"), Secret("privsecret")
USERS = {
    "md5des": SnmpUser(username="md5des", auth_protocol="md5", auth_key=AUTH, priv_protocol="des", priv_key=PRIV),
    "shaaes": SnmpUser(username="shaaes", auth_protocol="sha", auth_key=AUTH, priv_protocol="aes128", priv_key=PRIV),
    "sha256aes": SnmpUser(username="sha256aes", auth_protocol="sha256", auth_key=AUTH, priv_protocol="aes128", priv_key=PRIV),
    "sha512aes256": SnmpUser(username="sha512aes256", auth_protocol="sha512", auth_key=AUTH, priv_protocol="aes256", priv_key=PRIV),
    "shaonly": SnmpUser(username="shaonly", auth_protocol="sha", auth_key=Secret("authsecret")),
    "noauth": SnmpUser(username="noauth"),
}  # fmt: skip


@pytest.fixture(scope="session")
def snmpd(require_peer: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an agent that knows the community ``c0mmunity`` and all USERS."""
    folder = tmp_path_factory.mktemp("snmpd")
    port = free_port()
    with _snmpd(require_peer("/usr/sbin/snmpd"), folder, port):
        yield port


@contextlib.contextmanager
def _snmpd(program: str, folder: Path, port: int, *lines: str) -> Iterator[None]:
    (folder / "snmpd.conf").write_text(
        "\n".join(lines)
        + f"""
agentaddress udp:127.0.0.1:{port}
rocommunity c0mmunity 127.0.0.1
sysName lab
createUser md5des MD5 authsecret DES privsecret
createUser shaaes SHA authsecret AES privsecret
createUser sha256aes SHA-256 authsecret AES privsecret
createUser sha512aes256 SHA-512 authsecret AES-256 privsecret
createUser shaonly SHA authsecret
createUser noauth
rouser md5des priv
rouser shaaes priv
rouser sha256aes priv
rouser sha512aes256 priv
rouser shaonly auth
rouser noauth noauth
"""
    )
    environment = {"SNMP_PERSISTENT_DIR": str(folder / "kept"), "MIBS": "", "PATH": "/usr/bin:/bin"}
    with running((program, "-f", "-Ln", "-C", "-c", folder / "snmpd.conf", "-I", "-smux", "-p", folder / "pid"), env=environment):
        until = time.monotonic() + 60
        while subprocess.run(_asks("snmpget", port, SYS_UP_TIME, 0.2), capture_output=True).returncode:
            assert time.monotonic() < until, "snmpd does not answer"
        yield


def _asks(program: str, port: int, oid: Oid, seconds: float = 20) -> list[str]:
    return [program, "-v2c", "-cc0mmunity", "-OnQU", "-Ox", "-Ot", "-m", "", "-t", str(seconds), f"127.0.0.1:{port}", ".".join(map(str, oid))]


@pytest.fixture
async def clock() -> AsyncIterator[Standing]:
    """How long an agent of this loop takes is what it is told to take."""
    with standing() as made:
        yield made


def _said(program: str, port: int, oid: Oid) -> dict[Oid, str]:
    text = subprocess.run(_asks(program, port, oid), capture_output=True, check=True, text=True).stdout
    pairs = (line.split(" = ", 1) for line in text.replace("\n.", "\0.").replace("\n", "").split("\0"))  # long octets are wrapped
    return {tuple(map(int, name.strip(".").split("."))): value for name, value in pairs}


def _shown(value: object, *, address: bool = False) -> str:
    """A value as ``snmpget -OnQU -Ox -Ot`` prints it."""
    match value:
        case bytes() if address:
            return ".".join(map(str, value))
        case bytes():
            return '"' + "".join(f"{octet:02X} " for octet in value) + '"'
        case tuple():
            return "." + ".".join(map(str, value))
        case _:
            return str(value)


def _device(port: int, login: Any = COMMUNITY, **more: Any) -> Any:
    return target((login, port), **more)


def _session(port: int, limits: SnmpLimits = PATIENT, **more: Any) -> Snmp:
    made = _device(port, **more)
    return SnmpTransport(limits, asyncio.get_running_loop().time).session(made, made.credentials[0])


async def test_values_are_what_snmpget_prints(snmpd: int) -> None:
    session = await SnmpTransport().connect(_device(snmpd))
    for column in (ORS, IP_ADDRESSES, (1, 3, 6, 1, 2, 1, 2, 2, 1, 2), (1, 3, 6, 1, 2, 1, 2, 2, 1, 5)):
        walked = await session.walk(column)
        said = await asyncio.to_thread(_said, "snmpbulkwalk", snmpd, column)
        assert {(*column, *index): _shown(value, address=column == IP_ADDRESSES) for index, value in walked.items()} == said and said
    wanted = [(*SYSTEM, 2, 0), (*SYSTEM, 5, 0), (*SYSTEM, 8, 0)]
    got = await session.get(wanted)
    for oid in wanted:
        assert _shown(got[oid]) == (await asyncio.to_thread(_said, "snmpget", snmpd, oid))[oid]
    assert got[(*SYSTEM, 5, 0)] == b"lab" and session.bulk == 25


@pytest.mark.parametrize("login", [SnmpCommunity(version="1", community=Secret("c0mmunity")), *USERS.values()], ids=["v1", *USERS])
async def test_versions_and_v3_pairs(snmpd: int, login: SnmpCommunity | SnmpUser) -> None:
    session = await SnmpTransport().connect(_device(snmpd, login))
    missing = (*SYSTEM, 99, 0)
    assert await session.get([SYS_OBJECT_ID, missing, (*SYSTEM, 5, 0)]) == {
        SYS_OBJECT_ID: (1, 3, 6, 1, 4, 1, 8072, 3, 2, 10), missing: None, (*SYSTEM, 5, 0): b"lab",
    }  # fmt: skip
    walked = await session.walk(ORS)
    assert len(walked) == len(await asyncio.to_thread(_said, "snmpbulkwalk", snmpd, ORS)) and await session.walk((*SYSTEM, 99)) == {}


async def test_a_profile_that_is_answered_with_nonsense_keeps_no_other_from_being_tried(snmpd: int) -> None:
    async with Agent(lambda request: Response([(request.oids[0], b"\xff\xff\xff")])) as nonsense:
        transport = SnmpTransport(PATIENT)
        session = await transport.connect(target((COMMUNITY, nonsense.port), (COMMUNITY, snmpd)))
        assert session.credential.port == snmpd
        with pytest.raises(PeerError, match="none of 2 SNMP profiles works"):
            await transport.connect(target((COMMUNITY, nonsense.port), (COMMUNITY, nonsense.port)))


async def test_credentials_are_tried_in_order(snmpd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = SnmpCommunity(version="2c", community=Secret("wrong"))
    exchange = AgentSocket._exchange

    async def exchanges(socket: AgentSocket, send: Any, receive: Any, seconds: float) -> Any:
        return await exchange(socket, send, receive, 1.0 if socket._login == wrong else seconds)  # the agent says nothing to it

    monkeypatch.setattr(AgentSocket, "_exchange", exchanges)
    transport = SnmpTransport(SnmpLimits(attempts=1, timeout_seconds=60))
    session = await transport.connect(target((wrong, snmpd), (USERS["shaaes"], snmpd), (COMMUNITY, snmpd)))
    assert session.credential.name == "c2"
    bad = SnmpUser(username="shaaes", auth_protocol="sha", auth_key=Secret("another secret"), priv_protocol="aes128", priv_key=Secret("privsecret"))
    with pytest.raises(PeerUnreachable, match="none of 2") as failure:
        await transport.connect(target((bad, snmpd), (wrong, snmpd)))
    assert failure.value.reason == "credentials" and "another secret" not in str(failure.value)
    assert transport.requests["timeout"] == 2 and transport.requests["credentials"] == 1


async def test_after_a_long_silence_the_agent_is_asked_for_its_time_anew(snmpd: int) -> None:
    session = await SnmpTransport().connect(_device(snmpd, USERS["shaaes"]))
    session._socket._asked_at -= 10_000  # as after a long silence
    assert (await session.get([SYS_UP_TIME]))[SYS_UP_TIME]


@pytest.mark.parametrize("forgets", [False, True], ids=["boots", "another engine"])
async def test_an_agent_that_restarted_is_believed_anew(require_peer: Callable[[str], str], tmp_path: Path, forgets: bool) -> None:
    """Its engine boots and time, or even its id, are others then: that must not be taken for silence or a wrong key."""
    program, port = require_peer("/usr/sbin/snmpd"), free_port()
    with _snmpd(program, tmp_path, port):
        session = await SnmpTransport(SnmpLimits(timeout_seconds=5)).connect(_device(port, USERS["shaaes"]))
    if forgets:
        shutil.rmtree(tmp_path / "kept")
    with _snmpd(program, tmp_path, port):
        assert (await session.get([(*SYSTEM, 5, 0)])) == {(*SYSTEM, 5, 0): b"lab"}


def _rows(count: int) -> list[tuple[Oid, bytes]]:
    return [((*ROWS, number), integer(number, 0x41)) for number in range(1, count + 1)]


async def _walk(answer: Callable[[Request], Response | None], limits: SnmpLimits = PATIENT) -> tuple[dict[Oid, object], Snmp, Agent]:
    async with Agent(answer) as agent:
        session = _session(agent.port, limits)
        return dict(await session.walk(ROWS)), session, agent


def _silent_above(most: int) -> Callable[[Request], Response | None]:
    return lambda request: None if request.kind == GETBULK and request.most > most else table(_rows(60))(request)


def _too_big_above(most: int) -> Callable[[Request], Response]:
    return lambda request: Response([(request.oids[0], NULL)], TOO_BIG) if request.kind == GETBULK and request.most > most else table(_rows(60))(request)


def _wide(request: Request) -> Response:
    return table([(oid, octets(b"x" * 400)) for oid, _ in _rows(60)])(request)


@pytest.mark.parametrize(
    ("answer", "limits"), [(_silent_above(7), QUICK), (_too_big_above(7), PATIENT), (_wide, PATIENT)], ids=["silent", "tooBig", "too long"]
)  # fmt: skip
async def test_bulk_is_halved_and_remembered(answer: Callable[[Request], Response | None], limits: SnmpLimits, clock: Standing) -> None:
    async with Agent(answer) as agent:
        session = _session(agent.port, limits)
        assert len(await session.walk(ROWS)) == 60 and session.bulk == 6
        before = len(agent.requests)
        assert len(await session.walk(ROWS)) == 60 and {request.most for request in agent.requests[before:] if request.kind == GETBULK} == {6}
        assert len(await _session(agent.port, limits, snmp_bulk=6).walk(ROWS)) == 60


@pytest.mark.parametrize("count", [0, 1, 24, 25, 26, 60])
async def test_the_end_of_the_agents_view_is_no_halving(count: int) -> None:
    rows, session, _ = await _walk(table(_rows(count)))
    assert rows == {(number,): number for number in range(1, count + 1)} and session.bulk == 25
    rows, session, _ = await _walk(table([*_rows(count), ((*ROWS[:-1], 2, 1), integer(1))]))
    assert len(rows) == count and session.bulk == 25


async def test_fewer_rows_than_asked_for_and_copies() -> None:
    assert len((await _walk(table(_rows(60), fewer=7)))[0]) == 60
    assert len((await _walk(lambda request: table(_rows(60))(request)._replace(copies=3)))[0]) == 60


async def test_without_getbulk() -> None:
    async with Agent(table(_rows(30))) as agent:
        session = _session(agent.port)
        group = SnmpGroup(name="system", period_seconds=60, scalars=((*ROWS, 5),), tables=(ROWS,), bulk=False)
        scalars, tables = await session.read(group)
        assert scalars == {(*ROWS, 5): 5} and len(tables[ROWS]) == 30 and GETBULK not in {request.kind for request in agent.requests}
        assert session.bulk == 25


async def test_a_lost_answer_is_asked_for_again_from_there(clock: Standing) -> None:
    lost = iter((False, False, True, False, True))
    rows, session, agent = await _walk(lambda request: None if next(lost, False) else table(_rows(100))(request), QUICK)
    assert len(rows) == 100 and session.bulk == 25 and len(agent.requests) == 4 + 2 + 2  # pages, lost ones, and two for the end of the view


async def test_a_late_agent_is_given_more_time_not_more_questions(clock: Standing) -> None:
    rows, _, agent = await _walk(lambda request: table(_rows(3))(request)._replace(late_seconds=0.45), QUICK)
    assert len(rows) == 3 and len(agent.requests) == 2 * 2


@pytest.mark.parametrize(
    "values", [[((*ROWS, 1), integer(7))] * 3, [((*ROWS, 5 - number), integer(7)) for number in range(3)]], ids=["the same", "falling"]
)  # fmt: skip
async def test_oids_that_do_not_increase_end_the_walk(values: list[tuple[Oid, bytes]]) -> None:
    with pytest.raises(PeerError, match="do not increase"):
        await _walk(lambda request: Response(values))


async def test_a_table_without_end() -> None:
    def endless(request: Request) -> Response:
        return Response([((*ROWS, (request.oids[0] + (0,))[len(ROWS)] + number), integer(1)) for number in range(1, 26)])

    with pytest.raises(PeerError, match="more than 500 rows"):
        await _walk(endless, SnmpLimits(most_rows=500))


async def test_a_walk_ends_with_its_deadline(clock: Standing) -> None:
    slow = SnmpLimits(attempts=2, timeout_seconds=60, walk_seconds=0.25)
    with pytest.raises(PeerUnreachable, match=r"was not done in 0\.25 s"):
        await _walk(lambda request: table(_rows(10_000))(request)._replace(late_seconds=0.05), slow)


async def test_a_walk_that_is_cancelled_ends_at_once() -> None:
    enough = asyncio.Event()

    def endless(request: Request) -> Response:
        if len(agent.requests) == 20:
            enough.set()
        return Response([((*ROWS, len(agent.requests)), integer(1))])

    async with Agent(endless) as agent:
        walk = asyncio.create_task(_session(agent.port).walk(ROWS))
        await enough.wait()
        walk.cancel()
        with pytest.raises(asyncio.CancelledError):
            await walk
        asked = len(agent.requests)
        await asyncio.sleep(0.05)
        assert len(agent.requests) <= asked + 1


async def test_a_device_that_says_nothing_is_asked_as_often_as_allowed(clock: Standing) -> None:
    async with Agent(lambda request: None) as agent:
        with pytest.raises(PeerUnreachable, match="does not answer SNMP") as failure:
            await _session(agent.port, QUICK).walk(ROWS)
        assert failure.value.reason == "timeout" and len(agent.requests) == 2 + 2  # for 25 rows, and whether it is there at all


async def test_where_no_agent_is() -> None:
    """The system says so at once, and nothing is repeated."""
    session = _session(free_port(), SnmpLimits())
    with pytest.raises(PeerUnreachable, match="connection refused") as failure:
        await session.get([SYS_UP_TIME])
    assert failure.value.reason == "connect" and session.requests == 1


async def test_garbage_and_floods(clock: Standing) -> None:
    class Flood(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            for _ in range(50):
                self.transport.sendto(data.replace(b"\xa0", b"\xa2")[:-3] + b"abc", addr)  # type: ignore[attr-defined]

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Flood, local_addr=("127.0.0.1", 0))
    with pytest.raises(PeerError):
        await _session(transport.get_extra_info("sockname")[1], QUICK).get([SYS_UP_TIME])
    transport.close()


async def test_an_error_status_is_not_taken_for_missing_objects() -> None:
    def few(request: Request) -> Response:
        return (
            Response([(oid, NULL) for oid in request.oids], TOO_BIG)
            if request.kind == GET and len(request.oids) > 3
            else table([*_rows(9), (SYS_UP_TIME, tlv(0x43, b"\5"))])(request)
        )

    async with Agent(few) as agent:
        wanted = [(*ROWS, number) for number in range(1, 11)]
        assert await _session(agent.port).get(wanted) == {oid: oid[-1] if oid[-1] < 10 else None for oid in wanted}


def _breaks_off(rows: int, error: int, *, empty: bool = False) -> Callable[[Request], Response]:
    """An agent that cannot tell what follows so many rows; as net-snmp does, it answers nothing of a GETBULK that gets there."""

    def answer(request: Request) -> Response:
        if request.kind == GET:
            return table([(SYS_UP_TIME, tlv(0x43, b"\5"))])(request)
        asked = request.oids[0]
        from_row = asked[len(ROWS)] if len(asked) > len(ROWS) else 0
        if from_row + (request.most if request.kind == GETBULK else 1) > rows:
            return Response([] if empty else [(asked, NULL)], error)
        return table(_rows(rows))(request)

    return answer


EVERY_VERSION = pytest.mark.parametrize(
    "login", [SnmpCommunity(version="1", community=Secret("c0mmunity")), COMMUNITY, SnmpUser(username="nobody")], ids=["v1", "v2c", "v3"]
)  # fmt: skip


@EVERY_VERSION
@pytest.mark.parametrize("rows", [0, 40])
async def test_a_table_that_is_broken_off_does_not_look_complete(login: SnmpCommunity | SnmpUser, rows: int) -> None:
    """Also where the answer cannot be looked into, as SNMPv3's that is encrypted."""
    async with Agent(_breaks_off(rows, GEN_ERR)) as agent:
        transport = SnmpTransport(PATIENT)
        session = transport.session(_device(agent.port, login), _device(agent.port, login).credentials[0])
        said = "an error-status" if isinstance(login, SnmpUser) else "genErr"
        after = ".".join(map(str, (*ROWS, rows) if rows else ROWS))
        with pytest.raises(ErrorStatus, match=f"answered {said} to what follows {re.escape(after)}$"):
            await session.walk(ROWS)
        assert transport.requests["error_status"] == 1 and session.bulk == 25, "what went wrong says nothing of what it bears"
        if session._has_bulk:
            assert len(agent.requests) < 25, "it goes on where it was, with fewer rows at a time"


@pytest.mark.parametrize("login", [COMMUNITY, USERS["shaaes"]], ids=["v2c", "encrypted"])
async def test_a_real_agent_that_breaks_off(require_peer: Callable[[str], str], tmp_path: Path, login: SnmpCommunity | SnmpUser) -> None:
    """net-snmp's, which asks another agent for a part of its view and passes on what that says."""
    port = free_port()
    async with Agent(_breaks_off(40, GEN_ERR)) as agent:
        proxy = f"proxy -v 2c -c c0mmunity 127.0.0.1:{agent.port} .{'.'.join(map(str, ROWS[:-1]))}"
        with _snmpd(require_peer("/usr/sbin/snmpd"), tmp_path, port, proxy):
            session = await SnmpTransport().connect(_device(port, login))
            with pytest.raises(ErrorStatus, match=f"answered {'genErr' if login is COMMUNITY else 'an error-status'} to what follows"):
                await session.walk(ROWS)
            assert len(await session.walk(ORS)) > 1, "the rest of its view is as it was"


@given(st.binary(max_size=64))
def test_octets_that_are_no_message_have_no_error_status(data: bytes) -> None:
    found = _error_status(data)
    assert found is None or 0 <= found < 2**32


def test_the_error_status_of_a_message() -> None:
    for community in (b"", b"c0mmunity", b"x" * 200):
        pdu = tlv(RESPONSE, integer(77) + integer(GEN_ERR) + integer(1) + tlv(0x30, b""))
        message = tlv(0x30, integer(1) + octets(community) + pdu)
        assert _error_status(message) == GEN_ERR and [_error_status(message[:length]) for length in range(len(message) - 9)] == [None] * (len(message) - 9)


@EVERY_VERSION
async def test_a_group_of_which_a_table_is_broken_off_is_not_read(login: SnmpCommunity | SnmpUser) -> None:
    async with Agent(_breaks_off(3, GEN_ERR)) as agent:
        session = SnmpTransport(PATIENT).session(_device(agent.port, login), _device(agent.port, login).credentials[0])
        with pytest.raises(ErrorStatus):
            await session.read(SnmpGroup(name="interfaces", period_seconds=60, tables=(ROWS,)))


@pytest.mark.parametrize("version", ["1", "2c"])
async def test_no_such_name_is_the_end_of_the_view(version: Any) -> None:
    """Of SNMPv1 (RFC 1157 section 4.1.3), and of agents that took that along into v2c."""
    login = SnmpCommunity(version=version, community=Secret("c0mmunity"))
    async with Agent(_breaks_off(40, NO_SUCH_NAME)) as agent:
        session = SnmpTransport(PATIENT).session(_device(agent.port, login), _device(agent.port, login).credentials[0])
        assert len(await session.walk(ROWS)) == 40


@EVERY_VERSION
async def test_the_end_of_the_view_costs_one_question(login: SnmpCommunity | SnmpUser) -> None:
    def honest(request: Request) -> Response:
        last = isinstance(login, SnmpCommunity) and login.version == "1"
        found = table(_rows(3))(request)
        return Response([(request.oids[0], NULL)], NO_SUCH_NAME) if last and found.values[0][1][0] == 0x82 else found

    async with Agent(honest) as agent:
        session = SnmpTransport(PATIENT).session(_device(agent.port, login), _device(agent.port, login).credentials[0])
        assert len(await session.walk(ROWS)) == 3
        asked = [request.kind for request in agent.requests]
        assert len(asked) == (3 if session._has_bulk else 5), asked


async def test_too_big_without_a_variable() -> None:
    """RFC 3416 section 4.2.3: a response that does not fit comes with no variables at all."""
    rows, session, _ = await _walk(
        lambda request: Response([], TOO_BIG) if request.kind == GETBULK and request.most > 7 else table(_rows(60))(request)
    )  # fmt: skip
    assert len(rows) == 60 and session.bulk == 6


async def test_a_getbulk_that_fails_behind_the_column_ends_it() -> None:
    """The next table is broken, this one is not: it is whole, and what the agent bears is as before."""
    rows = [*_rows(25), ((*ROWS[:-1], 2, 1), integer(1))]

    def answer(request: Request) -> Response:
        return Response([(request.oids[0], NULL)], GEN_ERR) if request.kind == GETBULK and request.oids == ((*ROWS, 25),) else table(rows)(request)

    found, session, agent = await _walk(answer)
    assert len(found) == 25 and session.bulk == 25 and len(agent.requests) == 4


async def test_an_error_that_comes_once_is_passed_over() -> None:
    once = iter((True,))

    def answer(request: Request) -> Response:
        return Response([(request.oids[0], NULL)], GEN_ERR) if len(request.oids[0]) > len(ROWS) and next(once, False) else table(_rows(40))(request)

    for bulk in (True, False):
        async with Agent(answer) as agent:
            assert len(await _session(agent.port).walk(ROWS, bulk=bulk)) == 40
        once = iter((True,))


async def test_types() -> None:
    values = {
        1: (integer(-5), -5), 2: (tlv(0x41, b"\xff" * 4), 2**32 - 1), 3: (tlv(0x46, b"\0" + b"\xff" * 8), 2**64 - 1), 4: (octets("é".encode()), "é".encode()),
        5: (tlv(0x40, bytes((192, 0, 2, 1))), bytes((192, 0, 2, 1))), 6: (octets(b""), b""), 7: (tlv(0x06, b"\x00"), (0, 0)),
        8: (tlv(0x06, b"\x2b\x06\x01"), (1, 3, 6, 1)),
    }  # fmt: skip
    rows = [((*ROWS, number), encoded) for number, (encoded, _) in values.items()]
    found, _, _ = await _walk(table(rows))
    expected = {(number,): value for number, (_, value) in values.items()}
    expected[(8,)] = bytes((1, 3, 6, 1))  # gufo gives IpAddress and OID as the same text: four numbers are an address
    assert found == expected


async def test_a_session_asks_one_thing_at_a_time() -> None:
    under_way = most = 0

    def answer(request: Request) -> Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        asyncio.get_running_loop().call_later(0.005, done)
        return table([*_rows(50), (SYS_UP_TIME, tlv(0x43, b"\5"))])(request)._replace(late_seconds=0.01)

    def done() -> None:
        nonlocal under_way
        under_way -= 1

    async with Agent(answer) as agent:
        session = _session(agent.port)
        tables = await asyncio.gather(*(session.walk(ROWS) for _ in range(4)), session.get([(*ROWS, 1)]))
        assert [len(rows) for rows in tables] == [50, 50, 50, 50, 1] and most == 1


@pytest.mark.parametrize(("size", "expected", "asked"), [
    (25, 0, 25), (25, 1, 2), (25, 24, 25), (25, 25, 26), (25, 27, 28), (25, 28, 15), (25, 50, 26), (25, 1000, 28), (1, 50, 1), (6, 50, 6),
])  # fmt: skip
def test_answers_that_fit(size: int, expected: int, asked: int) -> None:
    """The rows and the one behind them: 50 in two answers, not three."""
    assert fitting(size, expected) == asked


async def test_rows_that_are_expected_need_no_further_request() -> None:
    rows = [*_rows(50), ((*ROWS[:-1], 2, 1), integer(1))]  # as in a table the next column follows
    async with Agent(table(rows)) as one, Agent(table(rows)) as other:
        assert len(await _session(one.port).walk(ROWS)) == len(await _session(other.port).walk(ROWS, expected=50)) == 50
        assert len(other.requests) < len(one.requests) == 3
