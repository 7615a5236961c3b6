"""Command lines of devices, over SSH and Telnet: log in, prepare, run a driver's dialogues, leave.

::

    async with transport.session(target, driver) as session:
        facts = await session.run(driver.facts())

asyncssh and a screen reader of our own (:mod:`netd.wire.terminal`) rather than scrapli: ARCHITECTURE.md has the figures.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeVar

import msgspec

from netd.device import files, ssh, telnet
from netd.device.pump import Pump
from netd.device.screen import Busy, LoginRefused, Screen, word
from netd.errors import NetdError, PeerError, PeerUnreachable
from netd.metrics import Counts, Metrics
from netd.model.device import Outcome
from netd.model.target import Credential, SshLogin, Target, TelnetLogin
from netd.sdk.device import CommandLine
from netd.sdk.dialogue import ENABLE, Command, Dialogue, Get, LogIn, Note, Pause, Put, Reconnect, Step
from netd.sdk.shell import FINE
from netd.sdk.terminal import Refused

T = TypeVar("T")
log = logging.getLogger(__name__)

LARGE_CHARACTERS: Final = 64 << 10
ENDING_SECONDS: Final = 5.0
"""So long a device may take to say how a command ended on a channel of its own, once its output has."""

CLOSINGS: Final = 16
"""How often a dialogue is told to end; more than one nests ``finally``."""


class CliLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How patient netd is; a target's ``timeout_seconds`` is for connecting, a terminal's idle time for a command."""

    cleanup_seconds: float = 15.0  # for the steps that a cancelled or failed dialogue still wants done, and for leaving
    busy_attempts: int = 4
    settle_seconds: float = 0.3
    poll_seconds: float = 2.0  # between looks whether a restarting device is back
    most_output: int = 4 << 20  # characters of one command
    most_large: int = 32 << 20  # of one that says that it expects as much (a configuration); octets of a file read


class CliTransport:
    """Opens sessions and counts them."""

    def __init__(self, limits: CliLimits | None = None) -> None:
        self.limits = limits or CliLimits()
        self.pump = Pump()
        self.sessions = Counts()  # by (protocol, outcome)
        self.commands = Counts()  # by outcome

    @asynccontextmanager
    async def session(
        self, target: Target, driver: CommandLine, *, image: Path | None = None, note: Callable[[str], None] | None = None
    ) -> AsyncIterator["CliSession"]:
        """A session that has logged in with the first credential that works, and is prepared. ``image`` is what Put sends, ``note`` takes notes.

        Raises PeerUnreachable: ``credentials`` if none works, ``host_key`` (:class:`netd.device.ssh.HostKeyChanged`), ``busy``, and others.
        """
        made = CliSession(self, target, driver, image, note or (lambda text: None))
        try:
            await made.open()
            yield made
        finally:
            await made.close()

    def register(self, metrics: Metrics) -> None:
        """Add the transport's series."""
        metrics.counter_of("netd_cli_logins", "Log-ins to devices' command lines by protocol and outcome", lambda: self.sessions, ("protocol", "outcome"))
        metrics.counter_of("netd_cli_commands", "Commands typed, by outcome", lambda: self.commands, ("outcome",))


