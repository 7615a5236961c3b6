"""A datagram to an SNMP agent and the answer to it, over gufo-snmp's sockets: nothing is repeated here, one request at a time.

gufo's own asyncio session is not used: it hides an error-status as an empty answer, waits with ``asyncio.wait_for``, which on Python 3.11 loses a
cancellation now and then, and gives no say in the time of one request. Its sockets encode, decode, match request-ids and do SNMPv3's cryptography.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeVar

from gufo.snmp import (
    Aes128Key,
    Aes192Key,
    Aes256Key,
    DesKey,
    Md5Key,
    NoSuchInstance,
    Sha1Key,
    Sha224Key,
    Sha256Key,
    Sha384Key,
    Sha512Key,
    SnmpAuthError,
    SnmpDecodeError,
    SnmpError,
    User,
)
from gufo.snmp._fast import GetIter, SnmpV1ClientSocket, SnmpV2cClientSocket, SnmpV3ClientSocket
from gufo.snmp.user import BaseAuthKey, BasePrivKey

from netd.errors import PeerError, PeerUnreachable
from netd.model.target import SnmpCommunity, SnmpUser
from netd.sdk.device import Oid, Varbind

REFRESH_SECONDS: Final = 150.0
"""RFC 3414 section 2.2.3: what an agent says of its clock is good for so long; after such a silence it is asked anew."""

NO_SUCH_NAME: Final = 2
STATUSES: Final = ("noError", "tooBig", "noSuchName", "badValue", "readOnly", "genErr", "noAccess", "wrongType", "wrongLength", "wrongEncoding",
                   "wrongValue", "noCreation", "inconsistentValue", "resourceUnavailable", "commitFailed", "undoFailed", "authorizationError",
                   "notWritable", "inconsistentName")  # fmt: skip
"""RFC 3416 section 3, by number."""

PEEKED_OCTETS: Final = 512
T = TypeVar("T")
Row = tuple[str, object]
_Socket = SnmpV1ClientSocket | SnmpV2cClientSocket | SnmpV3ClientSocket

_AUTH: Final[dict[str, type[BaseAuthKey]]] = {
    "md5": Md5Key, "sha": Sha1Key, "sha224": Sha224Key, "sha256": Sha256Key, "sha384": Sha384Key, "sha512": Sha512Key,
}  # fmt: skip
_PRIV: Final[dict[str, type[BasePrivKey]]] = {"des": DesKey, "aes128": Aes128Key, "aes192": Aes192Key, "aes256": Aes256Key}


class Unreadable(PeerError):
    """An answer that gufo cannot decode: garbage, or more than its 4 KB of room."""


class Denied(PeerUnreachable):
    """The agent does not know the user, or its keys are others."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, "credentials")


class ErrorStatus(PeerError):
    """The agent answered with an error-status."""


class Walk:
    """Where a walk of a column is, and with which max-repetitions it goes on. gufo's iterators say both where to ask and below what answers count; it is
    given one for each, so that a walk can be continued from any row with any size."""

    __slots__ = ("after", "at", "below", "prefix", "size")

    def __init__(self, column: Oid, size: int) -> None:
        start = dotted(column)
        self.prefix = start + "."
        self.below = GetIter(start, size)
        self.go_on(start, size)

    def covers(self, name: str) -> bool:
        """Whether an object is of the column."""
        return name.startswith(self.prefix)

    def go_on(self, after: str, size: int) -> None:
        """Ask for what follows this OID. Raises Unreadable for what gufo gives as an OID and does not take as one."""
        self.after, self.size = after, size
        try:
            self.at = GetIter(after, size)
        except ValueError:
            raise Unreadable(f"{after[:80]} is no object identifier") from None


