"""Secrets at rest: subscriber passwords, NAS secrets and credentials are stored sealed, AES-256-GCM under a key from a file.

A key file holds one key a line, ``netd-key-1 <id> <base64> <created>``; the last line seals, all open. A sealed value is version (1), key id
(4 octets), nonce (12), ciphertext and tag; ``context`` (such as ``b"subscribers.password"``) is authenticated with it, so a value moved to another
column does not open. Nonces are random: one key is good for 2**32 values (NIST SP 800-38D 8.3).
"""

import base64
import binascii
import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from struct import iter_unpack
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from netd.errors import ConfigError, Conflict, NotFound, StoreError

_FORMAT = "netd-key-1"
_VERSION = b"\x01"
_HEAD = 5  # version and key id
_NONCE = 12
_TAG = 16
_urandom = os.urandom

Opener = Callable[[bytes, bytes], bytes]
"""``Keyring.open``, or what stands in for it: (sealed, context) -> plain."""


class _Line(NamedTuple):
    id: str
    key: bytes

    def __repr__(self) -> str:
        return f"_Line(id={self.id!r})"


class Keyring:
    """The keys of one file. Sealing and opening do no I/O; ``rotate``, ``forget`` and ``reload`` do, and change this keyring in place."""

    __slots__ = ("_ids", "_keys", "_path", "_sealing")

    _ids: tuple[str, ...]
    _keys: Mapping[bytes, AESGCM]  # by version and key id, as sealed values begin
    _sealing: tuple[bytes, AESGCM]

    def __init__(self, path: Path) -> None:
        """Load the keys of ``path``. ConfigError if there are none, one is malformed, or the file can be read by others than its owner."""
        self._path = path
        self.reload()

    @classmethod
    def load_or_create(cls, path: Path) -> "Keyring":
        """Load the keys, or begin the file (0600) with one key if there is none. ConfigError as for loading."""
        with _faults(path):
            if not path.exists():
                _write(path, _new_line(()), new=True)
        return cls(path)

    def reload(self) -> None:
        """Read the file again, after another process rotated it. On ConfigError the keys stay as they were."""
        lines = _parse(self._path, _read(self._path))
        self._keys = {_VERSION + bytes.fromhex(line.id): AESGCM(line.key) for line in lines}
        self._ids = tuple(line.id for line in lines)
        head = _VERSION + bytes.fromhex(lines[-1].id)
        self._sealing = head, self._keys[head]  # in one step, after the keys that open: another thread may be sealing

    @property
    def current_id(self) -> str:
        """The id of the key that seals, 8 hex digits."""
        return self._ids[-1]

    @property
    def ids(self) -> tuple[str, ...]:
        """All key ids, oldest first."""
        return self._ids

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """Encrypt under the newest key; 33 octets longer than ``plain``."""
        head, key = self._sealing
        nonce = _urandom(_NONCE)
        return head + nonce + key.encrypt(nonce, plain, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Decrypt; StoreError if the key is not here, or if the value was altered or sealed for another context."""
        key = self._keys.get(sealed[:_HEAD])
        if key is None or len(sealed) < _HEAD + _NONCE + _TAG:
            raise StoreError(f"a sealed value of {context.decode('ascii', 'replace')} needs key {self.key_id(sealed)}, which is not in {self._path}")
        try:
            return key.decrypt(sealed[_HEAD : _HEAD + _NONCE], sealed[_HEAD + _NONCE :], context)
        except InvalidTag:
            pass
        raise StoreError(
            f"a sealed value of {context.decode('ascii', 'replace')} does not open with key {self.key_id(sealed)}: altered, or sealed for something else"
        )

    def reseal(self, sealed: bytes, context: bytes) -> bytes:
        """Return the value sealed under the newest key; the same object if it is already. StoreError as for opening."""
        if sealed.startswith(self._sealing[0]):
            return sealed
        return self.seal(self.open(sealed, context), context)

    def key_id(self, sealed: bytes) -> str:
        """Tell which key a value was sealed with. StoreError if it was not sealed by netd at all."""
        if len(sealed) < _HEAD + _NONCE + _TAG or not sealed.startswith(_VERSION):
            raise StoreError("a value that should be sealed is not: too short, or of an unknown version")
        return sealed[1:_HEAD].hex()

    def rotate(self) -> str:
        """Add a key to the file and seal with it from now on; returns its id. What was sealed before still opens."""
        key_id = add_key(self._path)
        self.reload()
        return key_id

    def forget(self, key_id: str) -> None:
        """Take an old key out of the file and this keyring: what is still sealed with it is lost for good."""
        forget(self._path, key_id)
        self.reload()

    def __repr__(self) -> str:
        return f"Keyring(current_id={self.current_id!r}, ids={self._ids!r})"


def add_key(path: Path) -> str:
    """Append a new key to the file, atomically; returns its id. It seals once the keyring is loaded again."""
    with _faults(path), _locked(path):
        text = _read(path)
        line = _new_line([known.id for known in _parse(path, text)])
        _write(path, (text if text.endswith("\n") else text + "\n") + line)
    return line.split()[1]


def forget(path: Path, key_id: str) -> None:
    """Take a key out of the file, atomically. NotFound if it is not there, Conflict if it is the one that seals."""
    with _faults(path), _locked(path):
        text = _read(path)
        ids = [line.id for line in _parse(path, text)]
        if key_id not in ids:
            raise NotFound("key", key_id)
        if key_id == ids[-1]:
            raise Conflict(f"key {key_id} is the one that seals; add another first")
        _write(path, "".join(line for line in text.splitlines(keepends=True) if line.split()[:2] != [_FORMAT, key_id]))


def _new_line(taken: Sequence[str]) -> str:
    key_id = _urandom(4).hex()
    while key_id in taken:
        key_id = _urandom(4).hex()
    key = base64.b64encode(AESGCM.generate_key(256)).decode()
    return f"{_FORMAT} {key_id} {key} {datetime.now(UTC).isoformat(timespec='seconds')}\n"


def _parse(path: Path, text: str) -> list[_Line]:
    """Read the key lines; blank ones and ``#`` are passed over. Faults name the line, never what stands in it."""
    lines: list[_Line] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split()
        place = f"line {number}"
        if len(fields) != 4 or fields[0] != _FORMAT:
            raise ConfigError(str(path), place, f"not of the form {_FORMAT} <id> <base64> <created>")
        try:
            key = base64.b64decode(fields[2], validate=True)
            datetime.fromisoformat(fields[3])
            head = bytes.fromhex(fields[1])
        except (binascii.Error, ValueError):
            key = head = b""
        if len(key) != 32 or head.hex() != fields[1] or len(head) != 4:
            raise ConfigError(str(path), place, "the id is not 8 hex digits, the key not 32 octets in base64, or the date not ISO 8601")
        if any(fields[1] == known.id for known in lines):
            raise ConfigError(str(path), place, f"key {fields[1]} stands there twice")
        lines.append(_Line(fields[1], key))
    if not lines:
        raise ConfigError(str(path), "", "holds no key")
    return lines


def _read(path: Path) -> str:
    with _faults(path), path.open("rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(str(path), "", "is not a regular file")
        if _exposed(file.fileno(), status.st_mode):
            raise ConfigError(str(path), "", f"can be read or written by others than its owner (mode {status.st_mode & 0o777:04o}); chmod 600 it")
        try:
            return file.read().decode("ascii")
        except UnicodeDecodeError:
            raise ConfigError(str(path), "", "is not a key file") from None


def _exposed(descriptor: int, mode: int) -> bool:
    """Tell whether anybody but the owner and this process's user has access.

    systemd hands credentials over with an ACL for the service's user; the mode's group bits are then the ACL's mask, not a right of the group.
    """
    if mode & 0o007 or not mode & 0o070:
        return bool(mode & 0o007)
    try:
        acl = os.getxattr(descriptor, "system.posix_acl_access")
    except OSError:
        return True
    user, group_owner, group = 0x02, 0x04, 0x08
    entries = [(tag, who) for tag, rights, who in iter_unpack("<HHI", acl[4:]) if rights]
    return any(tag in (group_owner, group) or (tag == user and who != os.geteuid()) for tag, who in entries)


def _write(path: Path, text: str, *, new: bool = False) -> None:
    """Put ``text`` in the place of the file such that a crash leaves the old or the new one; owner kept, mode 0600.

    ``new``: only if there is no file yet; one that another process made in the meantime stays.
    """
    path = path.resolve()
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # O_EXCL, 0600
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            if not new:
                owner = path.stat()
                os.fchown(descriptor, owner.st_uid, owner.st_gid)  # root rotating the daemon's keys must not lock it out
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        if new:
            with suppress(FileExistsError):
                path.hardlink_to(temporary)
        else:
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes from changing the file meanwhile: a key that is overwritten takes all it sealed with it."""
    while True:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):  # else it was replaced while this waited
                yield
                return


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(str(path), "", error.strerror or type(error).__name__) from error
