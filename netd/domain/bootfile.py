"""The first file of a device that boots, from its template to the octets that it fetches. Pure, but for the time that a template may take.

Templates are Jinja2 in a sandbox. What they see holds no secret that lasts: the device's variables, the account of its first log-in, and where the further
files are. What a vendor's device wants around that (Huawei's checked list, Nokia's provisioning file, SONiC's JSON) is made here.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from netd.errors import Fault, InvalidInput
from netd.model.dhcp import FirstFile

LONGEST: Final = 4 << 20
MOST_STEPS: Final = 10_000
"""Numbers in a range() of a template."""

_BEGINS: Final[Mapping[FirstFile, tuple[str, ...]]] = {
    "ipxe": ("#!ipxe",), "xr": ("!! IOS XR", "#!"), "python": ("#!",),
}  # fmt: skip


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """Where a device finds what: URLs, "" for what it does not get; hashes in hex."""

    server: str
    configuration_url: str = ""
    configuration_path: str = ""
    configuration_sha256: str = ""
    image_url: str = ""
    image_path: str = ""
    image_name: str = ""
    image_sha256: str = ""


class _Sandbox(ImmutableSandboxedEnvironment):
    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True, autoescape=False)
        self.globals["range"] = _range


def _range(*bounds: int) -> range:
    made = range(*bounds)
    if len(made) > MOST_STEPS:
        raise TemplateError(f"a range of {len(made)} numbers")
    return made


_ENVIRONMENT: Final = _Sandbox()


def rendered(member: str, template: str, context: Mapping[str, Any]) -> str:
    """The template's text. Raises InvalidInput for one that cannot be rendered, naming ``member``."""
    try:
        text = _ENVIRONMENT.from_string(template).render(context)
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        line = getattr(error, "lineno", None)
        raise InvalidInput([Fault(f"/{member}", f"{type(error).__name__}: {error}"[:500] + (f" in line {line}" if line else ""))]) from None
    if len(text) > LONGEST:
        raise InvalidInput([Fault(f"/{member}", f"becomes {len(text)} characters long")])
    return text


def checked(template: str, member: str) -> None:
    """Raise InvalidInput for a text that is no template."""
    try:
        _ENVIRONMENT.parse(template)
    except TemplateError as error:
        raise InvalidInput([Fault(f"/{member}", f"{error} in line {getattr(error, 'lineno', '?')}")]) from None


def has_list(kind: FirstFile) -> bool:
    """Whether its devices fetch a list of files first, and the configuration as one of them."""
    return kind in ("huawei_ini", "nokia_sros", "sonic")


def first(kind: FirstFile, text: str, files: Files, *, serial: str, mac: str) -> bytes:
    """The first file. ``text`` is the rendered template, which is the file itself where devices fetch no list. Raises InvalidInput."""
    if kind == "huawei_ini":
        return _huawei(files, serial, mac).encode()
    if kind == "nokia_sros":
        return _nokia(files).encode()
    if kind == "sonic":
        return _sonic(files).encode()
    begins = _BEGINS.get(kind)
    if begins and not text.startswith(begins):
        raise InvalidInput([Fault("/boot_template", f"its devices take a file that begins with {' or '.join(begins)}")])
    if not text.strip():
        raise InvalidInput([Fault("/boot_template", "becomes an empty file")])
    return text.encode()


def _huawei(files: Files, serial: str, mac: str) -> str:
    """Huawei NE's list: the SHA-256 in its first line is that of what stands from ;BEGIN to ;END."""
    lines = [";BEGIN ROUTER", f"FILESERVER={files.server}"]
    if serial:
        lines.append(f"ESN={serial}")
    if mac:
        lines.append(f"MAC={re.sub(':', '', mac).upper()[:4]}-{re.sub(':', '', mac).upper()[4:8]}-{re.sub(':', '', mac).upper()[8:]}")
    if files.image_path:
        lines.append(f"SYSTEM-SOFTWARE={files.image_path}")
    lines += [f"SYSTEM-CONFIG={files.configuration_path}", ";END ROUTER"]
    body = "\n".join(lines)
    return f'#sha256sum="{hashlib.sha256(body.encode()).hexdigest()}"\n{body}\n'


def huawei_whole(text: str) -> bool:
    """Whether a list of Huawei's is what its first line says, as a device would check it."""
    first_line, _, rest = text.partition("\n")
    told = re.fullmatch(r'#sha256sum="([0-9a-f]{64})"', first_line)
    start, end = rest.find(";BEGIN"), rest.rfind(";END ROUTER")
    return told is not None and start >= 0 and end > start and hashlib.sha256(rest[start : end + len(";END ROUTER")].encode()).hexdigest() == told[1]


def _nokia(files: Files) -> str:
    """SR OS' provisioning file: blocks of files with where each is, and its hash."""
    blocks = [_nokia_block("config", "cf3:/config.cfg", files.configuration_url, files.configuration_sha256)]
    if files.image_url:
        unzip = '    unzip {\n        directory "cf3:/ztp/"\n    }\n' if files.image_name.endswith(".zip") else ""
        blocks.insert(0, _nokia_block("image", f"cf3:/{files.image_name}", files.image_url, files.image_sha256, unzip))
    return "".join(blocks)


def _nokia_block(kind: str, place: str, url: str, sha256: str, more: str = "") -> str:
    check = f'    verification {{\n        hash-algorithm sha256\n        hash-value "{sha256}"\n    }}\n'
    return f'{kind} "{place}" {{\n    primary-url "{url}"\n{more}{check}}}\n'


def _sonic(files: Files) -> str:
    """SONiC's list: the sections are carried out in the order of their names."""
    parts: dict[str, Any] = {}
    if files.image_url:
        parts["01-firmware"] = {"install": {"url": files.image_url, "set-default": True}}
    parts["02-configdb-json"] = {"url": {"source": files.configuration_url, "destination": "/etc/sonic/config_db.json"}, "reboot-on-success": False}
    return json.dumps({"ztp": parts}, indent=2) + "\n"
