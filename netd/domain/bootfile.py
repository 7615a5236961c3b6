"""The first file of a device that boots, from its template to the octets that it fetches.

Templates are rendered in a process of their own (:mod:`netd.domain.rendering`). What they see holds no secret that lasts: the device's variables, the
account of its first log-in, and where the further files are. What a vendor's device wants around that (Huawei's checked list, Nokia's provisioning file,
SONiC's JSON) is made here.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from netd.domain import rendering
from netd.domain.rendering import AGAIN_SECONDS, Renderer, Wanted
from netd.domain.templates import Library, laid_over
from netd.errors import Fault, InvalidInput, TooOften
from netd.model.boot import ExpectedDevice
from netd.model.dhcp import FirstFile

OWN: Final = "the device's own"

_BEGINS: Final[Mapping[FirstFile, tuple[str, ...]]] = {
    "ipxe": ("#!ipxe",), "xr": ("!! IOS XR", "#!"), "python": ("#!",),
}  # fmt: skip


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """Where a device finds what: URLs, "" for what it does not get; hashes in hex."""

    server: str
    directory_url: str = ""  # where a device's files are by their names
    configuration_url: str = ""
    configuration_path: str = ""
    configuration_sha256: str = ""
    image_url: str = ""
    image_path: str = ""
    image_name: str = ""
    image_sha256: str = ""
    image_md5: str = ""


async def rendered(
    renderer: Renderer, library: Library, device: ExpectedDevice, purpose: Literal["boot", "configuration"], context: Mapping[str, Any],
    asked: rendering.Purpose = "work",
) -> str | None:  # fmt: skip
    """A device's text: of its own template, else of its role's at its site, else of its role's; None if there is none. ``context`` lies over the variables
    that the library has for the role and the site, and the device's own. Raises InvalidInput for what does not render, Conflict; TooOften where somebody else
    than who looks waited in vain: a busy machine is no fault of the template."""
    own = device.boot_template if purpose == "boot" else device.configuration
    fitting = [each for each in library.templates if each.purpose == purpose and device.role and each.role == device.role and each.site in (None, device.site)]
    chosen = max(fitting, key=lambda each: each.site is not None, default=None)
    if own is None and chosen is None:
        return None
    variables: dict[str, Any] = {}
    for each in library.variables:
        if each.role in (None, device.role) and each.site in (None, device.site):
            variables = laid_over(variables, each.variables)
    variables = {**laid_over(variables, device.variables), **context}
    sources = library.sources if own is None else {**library.sources, OWN: own}
    name = OWN if own is not None or chosen is None else chosen.name
    hidden = tuple(each.name for each in library.templates if each.site not in (None, device.site))
    (made,) = await renderer.render(asked, sources, [Wanted(template=name, variables=variables, hidden=hidden)])
    if made.late and asked != "look":
        raise TooOften(made.error or "not rendered in time", AGAIN_SECONDS)
    if made.text is None:
        raise InvalidInput([Fault("/boot_template" if purpose == "boot" else "/configuration", made.error or "does not render")])
    return made.text


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
    """Huawei NE's list: the SHA-256 in its first line is that of what stands from ;BEGIN to ;END. It has names of files in one folder."""
    lines = [";BEGIN ROUTER", "[GLOBAL CONFIG]", f"FILESERVER={files.directory_url}", "", "[DEVICE0 DESCRIPTION]"]
    if serial:
        lines.append(f"ESN={serial}")
    if mac:
        lines.append(f"MAC={re.sub(':', '', mac).upper()[:4]}-{re.sub(':', '', mac).upper()[4:8]}-{re.sub(':', '', mac).upper()[8:]}")
    if files.image_path:
        lines.append(f"SYSTEM-SOFTWARE={files.image_name}")
    lines += [f"SYSTEM-CONFIG={files.configuration_path.rpartition('/')[2]}", ";END ROUTER"]
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
