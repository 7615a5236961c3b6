"""Command lines: OpenSSH with a plain shell, FRRouting's vtysh as a router that nobody here wrote, Debian's Telnet server, and devices made up here."""

import asyncio
import contextlib
import logging
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import asyncssh
import msgspec
import pytest

from netd.device import cli, ssh
from netd.device.cli import CliLimits, CliTransport
from netd.device.ssh import HostKeyChanged, fingerprint
from netd.errors import PeerError, PeerUnreachable
from netd.model.device import Outcome
from netd.sdk.dialogue import Answer, Command, Dialogue, Note, Pause, Reconnect, say
from netd.sdk.terminal import ErrorText, Login, Refused, Terminal
from tests.device.conftest import SH, Peer, Shell, target
from tests.device.fake import Line, SshDevice, password, telnet_device, telnet_password
from tests.ports import free_port

VTYSH = Terminal(
    prompt=r"^[\w.-]+(?:\([\w-]+\))?[>#] ?",
    pager=r"^--More--|^\(END\)|^:",
    pager_answer="q",
    errors=(ErrorText(r"^% (?:Unknown|Ambiguous|Command incomplete)", Outcome.SYNTAX),),
)
OLT = Terminal(
    prompt=r"^OLT(?:\([\w-]+\))?[>#]",
    newline="\n",
    pager=r"---- More ----",
    question=r"\{[^{}\n]*\}:|\(y/n\)\[[yn]\]:",
    answers=(Answer(r"\{ <cr>[^{}\n]*\}:", ""),),
    errors=(ErrorText(r"^% Unknown", Outcome.SYNTAX), ErrorText(r"^Failure: System is busy", Outcome.BUSY), ErrorText(r"^No entries", Outcome.EMPTY)),
    login=Login(busy=("Reenter times have reached",), busy_seconds=0.01, questions=(Answer(r"license\? \[Y/n\]:", "n"),)),
    idle_timeout_seconds=60,
)
QUICK = CliLimits(cleanup_seconds=60, settle_seconds=0.02, poll_seconds=0.02)
BRIEF = CliLimits(cleanup_seconds=0.3, settle_seconds=0.02, poll_seconds=0.02)
"""Where the device does not let itself be cleaned up."""


async def olt(line: Line) -> None:
    """An OLT as OLT says, whose every command is in ``typed``."""
    line.write("Welcome\r\nOLT#")
    mode = ""
    while (text := await line.line()) not in ("quit", "reboot"):
        match text:
            case "config":
                mode = "(config)"
            case "return":
                mode = ""
            case "save":
                line.write("{ <cr>|configuration<K>|data<K> }:")
                await line.line()
                line.write("saving\r\n")
            case "delete":
                line.write("Are you sure? (y/n)[n]:")
                line.write("deleted\r\n" if await line.line() == "y" else "kept\r\n")
            case "hang":
                await asyncio.Event().wait()
            case "slow":
                await asyncio.sleep(0.2)
                line.write("slow\r\n")
            case "unknown":
                line.write("% Unknown command\r\n")
            case "none":
                line.write("No entries\r\n")
            case "flood":
                with contextlib.suppress(BrokenPipeError):
                    while True:
                        line.write("x" * 4000 + "\r\n")
                        await asyncio.sleep(0)
            case "reset":
                line.reset()
            case text if text.startswith("enable "):
                line.write(f"% Unknown password {text[7:]}\r\n")
            case _:
                line.write(f"did {text}\r\n")
        line.write(f"OLT{mode}#")


@contextlib.asynccontextmanager
async def session(device: Callable[[Line], Any] = olt, terminal: Terminal = OLT, limits: CliLimits = QUICK, **more: Any) -> Any:
    async with SshDevice(device) as server, CliTransport(limits).session(target((password(), server.port), **more), Shell(terminal, leave="quit")) as made:
        yield made