class AgentSocket:
    """A connected UDP socket. All calls raise TimeoutError without an answer in ``seconds``, PeerUnreachable ``connect`` if there is no agent,
    Unreadable, or Denied."""

    def __init__(self, address: IPv4Address | IPv6Address, port: int, login: SnmpCommunity | SnmpUser) -> None:
        self.name = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
        self._login = login
        self._user = _user(self.name, login) if isinstance(login, SnmpUser) else None
        self._discovered = False
        self._asked_at = 0.0
        self._sock = self._made()

    def _made(self) -> _Socket:
        if isinstance(self._login, SnmpCommunity):
            kind = SnmpV1ClientSocket if self._login.version == "1" else SnmpV2cClientSocket
            return kind(self.name, self._login.community.reveal(), 0, 0, 0, 0)
        nobody = User.default()  # until the engine's id is known, which the keys depend on
        return SnmpV3ClientSocket(
            self.name, b"", nobody.name, nobody.get_auth_alg(), nobody.get_auth_key(), nobody.get_priv_alg(), nobody.get_priv_key(), 0, 0, 0, 0
        )

    async def get(self, oids: list[str], seconds: float) -> dict[str, object]:
        """Their values; objects that the agent does not have are left out, and all of them if it answered with an error-status."""
        return dict(await self._ask(lambda sock: sock.send_get_many(oids), lambda sock: sock.recv_get_many(), seconds))

    async def one(self, oid: str, seconds: float) -> object:
        """One value; None if there is no such object."""

        def receive(sock: _Socket) -> object:
            try:
                return sock.recv_get()
            except NoSuchInstance:
                return None

        return await self._ask(lambda sock: sock.send_get(oid), receive, seconds)

    async def bulk(self, walk: Walk, seconds: float) -> tuple[list[Row], bool | None]:
        """The next rows and whether they are the last; None: no rows, be it the end of the agent's view or an error-status."""

        def receive(sock: _Socket) -> tuple[list[Row], bool | None]:
            try:
                rows = _with_bulk(sock).recv_get_bulk(walk.below)
            except StopAsyncIteration:
                return [], None
            found: list[Row] = [row for row in rows if row is not None]
            return found, len(found) < len(rows)

        found, last = await self._ask(lambda sock: _with_bulk(sock).send_get_bulk(walk.at), receive, seconds)
        if found:
            walk.go_on(found[-1][0], walk.size)
        return found, last

    async def next(self, walk: Walk, seconds: float) -> Row | None:
        """What follows by GETNEXT, in whatever column; None: nothing, be it the end of the agent's view or an error-status."""
        rows = await self._ask(lambda sock: sock.send_get_next(walk.at), lambda sock: sock.recv_get_many(), seconds)
        if not rows:
            return None
        row: Row = next(iter(rows.items()))
        walk.go_on(row[0], walk.size)
        return row

    async def follows(self, walk: Walk, seconds: float) -> bool:
        """Whether anything follows; to be asked where an answer had no rows. False: the agent's view ends there. Raises ErrorStatus.

        gufo reads the answer to this GETNEXT as that to a GET, for then it tells endOfMibView from an error-status, which comes with NULL or without any
        variable. Which one it was stands in the octets, where they are not encrypted: noSuchName is how SNMPv1 says that its view ends.
        """

        def receive(sock: _Socket) -> bool:
            status = self._status(sock)
            try:
                if sock.recv_get() is not None:
                    return True
            except NoSuchInstance:
                return False
            if status == NO_SUCH_NAME:
                return False
            name = STATUSES[status] if status is not None and 0 < status < len(STATUSES) else "an error-status"
            raise ErrorStatus(f"{self.name} answered {name} to what follows {walk.after}")

        return await self._ask(lambda sock: sock.send_get_next(walk.at), receive, seconds)

    def _status(self, sock: _Socket) -> int | None:
        """The error-status of the datagram that is read next; None if it cannot be seen."""
        if isinstance(sock, SnmpV3ClientSocket):
            return None
        own = socket.socket(fileno=sock.get_fd())
        try:
            return _error_status(own.recv(PEEKED_OCTETS, socket.MSG_PEEK))
        except OSError:  # gufo meets it as well, and says what it is
            return None
        finally:
            own.detach()

    async def _ask(self, send: Callable[[_Socket], None], receive: Callable[[_Socket], T], seconds: float) -> T:
        if self._user is not None and (not self._discovered or asyncio.get_running_loop().time() - self._asked_at > REFRESH_SECONDS):
            await self._refresh(self._user, seconds)
        try:
            answer = await self._exchange(send, receive, seconds)
        except (TimeoutError, Denied):
            # It may have restarted: its boots and time, or its id, are others then (RFC 3414 notInTimeWindow), and gufo passes over its reports in silence.
            self._discovered = False
            raise
        self._asked_at = asyncio.get_running_loop().time()
        return answer

    async def _refresh(self, user: User, seconds: float) -> None:
        """Ask for the engine's id, boots and time."""
        if not self._discovered:
            self._sock = sock = self._made()
            await self._exchange(_send_refresh, _receive_refresh, seconds)
            if isinstance(sock, SnmpV3ClientSocket):
                sock.set_keys(user.name, user.get_auth_alg(), user.get_auth_key(), user.get_priv_alg(), user.get_priv_key())
        if user.require_auth():
            await self._exchange(_send_refresh, _receive_refresh, seconds)
        self._discovered = True
        self._asked_at = asyncio.get_running_loop().time()

    async def _exchange(self, send: Callable[[_Socket], None], receive: Callable[[_Socket], T], seconds: float) -> T:
        sock = self._sock
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        try:
            with contextlib.suppress(BlockingIOError):  # no room to send: as lost as any datagram, and repeated like it
                send(sock)
        except OSError as error:
            raise PeerUnreachable(f"{self.name}: {error}", "connect") from None
        while loop.time() < until:  # also where datagrams that answer nothing keep coming
            await self._readable(loop, sock.get_fd(), until)
            try:
                return receive(sock)
            except BlockingIOError:
                continue  # an answer to an earlier request
            except OSError as error:  # an ICMP message came back; gufo makes a TimeoutError of it
                raise PeerUnreachable(f"{self.name}: {error}", "connect") from None
            except SnmpAuthError:
                raise Denied(f"{self.name} does not accept the SNMPv3 user or its keys") from None
            except SnmpDecodeError as error:
                raise Unreadable(f"{self.name} answered something that cannot be decoded: {error}") from None
            except SnmpError as error:
                raise PeerError(f"{self.name}: {error}") from None
            except BaseException as error:  # barrier: at some octets that are no BER gufo's decoder panics, and a panic is no Exception
                if type(error).__name__ != "PanicException":
                    raise
                raise Unreadable(f"{self.name} answered something that cannot be decoded") from None
        raise TimeoutError

    async def _readable(self, loop: asyncio.AbstractEventLoop, fd: int, until: float) -> None:
        """Return when the socket can be read. Raises TimeoutError."""
        ready: asyncio.Future[bool] = loop.create_future()
        timer = loop.call_at(until, _settle, ready, False)
        loop.add_reader(fd, _settle, ready, True)
        try:
            if not await ready:
                raise TimeoutError
        finally:
            loop.remove_reader(fd)
            timer.cancel()


