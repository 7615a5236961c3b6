import asyncio
import os
import socket
import time

import pytest

from netd.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path, monkeypatch):
    """The service manager's end: (its name in NOTIFY_SOCKET, its socket)."""
    monkeypatch.chdir(tmp_path)  # a path may have 107 octets only
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        name = f"/proc/self/cwd/{request.param}" if request.param == "path" else f"@netd-test-{os.getpid()}"
        receiver.bind(name.replace("@", "\0"))
        receiver.setblocking(False)
        yield name, receiver


def said(receiver: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(receiver.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_messages(manager):
    name, receiver = manager
    environ = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid()), "PATH": "/bin"}
    notifier = Notifier.from_environment(environ)
    assert environ == {"PATH": "/bin"}
    assert notifier.enabled and notifier.watchdog_seconds == 10
    assert notifier.ready("serving\n2 addresses") and notifier.watchdog() and notifier.extend_timeout(60) and notifier.stopping()
    assert said(receiver) == ["READY=1\nSTATUS=serving 2 addresses", "WATCHDOG=1", "EXTEND_TIMEOUT_USEC=60000000", "STOPPING=1"]
    notifier.close()
    assert not notifier.ready()


def test_without_a_manager_nothing_happens():
    notifier = Notifier.from_environment({})
    assert not notifier.enabled
    assert not (notifier.ready() or notifier.stopping() or notifier.watchdog())
    notifier.close()


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [("500000", "", 0.5), ("500000", "1", None), ("0", "", None), ("soon", "", None), ("", "", None), ("500000", "own", 0.5)],
)
def test_whom_the_watchdog_is_for(usec, pid, seconds):
    pid = str(os.getpid()) if pid == "own" else pid
    assert Notifier.from_environment({"WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}).watchdog_seconds == seconds


async def test_watch_beats_twice_an_interval_while_alive(manager):
    name, receiver = manager
    notifier = Notifier(name, watchdog_seconds=0.1)
    healthy = True
    task = asyncio.create_task(notifier.watch(lambda: healthy))
    began = time.monotonic()
    beats: list[str] = []
    async with asyncio.timeout(30):
        while len(beats) < 4:
            await asyncio.sleep(0.02)
            beats += said(receiver)
    assert set(beats) == {"WATCHDOG=1"}
    assert len(beats) <= (time.monotonic() - began) / 0.05 + 1
    healthy = False
    await asyncio.sleep(0.12)
    said(receiver)
    await asyncio.sleep(0.12)
    assert said(receiver) == []
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    notifier.close()


async def test_watch_ends_where_nobody_watches(manager):
    await asyncio.wait_for(Notifier().watch(), 20)
    await asyncio.wait_for(Notifier(manager[0]).watch(), 20)


def test_a_manager_that_does_not_answer_is_reported_once(tmp_path, caplog):
    notifier = Notifier(str(tmp_path / "gone"), watchdog_seconds=1)
    assert not notifier.ready() and not notifier.watchdog()
    assert [record.message for record in caplog.records] == ["the service manager cannot be notified"]
    notifier.close()


def test_a_full_queue_holds_nobody_up(manager):
    name, receiver = manager
    notifier = Notifier(name)
    while notifier.watchdog():
        pass
    assert not notifier.watchdog()
    said(receiver)
    assert notifier.watchdog()
    notifier.close()


def test_an_unknown_kind_of_socket_is_reported(caplog):
    assert not Notifier("vsock:2:1234").enabled
    assert "cannot address" in caplog.text
