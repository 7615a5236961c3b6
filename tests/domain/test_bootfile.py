"""First files: what templates may and may not, and what vendors' devices want around them."""

import hashlib
import json
from ipaddress import ip_address

import pytest

from netd.domain import bootfile, boottokens
from netd.domain.bootfile import Files, first, huawei_whole
from netd.errors import InvalidInput, WireError

FILES = Files(
    server="http://192.0.2.5:8080", configuration_url="http://192.0.2.5:8080/abc/config.cfg", configuration_path="abc/config.cfg",
    configuration_sha256="c" * 64,
    image_url="http://192.0.2.5:8080/def/new.cc", image_path="def/new.cc", image_name="new.cc", image_sha256="d" * 64,
)  # fmt: skip


def test_huaweis_list():
    text = first("huawei_ini", "sysname r1\n", FILES, serial="2102359999", mac="00:e0:fc:12:34:56").decode()
    lines = text.splitlines()
    assert lines[1:] == [
        ";BEGIN ROUTER", "FILESERVER=http://192.0.2.5:8080", "ESN=2102359999", "MAC=00E0-FC12-3456", "SYSTEM-SOFTWARE=def/new.cc",
        "SYSTEM-CONFIG=abc/config.cfg", ";END ROUTER",
    ]  # fmt: skip
    assert lines[0] == f'#sha256sum="{hashlib.sha256(chr(10).join(lines[1:]).encode()).hexdigest()}"'
    assert huawei_whole(text)
    assert not huawei_whole(text.replace("abc/config.cfg", "evil/config.cfg"))


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
