"""The keyring: what is sealed opens with its key and context only; the key file is private and never half written."""

import collections
import os
import struct
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netd import keyring
from netd.errors import ConfigError, Conflict, NotFound, StoreError
from netd.keyring import Keyring

PASSWORD = b"subscribers.password"
SECRET = b"nas.secret"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "secret.key"


@pytest.fixture
def ring(path):
    return Keyring.load_or_create(path)


# Sealing and opening


@given(plain=st.binary(max_size=300), context=st.binary(max_size=40))
@settings(deadline=None, max_examples=100)
def test_there_and_back(tmp_path_factory, plain, context):
    ring = Keyring.load_or_create(tmp_path_factory.getbasetemp() / "one.key")
    sealed = ring.seal(plain, context)
    assert len(sealed) == len(plain) + 33
    assert ring.open(sealed, context) == plain
    assert ring.key_id(sealed) == ring.current_id


def test_equal_secrets_are_sealed_differently(ring):
    assert len({ring.seal(b"same", PASSWORD) for _ in range(1000)}) == 1000


def test_another_context_does_not_open(ring):
    with pytest.raises(StoreError, match=r"nas\.secret does not open"):
        ring.open(ring.seal(b"hunter2", PASSWORD), SECRET)


def test_every_octet_is_protected(ring):
    sealed = ring.seal(b"hunter2", PASSWORD)
    for at in range(len(sealed)):
        altered = bytearray(sealed)
        altered[at] ^= 1
        with pytest.raises(StoreError):
            ring.open(bytes(altered), PASSWORD)
    for length in range(len(sealed)):
        with pytest.raises(StoreError):
            ring.open(sealed[:length], PASSWORD)


@given(st.binary(max_size=80))
@settings(deadline=None, max_examples=200)
def test_octets_of_any_kind_raise_store_error_only(tmp_path_factory, octets):
    ring = Keyring.load_or_create(tmp_path_factory.getbasetemp() / "one.key")
    for sealed in (octets, bytes((1,)) + bytes.fromhex(ring.current_id) + octets):
        with pytest.raises(StoreError):
            ring.open(sealed, PASSWORD)


def test_a_key_that_is_not_here_is_named(ring, tmp_path):
    other = Keyring.load_or_create(tmp_path / "other.key")
    with pytest.raises(StoreError, match=other.current_id):
        ring.open(other.seal(b"hunter2", PASSWORD), PASSWORD)


def test_what_is_not_sealed_at_all(ring):
    with pytest.raises(StoreError, match="should be sealed is not"):
        ring.open(b"hunter2", PASSWORD)


def test_nothing_secret_is_shown(ring, path):
    key = path.read_text().split()[2]
    sealed = ring.seal(b"hunter2", PASSWORD)
    shown = [repr(ring), str(ring), repr(keyring._parse(path, path.read_text()))]
    for octets, context in ((sealed, SECRET), (b"hunter2" * 9, PASSWORD), (b"\x01" + b"hunter2" * 9, PASSWORD)):
        with pytest.raises(StoreError) as caught:
            ring.open(octets, context)
        shown.append(str(caught.value))
        assert caught.value.__cause__ is None and caught.value.__context__ is None
    assert ring.current_id in shown[0]
    assert not any("hunter2" in text or key in text for text in shown)


# Rotation


def test_rotation(ring, path):
    first, old = ring.current_id, ring.seal(b"hunter2", PASSWORD)
    second = ring.rotate()
    assert second != first and ring.ids == (first, second) and ring.current_id == second
    assert ring.open(old, PASSWORD) == b"hunter2"
    new = ring.reseal(old, PASSWORD)
    assert ring.key_id(new) == second and ring.open(new, PASSWORD) == b"hunter2"
    assert ring.reseal(new, PASSWORD) is new
    ring.forget(first)
    assert ring.ids == (second,) and Keyring(path).ids == (second,)
    assert ring.open(new, PASSWORD) == b"hunter2"
    with pytest.raises(StoreError, match=first):
        ring.open(old, PASSWORD)


def test_sealing_while_another_thread_rotates(ring):
    """A value under the new key with the old key's id would be lost."""
    sealed: collections.deque[bytes] = collections.deque(maxlen=20_000)  # a disk may take its time for a rotation
    at_it = threading.Event()

    def rotate():
        at_it.wait()
        for _ in range(10):
            ring.rotate()

    rotation = threading.Thread(target=rotate)
    rotation.start()
    sealed.append(ring.seal(b"hunter2", PASSWORD))
    at_it.set()
    while rotation.is_alive():
        sealed.append(ring.seal(b"hunter2", PASSWORD))
    assert {ring.open(value, PASSWORD) for value in sealed} == {b"hunter2"}


def test_reseal_needs_the_right_context(ring):
    old = ring.seal(b"hunter2", PASSWORD)
    ring.rotate()
    with pytest.raises(StoreError):
        ring.reseal(old, SECRET)


def test_another_process_rotates(ring, path):
    added = keyring.add_key(path)
    sealed = Keyring(path).seal(b"hunter2", PASSWORD)
    with pytest.raises(StoreError, match=added):
        ring.open(sealed, PASSWORD)
    ring.reload()
    assert ring.current_id == added and ring.open(sealed, PASSWORD) == b"hunter2"