async def test_a_shell(bourne: Peer) -> None:
    transport = CliTransport()
    async with transport.session(target((bourne.login(), bourne.port)), Shell(SH)) as made:
        assert made.credential is not None and made.credential.name == "c1" and made.protocol == "ssh" and made.host_key == bourne.host_key
        assert made.banner.startswith("SSH-2.0-OpenSSH")
        assert await made.run(say("echo one; echo two")) == "one\ntwo"
        assert await made.run(say("true")) == ""
        long = "echo " + "x" * 3000
        assert await made.run(say(long)) == "x" * 3000
        assert len(await made.run(say("seq 1 200000"))) == 1288894
    assert transport.commands == {"ok": 4 + 1} and transport.sessions == {("ssh", "ok"): 1}


async def test_commands_on_channels_of_their_own(bourne: Peer) -> None:
    terminal = Terminal(prompt=r"^lab# ", exec_channel=True)
    async with CliTransport().session(target((bourne.login(), bourne.port)), Shell(terminal, leave="true")) as made:
        assert await made.run(say("seq 1 3")) == "1\n2\n3"
        assert len(await made.run(say("seq 1 200000"))) == 1288894
        with pytest.raises(PeerUnreachable, match="no word for") as failure:
            await made.run(say("sleep 5", timeout_seconds=0.2))
        assert failure.value.reason == "timeout" and await made.run(say("echo on")) == "on"


async def test_vtysh(frr: Peer) -> None:
    async with CliTransport().session(target((frr.login(), frr.port)), Shell(VTYSH, ("terminal length 0",))) as made:
        assert "FRRouting" in await made.run(say("show version"))
        await made.run(say("configure terminal"))
        await made.run(say("hostname edge"))
        with pytest.raises(Refused) as refused:
            await made.run(say("no such thing"))
        assert refused.value.outcome is Outcome.SYNTAX and refused.value.said == "% Unknown command: no such thing"
        await made.run(say("end"))
        shown = await made.run(say("show running-config"))
        assert "hostname edge" in shown and shown.endswith("end") and shown.startswith("Building configuration...")


async def test_debians_telnet_server(require_peer: Callable[[str], str], tmp_path: Any) -> None:
    """telnetd speaks to its standard input, which a socket of ours becomes; its login program is a script, so that no account is needed."""
    program = require_peer("/usr/sbin/telnetd")
    login = tmp_path / "login"
    login.write_text('#!/bin/sh\nprintf "lab login: "; read name; printf "Password: "; stty -echo; read word; stty echo; echo\n'
                     '[ "$name $word" = "netd right" ] || { echo "Login incorrect"; exit 1; }\nPS1="lab# " exec sh -i\n')  # fmt: skip
    login.chmod(0o755)

    with _inetd((program, "-h", "-E", str(login))) as port:
        transport = CliTransport()
        async with transport.session(target((telnet_password(word="wrong"), port), (telnet_password(), port)), Shell(SH)) as made:
            assert made.protocol == "telnet" and made.credential is not None and made.credential.name == "c2"
            assert await made.run(say("echo one; echo two")) == "one\ntwo"
            assert len(await made.run(say("seq 1 20000"))) == 108893
        assert transport.sessions == {("telnet", "credentials"): 1, ("telnet", "ok"): 1}


@contextlib.contextmanager
def _inetd(command: Sequence[str]) -> Iterator[int]:
    """Starts a program for each connection, with it as standard input and output; yields the port."""
    started: list[subprocess.Popen[bytes]] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):  # the listener is closed
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        started.append(subprocess.Popen(command, stdin=connection.fileno(), stdout=connection.fileno(), stderr=subprocess.DEVNULL))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(60)
    for process in started:
        process.terminate()
        process.wait(60)


async def test_questions_and_errors() -> None:
    async with session() as made:
        assert await made.run(say("save")) == "{ <cr>|configuration<K>|data<K> }:\nsaving"
        assert (await made.run(say("delete", Answer(r"\(y/n\)\[n\]:", "y")))).endswith("deleted")
        assert await made.run(say("none")) == "No entries"
        assert await made.run(say("unknown", check=False)) == "% Unknown command"
        with pytest.raises(Refused, match="lab: unknown: % Unknown command") as refused:
            await made.run(say("unknown"))
        assert refused.value.outcome is Outcome.SYNTAX