class CliSession:
    """A session with a device. What it was logged in with and what the device showed are there to be stored."""

    def __init__(self, transport: CliTransport, target: Target, driver: CommandLine, image: Path | None, note: Callable[[str], None]) -> None:
        self.target = target
        self.credential: Credential | None = None
        self.protocol: Literal["ssh", "telnet"] = "ssh"
        self.host_key = ""  # what the device showed: to be pinned if none is
        self.banner = ""  # SSH's identification
        self._driver = driver
        self._terminal = driver.terminal
        self._transport = transport
        self._limits = transport.limits
        self._image = image
        self._note = note
        self._connection: ssh.SshConnection | None = None
        self._screen: Screen | None = None
        self._open = False

    async def open(self) -> None:
        """Log in and prepare. Raises as :meth:`CliTransport.session` says."""
        for attempt in range(1, self._limits.busy_attempts + 1):
            try:
                await self._login()
                break
            except Busy as error:
                await self._hang_up()
                if attempt == self._limits.busy_attempts:
                    raise
                self._note(f"{error}; again in {error.retry_seconds:g} s")
                await asyncio.sleep(error.retry_seconds)
        self._open = True
        await self.run(self._driver.prepare())

    async def run(self, dialogue: Dialogue[T]) -> T:
        """Do a dialogue's steps; returns what it returns. What a step raises is thrown into it, and so is a cancellation, whose steps still get their time."""
        try:
            step = next(dialogue)
            while True:
                try:
                    try:
                        reply = await self._act(step)
                    except NetdError as error:
                        step = dialogue.throw(error)
                        continue
                    found = await _sent(dialogue, reply)
                except asyncio.CancelledError as error:
                    await self._clean_up(dialogue, error)
                    raise
                if isinstance(found, _End):
                    result: T = found.result
                    return result
                step = found
        except StopIteration as done:
            result = done.value
            return result
        finally:
            _close(dialogue)

    async def close(self) -> None:
        """Leave, so that the device frees the session at once, and hang up."""
        try:
            if self._open and self._screen is not None and not self._screen.ended:
                async with asyncio.timeout(self._limits.cleanup_seconds):
                    await self.run(self._driver.leave())
        except (NetdError, TimeoutError) as error:
            log.info("a device's session did not end as it should", extra={"device": self.target.key, "error": str(error) or "timeout"})
        finally:
            await self._hang_up()

    async def _clean_up(self, dialogue: Dialogue[T], error: BaseException) -> None:
        """Throw a cancellation into the driver and do the steps that it still wants, within bounds."""
        try:
            async with asyncio.timeout(self._limits.cleanup_seconds):
                step = dialogue.throw(error)
                while True:
                    try:
                        reply = await self._act(step)
                    except NetdError as fault:
                        step = dialogue.throw(fault)
                    else:
                        step = dialogue.send(reply)
        except StopIteration:
            return  # it swallowed the cancellation; the caller raises it all the same
        except asyncio.CancelledError as raised:
            if raised is not error:  # cancelled again meanwhile: no more patience
                raise
        except (NetdError, TimeoutError) as fault:
            log.warning("a cancelled dialogue could not clean up", extra={"device": self.target.key, "error": str(fault) or "timeout"})

    async def _act(self, step: Step) -> str:
        match step:
            case Command():
                return await self._command(step)
            case Put():
                await self._put(step)
            case Get():
                return await self._get(step)
            case Pause():
                await asyncio.sleep(step.seconds)
            case Reconnect():
                await self._reconnect(step)
            case LogIn():
                await self._log_in_again()
            case Note():
                self._note(step.text)
        return ""

    async def _command(self, command: Command) -> str:
        outcome = "unreachable"
        try:
            text = await (self._execute(command) if self._executes() else self._typed(command))
            found, said = self._terminal.classify(text)
            outcome = found.value
        except PeerUnreachable as error:
            outcome = error.reason
            raise
        except PeerError as error:
            outcome = "question"
            asked, said = self._terminal.classify(error.said)
            if command.check and asked is Outcome.BUSY:  # whether to take what somebody else has
                raise Refused(str(error), asked, said) from None
            raise
        finally:
            self._transport.commands[outcome] += 1
        if command.check and found not in FINE:
            if command.secret:  # the device may quote it
                raise Refused(f"{self.target.called}: <secret>: {found.value}", found)
            raise Refused(f"{self.target.called}: {command.text}: {said}", found, said)
        return text

    async def _typed(self, command: Command) -> str:
        if self._screen is None:
            raise PeerUnreachable(f"{self.target.called}: there is no session", "lost")
        return await self._screen.command(self._enabling(command), most_characters=self._most(command))

    def _most(self, command: Command) -> int:
        return self._limits.most_large if command.large else self._limits.most_output

    def _enabling(self, command: Command) -> Command:
        """The command with the credential's password where an answer wants it."""
        login = self.credential.login if self.credential is not None else None
        if not isinstance(login, SshLogin | TelnetLogin) or all(answer.text != ENABLE for answer in command.answers):
            return command
        secret = login.enable or login.password
        typed = secret.reveal() if secret is not None else ""
        answers = (msgspec.structs.replace(answer, text=typed, secret=True) if answer.text == ENABLE else answer for answer in command.answers)
        return msgspec.structs.replace(command, answers=tuple(answers))

    def _executes(self) -> bool:
        return self._terminal.exec_channel and self.protocol == "ssh"

    async def _execute(self, command: Command) -> str:
        connection = await self._ssh()
        channel = await connection.execute(command.text)
        silence = self._terminal.idle_timeout_seconds if command.timeout_seconds is None else command.timeout_seconds
        told = "<secret>" if command.secret else command.text
        most = self._most(command)
        read, ended = bytearray(), ""
        try:
            while data := await word(channel, silence):
                read += data
                if len(read) > most:
                    raise PeerUnreachable(f"{self.target.called}: {told}: more than {most} octets", "too_large")
            if data is None:
                raise PeerUnreachable(f"{self.target.called}: {told}: no word for {silence:g} s", "timeout")
            ended = await channel.ended(min(silence, ENDING_SECONDS))
        except PeerUnreachable as error:
            if not (command.drops and error.reason == "lost"):
                raise
        finally:
            await channel.close()
        text = bytes(read).decode(self._terminal.encoding, "replace").replace("\r\n", "\n").strip("\n")
        return f"{text}\n{ended}".lstrip("\n") if ended else text

    async def _put(self, step: Put) -> None:
        if step.image and self._image is None:
            raise PeerError(f"{self.target.called}: there is no image in hand")
        async with self._files() as connection:
            if self._image is None or not step.image:
                await files.put(connection, step.path, step.content, private=step.private, sftp=self._sftp)
            else:
                await files.put_file(connection, step.path, self._image, self._note, sftp=self._sftp)

    async def _get(self, step: Get) -> str:
        async with self._files() as connection:
            return (await files.get(connection, step.path, self._limits.most_large, sftp=self._sftp)).decode("latin-1")

    @property
    def _sftp(self) -> bool:
        return self._terminal.files == "sftp"

    @asynccontextmanager
    async def _files(self) -> AsyncIterator[ssh.SshConnection]:
        """A connection for a file: the session's, where that has room for it."""
        if self._sftp:
            yield await self._ssh()
            return
        connection, _ = await self._connected()
        try:
            yield connection
        finally:
            connection.close()

    async def _log_in_again(self) -> None:
        """Open another session as this one was opened, and leave it."""
        other = CliSession(self._transport, self.target, self._driver, None, self._note)
        try:
            await other.open()
        finally:
            await other.close()

    async def _ssh(self) -> ssh.SshConnection:
        """The session's connection; for files in a Telnet session, one of its own."""
        if self._connection is None:
            self._connection, _ = await self._connected()
        return self._connection

    async def _connected(self) -> tuple[ssh.SshConnection, Credential]:
        """Connect with the first SSH credential that works."""
        failure = PeerUnreachable(f"{self.target.called} has no SSH login", "invalid")
        for credential in self.target.credentials:
            if not isinstance(credential.login, SshLogin):
                continue
            outcome = "ok"
            try:
                connection = await ssh.connect(
                    self.target,
                    credential,
                    self._transport.pump,
                    username_suffix=self._terminal.login.username_suffix,
                    keepalive_seconds=self._terminal.keepalive_seconds,
                )
            except PeerUnreachable as error:
                failure, outcome = error, error.reason
                if error.reason != "credentials":  # the next one would meet the same
                    break
            else:
                self.host_key, self.banner = connection.host_key, connection.banner
                return connection, credential
            finally:
                self._transport.sessions["ssh", outcome] += 1
        try:
            raise failure
        finally:
            del failure  # its traceback holds this frame

    async def _login(self) -> None:
        """SSH first, then Telnet, where there are credentials for them. A changed host key ends it, and so does any failure where one is pinned: Telnet would
        hand the password to whoever keeps SSH from answering there."""
        failure = PeerUnreachable(f"{self.target.called} has no login for SSH or Telnet", "invalid")
        if any(isinstance(credential.login, SshLogin) for credential in self.target.credentials):
            try:
                self._connection, self.credential = await self._connected()
            except ssh.HostKeyChanged:
                raise
            except PeerUnreachable as error:
                if self.target.host_keys:
                    raise
                failure = error
            else:
                self.protocol = "ssh"
                if not self._terminal.exec_channel:
                    shell = await self._connection.shell(self._terminal.columns, self._terminal.rows, pty=self._terminal.requires_pty)
                    await self._enter(shell, self.credential)
                return
        for credential in self.target.credentials:
            if not isinstance(credential.login, TelnetLogin):
                continue
            outcome = "ok"
            try:
                channel = await telnet.connect(self.target, credential, self._terminal.columns, self._terminal.rows)
                await self._enter(channel, credential)
            except PeerUnreachable as error:
                failure, outcome = error, error.reason
                await self._hang_up()
                if not isinstance(error, LoginRefused):
                    break
            else:
                self.credential, self.protocol = credential, "telnet"
                return
            finally:
                self._transport.sessions["telnet", outcome] += 1
        try:
            raise failure
        finally:
            del failure  # its traceback holds this frame

    async def _enter(self, channel: ssh.Channel | telnet.TelnetChannel, credential: Credential) -> None:
        login = credential.login
        assert isinstance(login, SshLogin | TelnetLogin)
        limits = self._limits
        self._screen = Screen(self.target.called, channel, self._terminal, settle_seconds=limits.settle_seconds, most_characters=limits.most_output)
        username = login.username + self._terminal.login.username_suffix
        await self._screen.login(self._terminal.login, username, login.password.reveal() if login.password else "")

    async def _reconnect(self, step: Reconnect) -> None:
        """Wait for the device to go, then to come back, and log in and prepare again."""
        loop = asyncio.get_running_loop()
        until = loop.time() + step.within_seconds
        try:
            async with asyncio.timeout_at(until):
                await self._gone()
                await self._hang_up()
                await self._back(step.settle_seconds)
        except TimeoutError:
            raise PeerUnreachable(f"{self.target.called} has not come back within {step.within_seconds:g} s", "timeout") from None
        await self.run(self._driver.prepare())

    async def _back(self, settle_seconds: float) -> None:
        """Log in as soon as the device takes connections again, and was given time."""
        settled = False
        while True:
            await asyncio.sleep(self._limits.poll_seconds)
            if not await self._answers():
                continue
            if not settled:
                settled = True
                await asyncio.sleep(settle_seconds)
            try:
                return await self._login()
            except ssh.HostKeyChanged:
                raise
            except PeerUnreachable as error:
                await self._hang_up()
                self._note(f"not yet: {error}")

    async def _gone(self) -> None:
        """Return when the device has closed the session or takes no connection any more."""
        watched = asyncio.ensure_future(self._screen.drain()) if self._screen is not None else None
        try:
            while await self._answers():
                if watched is None:
                    await asyncio.sleep(self._limits.poll_seconds)
                elif (await asyncio.wait((watched,), timeout=self._limits.poll_seconds))[0]:
                    return
        finally:
            if watched is not None:
                watched.cancel()
                await asyncio.gather(watched, return_exceptions=True)

    async def _answers(self) -> bool:
        """Whether the port of the credential that worked takes a connection."""
        credential = self.credential
        port = (credential.port if credential else None) or (ssh.PORT if self.protocol == "ssh" else telnet.PORT)
        try:
            async with asyncio.timeout(self.target.timeout_seconds):
                _, writer = await asyncio.open_connection(str(self.target.address), port)
        except (OSError, TimeoutError):
            return False
        writer.transport.abort()
        return True

    async def _hang_up(self) -> None:
        if self._screen is not None:
            await self._screen.close()
            self._screen = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _End(NamedTuple):
    """A dialogue has come to its end."""

    result: Any


async def _sent(dialogue: Dialogue[Any], reply: str) -> Step | _End:
    """The next step, or the end. A large text is read in a thread: what a driver makes of tens of thousands of rows would hold the loop."""
    if len(reply) < LARGE_CHARACTERS:
        return _send(dialogue, reply)
    reading = asyncio.ensure_future(asyncio.to_thread(_send, dialogue, reply))
    put_off = 0
    while not reading.done():
        try:
            await asyncio.wait((reading,))
        except asyncio.CancelledError:  # a dialogue that runs in a thread can be told nothing until it wants something done
            put_off += 1
    if put_off and (task := asyncio.current_task()) is not None:
        for again in (task.uncancel, task.cancel):
            for _ in range(put_off):
                again()
    return reading.result()


def _send(dialogue: Dialogue[Any], reply: str) -> Step | _End:
    try:
        return dialogue.send(reply)
    except StopIteration as done:
        return _End(done.value)


def _close(dialogue: Dialogue[Any]) -> None:
    """End a dialogue whatever it still wants done: each ``finally`` with steps of its own takes another telling."""
    for _ in range(CLOSINGS):
        try:
            return dialogue.close()
        except RuntimeError:
            continue
    log.error("a driver's dialogue does not end")
