"""What a device that boots is known by: tokens and a first password, made from its secret. Pure.

The same device, address, file and generation have the same token on every node and after every restart, so an answer that is sent again says the same;
the database keeps its SHA-256 only.
"""

import base64
import hashlib
import hmac
import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from netd.errors import WireError
from netd.model.boot import Purpose

SECRET_CONTEXT: Final = b"ztp_devices.secret"
SECRET_OCTETS: Final = 32
TOKEN_OCTETS: Final = 20
"""160 bits, which are 32 letters."""

_NAME: Final = re.compile(r"/?([a-z2-7]{32})/([A-Za-z0-9][A-Za-z0-9._+-]{0,127})")


def token(secret: bytes, generation: int, purpose: Purpose, address: IPv4Address | IPv6Address) -> str:
    """What stands in the file's name."""
    made = hmac.digest(secret, f"token {generation} {purpose} {address}".encode(), "sha256")
    return base64.b32encode(made[:TOKEN_OCTETS]).decode().lower()


def password(secret: bytes, generation: int) -> str:
    """The password of the account that the first file makes; the configuration that follows takes it away."""
    made = hmac.digest(secret, f"password {generation}".encode(), "sha256")
    return base64.b32encode(made[:15]).decode().lower()


def digest(text: str) -> bytes:
    """What the database knows a token by."""
    return hashlib.sha256(text.encode("ascii")).digest()


class Wanted(NamedTuple):
    """What a client asks for."""

    token: str
    name: str


def parse(path: str) -> Wanted:
    """A file's name as it comes in a URL or by TFTP: exactly a token and a name. Raises WireError ``traversal`` for what would lead elsewhere,
    ``bad_name`` for anything else."""
    found = _NAME.fullmatch(path)
    if found is None:
        outside = ".." in path or "\\" in path or "%" in path or "\0" in path or path.startswith("//")
        raise WireError("traversal" if outside else "bad_name", "a file is named by its token and its name")
    return Wanted(found[1], found[2])