def test_a_broken_file_leaves_the_loaded_keys(ring, path):
    sealed = ring.seal(b"hunter2", PASSWORD)
    path.write_text("nonsense\n")
    with pytest.raises(ConfigError):
        ring.reload()
    assert ring.open(sealed, PASSWORD) == b"hunter2"


def test_forgetting_what_must_stay(ring, path):
    with pytest.raises(Conflict, match="the one that seals"):
        ring.forget(ring.current_id)
    with pytest.raises(NotFound):
        keyring.forget(path, "00000000")
    assert Keyring(path).ids == ring.ids


def test_comments_stay(ring, path):
    path.write_text("# kept in the safe, 2nd drawer\n\n" + path.read_text().rstrip("\n"))
    first = ring.current_id
    ring.rotate()
    ring.forget(first)
    assert path.read_text().startswith("# kept in the safe, 2nd drawer\n\nnetd-key-1 ")


# The file


def test_file_format(ring, path):
    form, key_id, key, created = path.read_text().split()
    assert (form, key_id, len(key)) == ("netd-key-1", ring.current_id, 44) and created.endswith("+00:00")
    assert path.stat().st_mode & 0o777 == 0o600
    ring.rotate()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["secret.key"]


def test_an_existing_file_is_kept(ring, path):
    before = path.read_bytes()
    assert Keyring.load_or_create(path).ids == ring.ids and path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o644, 0o777])
def test_a_file_for_others_is_refused(ring, path, mode):
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"secret.key.*mode 0{mode:o}"):
        Keyring(path)
    with pytest.raises(ConfigError):
        keyring.add_key(path)


def acl(*entries):
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("named_user", "group_rights", "refused"),
    [(os.geteuid(), 0, False), (os.geteuid(), 4, True), (os.geteuid() + 1, 0, True)],
)
def test_an_acl_for_this_user_is_let_pass(ring, path, named_user, group_rights, refused):
    """As systemd makes for a service's credentials: the mode then reads 0640 though the group has no right."""
    try:
        os.setxattr(path, "system.posix_acl_access", acl((1, 6, NOBODY), (2, 4, named_user), (4, group_rights, NOBODY), (16, 4, NOBODY), (32, 0, NOBODY)))
    except OSError as error:
        pytest.skip(f"no ACLs on this file system: {error}")
    assert path.stat().st_mode & 0o777 == 0o640
    if refused:
        with pytest.raises(ConfigError, match="others than its owner"):
            Keyring(path)
    else:
        assert Keyring(path).ids == ring.ids


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "holds no key"),
        ("# only this\n", "holds no key"),
        ("netd-key-2 0a0b0c0d {key} 2025-01-01T00:00:00+00:00\n", "line 1"),
        ("\nnetd-key-1 0a0b0c0d {key}\n", "line 2"),
        ("netd-key-1 0a0b0c {key} 2025-01-01T00:00:00+00:00\n", "line 1"),
        ("netd-key-1 0A0B0C0D {key} 2025-01-01T00:00:00+00:00\n", "line 1"),
        ("netd-key-1 0a0b0c0g {key} 2025-01-01T00:00:00+00:00\n", "line 1"),
        ("netd-key-1 0a0b0c0d {key}AAAA 2025-01-01T00:00:00+00:00\n", "line 1"),
        ("netd-key-1 0a0b0c0d ?{key} 2025-01-01T00:00:00+00:00\n", "line 1"),
        ("netd-key-1 0a0b0c0d {key} yesterday\n", "line 1"),
        ("netd-key-1 0a0b0c0d {key} 2025-01-01\nnetd-key-1 0a0b0c0d {key} 2025-01-01\n", "line 2: key 0a0b0c0d stands there twice"),
        ("schlüssel", "not a key file"),
    ],
)
def test_malformed_files(path, text, place):
    key = "A" * 43 + "="
    path.write_text(text.format(key=key))
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=place) as caught:
        Keyring.load_or_create(path)
    assert str(path) in str(caught.value) and key not in str(caught.value)


def test_what_is_no_file(tmp_path):
    for place in (tmp_path, tmp_path / "missing" / "secret.key"):
        with pytest.raises(ConfigError, match=str(place)):
            Keyring.load_or_create(place)
    with pytest.raises(ConfigError, match="No such file"):
        Keyring(tmp_path / "secret.key")


def test_a_failed_write_leaves_the_old_file(ring, path, monkeypatch):
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left"):
        ring.rotate()
    assert path.read_bytes() == before and [entry.name for entry in path.parent.iterdir()] == ["secret.key"]


def test_rotations_at_once_lose_no_key(path, ring):
    """Threads open their own descriptors, so the lock parts them as it parts processes."""
    added = []
    threads = [threading.Thread(target=lambda: added.append(keyring.add_key(path))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(added) == 12 and set(Keyring(path).ids) == {ring.current_id, *added}


def test_processes_that_begin_at_once_agree(path):
    code = "import sys, pathlib; from netd.keyring import Keyring; print(Keyring.load_or_create(pathlib.Path(sys.argv[1])).current_id)"
    started = [subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({process.communicate(timeout=120)[0] for process in started}) == 1
    assert all(process.returncode == 0 for process in started)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_leaves_the_file_to_its_owner(ring, path):
    os.chown(path, 12345, 12345)
    ring.rotate()
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12345)