async def test_a_question_that_nobody_can_answer_ends_the_session() -> None:
    async with session() as made:
        with pytest.raises(PeerError, match=r"delete asks what nobody answers: Are you sure\? \(y/n\)\[n\]:"):
            await made.run(say("delete"))
        with pytest.raises(PeerError, match="waits for an answer"):  # nothing is typed into it
            await made.run(say("config"))


async def test_secrets_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    notes: list[str] = []
    async with SshDevice(olt) as server:
        transport = CliTransport(BRIEF)
        async with transport.session(target((password(), server.port)), Shell(OLT, leave="quit"), note=notes.append) as made:
            with pytest.raises(Refused) as refused:
                await made.run(say("enable s3cret", secret=True))
            with pytest.raises(PeerUnreachable) as lost:
                await made.run(say("hang", secret=True, timeout_seconds=0.05))
    told = f"{refused.value} {refused.value.said} {lost.value} {notes} {caplog.text} {made!r} {vars(made)}"
    assert "s3cret" not in told and "right" not in told and "<secret>" in str(refused.value)


async def test_credentials_in_order_and_who_is_refused() -> None:
    transport = CliTransport(QUICK)
    async with SshDevice(olt) as server:
        port = server.port
        async with transport.session(target((password("a", "wrong"), port), (password("b"), port), (password("c"), port)), Shell(OLT)) as made:
            assert made.credential is not None and made.credential.name == "c2"
        assert server.seen == ["a:wrong", "b:right"]
        with pytest.raises(PeerUnreachable, match="refuses c1") as failure:
            async with transport.session(target((password("a", "wrong"), port)), Shell(OLT)):
                pytest.fail("it was let in")
        assert failure.value.reason == "credentials"
    assert transport.sessions == {("ssh", "credentials"): 2, ("ssh", "ok"): 1}


async def test_host_keys_are_pinned_and_a_change_is_refused_before_the_password_is_sent() -> None:
    async with SshDevice(olt) as server, SshDevice(olt, key=server.key) as same, SshDevice(olt) as other:
        pinned = {"host_keys": (server.host_key,)}
        async with CliTransport(QUICK).session(target((password(), same.port), **pinned), Shell(OLT, leave="quit")) as made:
            assert made.host_key == server.host_key
        with pytest.raises(HostKeyChanged) as failure:
            async with CliTransport(QUICK).session(target((password(), other.port), (telnet_password(), free_port()), **pinned), Shell(OLT)):
                pytest.fail("it was let in")
        assert fingerprint(server.host_key) in str(failure.value) and fingerprint(other.host_key) in str(failure.value)
        assert failure.value.reason == "host_key" and other.seen == []


async def test_the_pinned_one_of_several_keys_is_asked_for() -> None:
    rsa = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    pinned = " ".join(rsa.export_public_key("openssh").decode().split()[:2])
    server = await asyncssh.create_server(asyncssh.SSHServer, "127.0.0.1", 0, server_host_keys=[asyncssh.generate_private_key("ssh-ed25519"), rsa])
    async with server:
        with pytest.raises(PeerUnreachable) as failure:  # nobody is let in there, but it came to the password
            async with CliTransport(QUICK).session(target((password(), server.get_port()), host_keys=(pinned,)), Shell(OLT)):
                pytest.fail("it was let in")
        assert failure.value.reason != "host_key"


LEGACY: dict[str, dict[str, Any]] = {
    "group1": {"kex_algs": ["diffie-hellman-group1-sha1"]},
    "cbc": {"encryption_algs": ["aes128-cbc", "3des-cbc"]},
    "md5": {"mac_algs": ["hmac-md5"], "encryption_algs": ["aes128-ctr"]},
}  # fmt: skip


@pytest.mark.parametrize("only", LEGACY)
async def test_old_algorithms_only_where_somebody_said_so(only: str) -> None:
    async with SshDevice(olt, **LEGACY[only]) as server:
        with pytest.raises(PeerUnreachable, match="allow legacy algorithms") as failure:
            async with CliTransport(QUICK).session(target((password(), server.port)), Shell(OLT)):
                pytest.fail("it was let in")
        assert failure.value.reason == "protocol" and server.seen == []
        async with CliTransport(QUICK).session(target((password(), server.port), legacy_algorithms=True), Shell(OLT, leave="quit")) as made:
            assert await made.run(say("x")) == "did x"