def _with_bulk(sock: _Socket) -> SnmpV2cClientSocket | SnmpV3ClientSocket:
    if isinstance(sock, SnmpV1ClientSocket):
        raise PeerError("SNMPv1 has no GETBULK")
    return sock


def _send_refresh(sock: _Socket) -> None:
    if isinstance(sock, SnmpV3ClientSocket):
        sock.send_refresh()


def _receive_refresh(sock: _Socket) -> None:
    if isinstance(sock, SnmpV3ClientSocket):
        sock.recv_refresh()


def _error_status(message: bytes) -> int | None:
    """The error-status of a community-based message (RFC 3416 section 3, RFC 1157); None for what is none."""
    at, tag = 0, 0
    try:
        for inside in (True, False, False, True, False):  # the message, its version and community, the PDU, its request-id
            length, at = message[at + 1], at + 2
            if length & 0x80:
                size = length & 0x7F
                length, at = int.from_bytes(message[at : at + size], "big"), at + size
            at += 0 if inside else length
        tag, length = message[at], message[at + 1]
        return int.from_bytes(message[at + 2 : at + 2 + length], "big") if tag == 2 and 0 < length < 5 else None
    except IndexError:
        return None


def _settle(future: asyncio.Future[bool], value: bool) -> None:
    if not future.done():
        future.set_result(value)


def _user(name: str, login: SnmpUser) -> User:
    if login.context:
        raise PeerUnreachable(f"{name}: contexts of SNMPv3 are not supported", "invalid")
    auth = priv = None
    if login.auth_protocol is not None and login.auth_key is not None:
        auth = _AUTH[login.auth_protocol](login.auth_key.reveal().encode())
        if login.priv_protocol is not None and login.priv_key is not None:
            priv = _PRIV[login.priv_protocol](login.priv_key.reveal().encode())
    return User(login.username, auth_key=auth, priv_key=priv)


def dotted(oid: Oid) -> str:
    """``1.3.6.1.2.1``."""
    return ".".join(map(str, oid))


def arcs(text: str) -> Oid:
    """The other way round; an empty text is the empty tuple."""
    return tuple(map(int, text.split("."))) if text else ()


def varbind(value: object) -> Varbind:
    """What gufo decoded, in the SDK's types. It gives IpAddress and OBJECT IDENTIFIER both as dotted text: four numbers are taken for an address."""
    match value:
        case None | int() | bytes():
            return value
        case str():
            numbers = arcs(value)
            return bytes(numbers) if len(numbers) == 4 and max(numbers) < 256 else numbers
        case _:
            return str(value).encode()
