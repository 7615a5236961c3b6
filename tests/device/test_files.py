"""Files by SFTP and SCP through OpenSSH, as Put and Get steps do."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from netd.device import files, ssh
from netd.device.cli import CliTransport
from netd.device.pump import Pump
from netd.errors import PeerError, PeerUnreachable
from netd.sdk.dialogue import Dialogue, Get, Put
from netd.sdk.terminal import Terminal
from tests.clock import skipping
from tests.device.conftest import FORCED, Peer, Shell, Sshd, target

EXEC = Terminal(prompt=r"^lab# ", exec_channel=True)
CONTENT = bytes(range(256)) * 2000


@pytest.fixture(params=["sftp", "scp"])
async def connection(request: pytest.FixtureRequest, sshd: Sshd) -> AsyncIterator[ssh.SshConnection]:
    peer = sshd(FORCED, sftp="/usr/lib/openssh/sftp-server" if request.param == "sftp" else "/bin/false")
    made_for = target((peer.login(), peer.port))
    made = await ssh.connect(made_for, made_for.credentials[0], Pump())
    yield made
    made.close()


async def test_there_and_back(connection: ssh.SshConnection, tmp_path: Path) -> None:
    source, notes = tmp_path / "image", list[str]()
    source.write_bytes(CONTENT)
    stored = tmp_path / "stored"
    path = str(stored)
    await files.put_file(connection, path, source, notes.append)
    assert stored.read_bytes() == CONTENT and notes
    assert await files.get(connection, path, 10 << 20) == CONTENT
    await files.put(connection, path, b"short")
    assert await files.get(connection, path, 100) == b"short"
    with pytest.raises(PeerError):
        await files.get(connection, path, 4)
    with pytest.raises(PeerError):
        await files.get(connection, str(tmp_path / "missing"), 100)
    with pytest.raises(PeerError):
        await files.put(connection, str(tmp_path / "no" / "folder"), b"x")


async def test_a_private_file_is_its_owners(connection: ssh.SshConnection, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    old.write_bytes(b"anybody's")
    old.chmod(0o644)
    for path in (new, old):
        await files.put(connection, str(path), CONTENT, private=True)
        assert path.read_bytes() == CONTENT
    assert new.stat().st_mode & 0o777 == 0o600
    if request.node.callspec.params["connection"] == "sftp":
        assert old.stat().st_mode & 0o777 == 0o600


async def test_what_goes_through_has_no_name_here(connection: ssh.SshConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(here))
    seen = []
    put_file, scp = files.put_file, asyncssh.scp

    async def puts(*args: Any, **more: Any) -> None:
        seen.append(list(here.iterdir()))
        await put_file(*args, **more)

    async def copies(*args: Any, **more: Any) -> None:
        await scp(*args, **more)
        seen.append(list(here.iterdir()))

    monkeypatch.setattr(files, "put_file", puts)
    monkeypatch.setattr(asyncssh, "scp", copies)
    await files.put(connection, str(tmp_path / "key"), CONTENT, private=True)
    assert await files.get(connection, str(tmp_path / "key"), len(CONTENT)) == CONTENT
    assert seen and not any(seen)  # whoever kills netd leaves no private key behind


async def test_steps(bourne: Peer, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(CONTENT)

    def dialogue() -> Dialogue[str]:
        yield Put(path=str(tmp_path / "a"), content=CONTENT)
        yield Put(path=str(tmp_path / "b"), image=True)
        return (yield Get(path=str(tmp_path / "a")))

    driver = Shell(EXEC, leave="true")
    async with CliTransport().session(target((bourne.login(), bourne.port)), driver, image=image) as session:
        assert (await session.run(dialogue())).encode("latin-1") == CONTENT == (tmp_path / "b").read_bytes()
    async with CliTransport().session(target((bourne.login(), bourne.port)), driver) as session:
        with pytest.raises(PeerError, match="no image in hand"):
            await session.run(dialogue())


@pytest.mark.parametrize("same", [True, False], ids=["its beginning", "another file"])
async def test_a_transfer_that_was_cut_goes_on(bourne: Peer, tmp_path: Path, same: bool) -> None:
    source, stored, notes = tmp_path / "image", tmp_path / "stored", list[str]()
    source.write_bytes(CONTENT)
    stored.write_bytes(CONTENT[:400_000] if same else b"?" * 400_000)
    made_for = target((bourne.login(), bourne.port))
    made = await ssh.connect(made_for, made_for.credentials[0], Pump())
    await files.put_file(made, str(stored), source, notes.append)
    assert stored.read_bytes() == CONTENT and any("going on at 400000" in note for note in notes) is same
    made.close()


async def test_another_size_at_the_end_is_an_error(bourne: Peer, tmp_path: Path, monkeypatch: Any) -> None:
    source = tmp_path / "image"
    source.write_bytes(CONTENT)

    async def half(source: Path, file: Any, begin: int, size: int, *more: Any) -> None:
        await file.write(CONTENT[: size // 2], 0)

    monkeypatch.setattr(files, "_copy", half)
    made_for = target((bourne.login(), bourne.port))
    made = await ssh.connect(made_for, made_for.credentials[0], Pump())
    with pytest.raises(PeerError, match="has 256000 octets on the device, not 512000"):
        await files.put_file(made, str(tmp_path / "stored"), source, lambda text: None)
    made.connection.abort()
    with pytest.raises(PeerUnreachable):
        await files.get(made, str(source), 10)


STALLS = ("sftp at once", "sftp in the middle", "scp in the middle")


@pytest.mark.parametrize("how", STALLS)
async def test_a_transfer_in_which_nothing_moves_any_more(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """The device has gone without a word: that is no reason to hold it for hours. What moves slowly is not broken off."""
    source, program = tmp_path / "image", tmp_path / "scp"
    source.write_bytes(CONTENT)
    octets = 0 if how == "sftp at once" else 300_000
    for path, command in ((tmp_path / "sftp", "/usr/lib/openssh/sftp-server"), (program, '/usr/bin/scp "$@"')):
        path.write_text(f"#!/bin/sh\n(head -c {octets}; sleep 20) | {command}\n")
        path.chmod(0o755)
    forced = FORCED.replace("exec sh -c", f"PATH={tmp_path}:$PATH exec sh -c")
    peer = sshd(forced, sftp=str(tmp_path / "sftp") if how.startswith("sftp") else "/bin/false")
    made_for = target((peer.login(), peer.port))
    made = await ssh.connect(made_for, made_for.credentials[0], Pump())
    monkeypatch.setattr(files, "STALL_SECONDS", 0.7)
    with pytest.raises(PeerUnreachable, match=r"nothing moved for 0\.7 s") as failure:
        await files.put_file(made, str(tmp_path / "stored"), source, lambda text: None)
    assert failure.value.reason == "timeout" and made.connection.is_closed()


async def test_a_slow_transfer_is_let_go_on(bourne: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, stored = tmp_path / "image", tmp_path / "stored"
    source.write_bytes(CONTENT * 4)
    whole = asyncssh.SFTPClientFile.write
    made_for = target((bourne.login(), bourne.port))
    made = await ssh.connect(made_for, made_for.credentials[0], Pump())
    with skipping() as clock:

        async def written(self: Any, *args: Any) -> Any:
            clock.skip(0.6 * files.STALL_SECONDS)
            return await whole(self, *args)

        monkeypatch.setattr(asyncssh.SFTPClientFile, "write", written)
        begun = asyncio.get_running_loop().time()
        await files.put_file(made, str(stored), source, lambda text: None)
        assert asyncio.get_running_loop().time() - begun > 2 * files.STALL_SECONDS
    assert stored.read_bytes() == CONTENT * 4
    made.close()