async def test_dss_host_keys_only_where_somebody_said_so() -> None:
    async with SshDevice(olt, key=asyncssh.generate_private_key("ssh-dss")) as server:
        with pytest.raises(PeerUnreachable, match="allow legacy algorithms"):
            async with CliTransport(QUICK).session(target((password(), server.port)), Shell(OLT)):
                pytest.fail("it was let in")
        async with CliTransport(QUICK).session(target((password(), server.port), legacy_algorithms=True), Shell(OLT, leave="quit")) as made:
            assert made.host_key.startswith("ssh-dss ")


class Careful(Shell):
    """Leaves the configuration mode whatever happens."""

    def change(self, text: str) -> Dialogue[str]:
        yield Command(text="config")
        try:
            return (yield Command(text=text, timeout_seconds=60))
        finally:
            yield Command(text="return")


async def test_a_step_that_fails_is_thrown_into_the_driver_who_cleans_up() -> None:
    typed: list[str] = []

    async def device(line: Line) -> None:
        line.typed = typed
        await olt(line)

    async with SshDevice(device) as server:
        driver = Careful(OLT, leave="quit")
        async with CliTransport(QUICK).session(target((password(), server.port)), driver) as made:
            with pytest.raises(Refused):
                await made.run(driver.change("unknown"))
            assert typed == ["config", "unknown", "return"]
            assert await made.run(driver.change("x")) == "did x"


async def test_a_cancelled_dialogue_still_leaves_its_mode() -> None:
    typed: list[str] = []
    begun = asyncio.Event()

    async def device(line: Line) -> None:
        line.typed = typed
        line.write("OLT#")
        while (text := await line.line()) != "quit":
            if text == "slow":
                begun.set()
                await asyncio.sleep(0.1)
            line.write("OLT#")

    async with SshDevice(device) as server:
        driver = Careful(OLT, leave="quit")

        async def work() -> None:
            async with CliTransport(QUICK).session(target((password(), server.port)), driver) as made:
                await made.run(driver.change("slow"))

        task = asyncio.create_task(work())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert typed == ["config", "slow", "return", "quit"], "first what was asked for ends, then the cleanup, then the session"


async def test_cleaning_up_is_bounded() -> None:
    hung = asyncio.Event()

    async def device(line: Line) -> None:
        line.write("OLT#")
        await line.line()
        line.write("OLT#")
        await line.line()
        hung.set()
        await asyncio.Event().wait()

    async with SshDevice(device) as server:
        driver = Careful(OLT)
        limits = CliLimits(cleanup_seconds=0.1, settle_seconds=0.02)

        async def work() -> None:
            async with CliTransport(limits).session(target((password(), server.port)), driver) as made:
                await made.run(driver.change("x"))

        task = asyncio.create_task(work())
        await hung.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 30)


async def test_a_session_quota_is_waited_for() -> None:
    tries = 0

    async def device(line: Line) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            line.write("\r\nReenter times have reached the upper limit.\r\n")
            return
        await olt(line)

    notes: list[str] = []
    async with SshDevice(device) as server:
        async with CliTransport(QUICK).session(target((password(), server.port)), Shell(OLT, leave="quit"), note=notes.append) as made:
            assert await made.run(say("x")) == "did x"
        assert tries == 3 and len(notes) == 2
        tries = -10
        with pytest.raises(PeerUnreachable, match="no session free") as failure:
            async with CliTransport(QUICK).session(target((password(), server.port)), Shell(OLT)):
                pytest.fail("it was let in")
        assert failure.value.reason == "busy" and tries == -6


async def test_questions_at_the_login() -> None:
    async def device(line: Line) -> None:
        line.write("Do you want to see the software license? [Y/n]:")
        assert await line.line() == "n"
        await olt(line)

    async with session(device) as made:
        assert await made.run(say("x")) == "did x"


