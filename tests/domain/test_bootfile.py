"""First files: what templates may and may not, and what vendors' devices want around them."""

import hashlib
import json
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import pytest

from netd.domain import bootfile, boottokens
from netd.domain.bootfile import Files, first, huawei_whole
from netd.domain.rendering import Renderer
from netd.domain.templates import Library
from netd.errors import InvalidInput, WireError
from netd.model.boot import ExpectedDevice
from netd.model.configuration import Template

FILES = Files(
    server="http://192.0.2.5:8080", directory_url="http://192.0.2.5:8080/abc", configuration_url="http://192.0.2.5:8080/abc/config.cfg",
    configuration_path="abc/config.cfg", configuration_sha256="c" * 64,
    image_url="http://192.0.2.5:8080/def/new.cc", image_path="def/new.cc", image_name="new.cc", image_sha256="d" * 64,
)  # fmt: skip


def test_huaweis_list():
    text = first("huawei_ini", "sysname r1\n", FILES, serial="2102359999", mac="00:e0:fc:12:34:56").decode()
    lines = text.splitlines()
    assert lines[1:] == [
        ";BEGIN ROUTER", "[GLOBAL CONFIG]", f"FILESERVER={FILES.directory_url}", "", "[DEVICE0 DESCRIPTION]", "ESN=2102359999", "MAC=00E0-FC12-3456",
        "SYSTEM-SOFTWARE=new.cc", "SYSTEM-CONFIG=config.cfg", ";END ROUTER",
    ]  # fmt: skip
    assert lines[0] == f'#sha256sum="{hashlib.sha256(chr(10).join(lines[1:]).encode()).hexdigest()}"'
    assert FILES.directory_url == "http://192.0.2.5:8080/abc" and huawei_whole(text)
    assert not huawei_whole(text.replace("=config.cfg", "=evil.cfg"))


def test_nokias_provisioning_file():
    text = first("nokia_sros", "configure\n", FILES, serial="NS1", mac="").decode()
    assert text.startswith('image "cf3:/new.cc" {\n    primary-url "http://192.0.2.5:8080/def/new.cc"\n')
    assert f'config "cf3:/config.cfg" {{\n    primary-url "{FILES.configuration_url}"\n    verification {{\n' in text
    assert text.count("{") == text.count("}") and "c" * 64 in text and "d" * 64 in text


def test_sonics_list():
    made = json.loads(first("sonic", "{}", FILES, serial="", mac=""))["ztp"]
    assert made["01-firmware"]["install"]["url"] == FILES.image_url
    assert made["02-configdb-json"]["url"] == {"source": FILES.configuration_url, "destination": "/etc/sonic/config_db.json"}


@pytest.mark.parametrize(
    ("kind", "good"), [("ipxe", "#!ipxe\nboot\n"), ("xr", "!! IOS XR\nend\n"), ("xr", "#!/bin/bash\n"), ("python", "#!/usr/bin/env python3\n")]
)
def test_files_begin_as_their_devices_want(kind, good):
    assert first(kind, good, FILES, serial="", mac="") == good.encode()
    with pytest.raises(InvalidInput):
        first(kind, "hostname r1\n", FILES, serial="", mac="")


def test_an_empty_file_is_refused():
    with pytest.raises(InvalidInput):
        first("text", " \n", FILES, serial="", mac="")


def test_tokens():
    secret, address = bytes(range(32)), ip_address("10.1.0.20")
    made = boottokens.token(secret, 1, "boot", address)
    assert len(made) == 32 and made == boottokens.token(secret, 1, "boot", address)
    others = {
        boottokens.token(bytes(32), 1, "boot", address), boottokens.token(secret, 2, "boot", address), boottokens.token(secret, 1, "image", address),
        boottokens.token(secret, 1, "boot", ip_address("10.1.0.21")),
    }  # fmt: skip
    assert len(others) == 4 and made not in others
    assert boottokens.parse(f"/{made}/boot.cfg") == (made, "boot.cfg")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../../etc/passwd", "traversal"),
        ("{}/../../etc/passwd", "traversal"),
        ("/{}/..%2f..%2fetc/passwd", "traversal"),
        ("{}\\..\\boot.ini", "traversal"),
        ("//{}/boot.cfg", "traversal"),
        ("{}/.hidden", "bad_name"),
        ("{}/a/b", "bad_name"),
        ("{}", "bad_name"),
        ("network-confg", "bad_name"),
        ("", "bad_name"),
        ("/{}/boot.cfg?x=1", "bad_name"),
    ],
)
def test_names(path, reason):
    with pytest.raises(WireError) as raised:
        boottokens.parse(path.format("a" * 32))
    assert raised.value.reason == reason


def test_has_list():
    assert [kind for kind in ("text", "huawei_ini", "nokia_sros", "sonic", "ipxe") if bootfile.has_list(kind)] == ["huawei_ini", "nokia_sros", "sonic"]


async def test_a_boot_file_has_nothing_of_other_sites() -> None:
    now = datetime(2024, 1, 1, tzinfo=UTC)
    common: dict[str, Any] = {
        "tenant_id": 1,
        "purpose": "boot",
        "compare": "off",
        "number": 1,
        "note": None,
        "version": 1,
        "created_at": now,
        "updated_at": now,
    }
    there = {"south": ("leaf", 2, "south", "canary"), "own": ("leaf", 1, "north", "{% include 'south' %}"), "all": (None, None, None, "common")}
    library = Library(
        templates=tuple(
            Template(id=number, name=name, role=role, site_id=site_id, site=site, body=body, **common)
            for number, (name, (role, site_id, site, body)) in enumerate(there.items(), 1)
        ),
        variables=(),
    )  # fmt: skip
    told: dict[str, Any] = dict.fromkeys(ExpectedDevice.__struct_fields__)
    device = ExpectedDevice(**{**told, "role": "leaf", "site": "north", "variables": {}})
    with pytest.raises(InvalidInput, match="own, line 1: there is no template south"):
        await bootfile.rendered(Renderer(), library, device, "boot", {})
    fine = ExpectedDevice(**{**told, "role": "leaf", "site": "north", "variables": {}, "boot_template": "{% include 'all' %}"})
    assert await bootfile.rendered(Renderer(), library, fine, "boot", {}) == "common"