async def test_a_restart_is_waited_for() -> None:
    notes: list[str] = []
    device = SshDevice(olt)
    device.port = free_port()  # nobody else comes to have it while the device is away
    async with device as server:
        port, driver = server.port, Shell(OLT, ("prepare",), leave="quit")

        def restart() -> Dialogue[str]:
            yield Command(text="reboot", drops=True)
            yield Note(text="restarting")
            yield Reconnect(within_seconds=60, settle_seconds=0.01)
            return (yield Command(text="x"))

        async with CliTransport(QUICK).session(target((password(), port)), driver, note=notes.append) as made:
            server._server.close()
            work = asyncio.create_task(made.run(restart()))
            await asyncio.sleep(0.1)
            again = SshDevice(olt, key=server.key)
            again.port = port
            async with again:
                assert await work == "did x"
                assert "restarting" in notes and again.sessions == 1


async def test_a_restart_that_never_ends() -> None:
    device = SshDevice(olt)
    device.port = free_port()
    async with device as server:

        def restart() -> Dialogue[None]:
            yield Command(text="reboot", drops=True)
            yield Reconnect(within_seconds=0.2)

        with pytest.raises(PeerUnreachable, match=r"has not come back within 0\.2 s"):
            async with CliTransport(QUICK).session(target((password(), server.port)), Shell(OLT)) as made:
                server._server.close()
                await made.run(restart())


async def test_pause_and_note() -> None:
    def dialogue() -> Dialogue[int]:
        yield Pause(seconds=0.01)
        yield Note(text="half way")
        return 7

    notes: list[str] = []
    async with SshDevice(olt) as server, CliTransport(QUICK).session(target((password(), server.port)), Shell(OLT, leave="quit"), note=notes.append) as made:
        assert await made.run(dialogue()) == 7 and notes == ["half way"]


async def test_devices_that_hang_flood_or_break_off() -> None:
    with pytest.raises(PeerUnreachable, match=r"hang: no word for 0\.05 s") as failure:
        async with session(limits=BRIEF) as made:
            await made.run(say("hang", timeout_seconds=0.05))
    assert failure.value.reason == "timeout"
    with pytest.raises(PeerUnreachable) as failure:
        async with session() as made:
            await made.run(say("reset"))
    assert failure.value.reason == "lost"


@pytest.mark.parametrize("executes", [False, True], ids=["a shell", "a command"])
async def test_a_device_that_lets_in_and_opens_nothing(monkeypatch: pytest.MonkeyPatch, executes: bool) -> None:
    async def never(*args: Any, **options: Any) -> None:
        await asyncio.Event().wait()

    async def connects(*args: Any, **options: Any) -> ssh.SshConnection:
        made = await connect(*args, **options)
        made._timeout_seconds = 1.0  # not for the connection as well
        return made

    connect = ssh.connect
    monkeypatch.setattr(ssh, "connect", connects)
    monkeypatch.setattr(asyncssh.SSHClientConnection, "create_session", never)
    driver = Shell(msgspec.structs.replace(OLT, exec_channel=executes), leave="quit")
    async with SshDevice(olt) as device:
        with pytest.raises(PeerUnreachable, match="no channel was opened within 1 s") as failure:
            async with asyncio.timeout(60), CliTransport().session(target((password(), device.port)), driver) as session:
                await session.run(say("show"))
        assert failure.value.reason == "timeout"


async def test_telnet_with_its_login() -> None:
    async def device(line: Line) -> None:
        line.write("\r\nlab login: ")
        name = await line.line()
        line.write("Password: ")
        if (name, await line.line(echo=False)) != ("netd", "right"):
            line.write("\r\nLogin incorrect\r\nlab login: ")
            await line.line()
            return
        await olt(line)

    async with telnet_device(device, negotiates=b"\xff\xfb\x01\xff\xfd\x1f\xff\xfd\x18") as port:
        transport = CliTransport(QUICK)
        async with transport.session(target((telnet_password(word="no"), port), (telnet_password(), port)), Shell(OLT, leave="quit")) as made:
            assert await made.run(say("x")) == "did x" and made.credential is not None and made.credential.name == "c2"
        assert transport.sessions == {("telnet", "credentials"): 1, ("telnet", "ok"): 1}


async def test_a_session_that_ends_after_the_password_was_refused() -> None:
    async def device(line: Line) -> None:
        line.write("login: ")
        await line.line()
        line.write("Password: ")
        if await line.line(echo=False) == "right":
            await olt(line)

    async with telnet_device(device) as port:
        logins = target((telnet_password(word="no"), port), (telnet_password(), port))
        async with CliTransport(QUICK).session(logins, Shell(OLT, leave="quit")) as made:
            assert made.credential is not None and made.credential.name == "c2"


async def test_telnet_is_not_tried_where_a_host_key_is_pinned() -> None:
    """Who keeps SSH from answering is not to be told the password in the clear."""
    async with telnet_device(olt) as port:
        logins = target((password(), free_port()), (telnet_password(), port), host_keys=("ssh-ed25519 AAAA",))
        with pytest.raises(PeerUnreachable):
            async with CliTransport(QUICK).session(logins, Shell(OLT)):
                raise AssertionError


async def test_telnet_is_tried_where_ssh_does_not_answer() -> None:
    async with telnet_device(olt) as port:
        logins = target((password(), free_port()), (telnet_password(), port))
        async with CliTransport(QUICK).session(logins, Shell(OLT, leave="quit")) as made:
            assert made.protocol == "telnet"


async def test_a_device_without_any_login() -> None:
    with pytest.raises(PeerUnreachable, match="no login for SSH or Telnet"):
        async with CliTransport().session(target(), Shell(OLT)):
            pytest.fail("there is none")


class Nested(Careful):
    """A file that is removed within a mode that is left: two things to be done on the way out."""

    def change(self, text: str) -> Dialogue[str]:
        try:
            return (yield from super().change(text))
        finally:
            yield from say("remove")


async def test_a_cancelled_dialogue_that_cannot_clean_up_is_still_cancelled() -> None:
    hung = asyncio.Event()

    async def device(line: Line) -> None:
        line.write("OLT#")
        await line.line()
        line.write("OLT#")
        await line.line()
        hung.set()
        await asyncio.Event().wait()

    async with SshDevice(device) as server:
        driver = Nested(OLT)
        ended: list[BaseException] = []

        async def work() -> None:
            async with CliTransport(CliLimits(cleanup_seconds=0.1, settle_seconds=0.02)).session(target((password(), server.port)), driver) as made:
                try:
                    await made.run(driver.change("x"))
                except BaseException as error:
                    ended.append(error)
                    raise

        task = asyncio.create_task(work())
        await hung.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 30)
    assert [type(error) for error in ended] == [asyncio.CancelledError]


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_large_text_is_read_beside_the_loop(cancelled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a driver that takes its time; whoever cancels that meanwhile has the dialogue clean up afterwards."""
    begun, go, typed = asyncio.Event(), threading.Event(), list[str]()
    loop = asyncio.get_running_loop()

    def reads() -> Dialogue[int]:
        try:
            text = yield from say("show")
            loop.call_soon_threadsafe(begun.set)
            assert go.wait(60), "the loop was held"
            return len(text)
        finally:
            yield from say("remove")

    async def device(line: Line) -> None:
        line.typed = typed
        line.write("OLT#")
        while (text := await line.line()) != "quit":
            line.write("x" * 2000 + "\r\n" if text == "show" else "")
            line.write("OLT#")

    monkeypatch.setattr(cli, "LARGE_CHARACTERS", 1000)
    async with SshDevice(device) as server, CliTransport(QUICK).session(target((password(), server.port)), Careful(OLT, leave="quit")) as made:
        task = asyncio.create_task(made.run(reads()))
        await begun.wait()
        if cancelled:
            task.cancel()
            await asyncio.sleep(0)
        go.set()
        if cancelled:
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            assert await task == 2000
    assert typed == ["show", "remove", "quit"], "what it wanted done before it was told is done"
