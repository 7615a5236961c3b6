"""Who gets which file, over real HTTP and TFTP: curl and tftp-hpa are the devices."""

import asyncio
import hashlib
import os
import subprocess
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from netd.domain import expected as operations
from netd.domain import rendering, templates
from netd.domain.expected import Retry
from netd.domain.rendering import Rendered
from netd.domain.templates import NewTemplate, NewTemplateVariables
from tests.ztp.booting import ACTOR, Booting, client, serving
from tests.ztp.conftest import until
from tests.ztp.test_tftp import loaders


@pytest.fixture
async def booting(database, dsn, tmp_path, extensions) -> AsyncIterator[Booting]:
    async with serving(database, dsn, tmp_path, extensions) as made:
        yield made


async def curl(booting: Booting, path: str, *more: str, scheme: str = "http") -> tuple[int, bytes]:
    """(status, body)"""
    target = booting.folder / "got"
    target.unlink(missing_ok=True)
    made = await asyncio.create_subprocess_exec(
        "curl", "-s", "--path-as-is", "-o", str(target), "-w", "%{http_code}", *more, f"{scheme}://127.0.0.1:{booting.http_port}/{path}", stdout=subprocess.PIPE
    )
    out, _ = await made.communicate()
    return int(out), target.read_bytes() if target.exists() else b""


async def tftp(booting: Booting, path: str, *options: str, mode: str = "binary") -> tuple[bytes, str]:
    """What tftp-hpa's client fetches, and what it says."""
    target = booting.folder / "tftp"
    target.unlink(missing_ok=True)
    command = ("tftp", "-m", mode, *options, "127.0.0.1", str(booting.tftp_port), "-c", "get", path, str(target))
    made = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=booting.folder)
    out, _ = await made.communicate()
    return target.read_bytes() if target.exists() else b"", out.decode()


async def test_a_file_by_http(booting, require_peer):
    require_peer("curl")
    device = await booting.device()
    path = await booting.told(client())
    status, body = await curl(booting, path)
    assert status == 200
    assert body.startswith(b"hostname r1\nuser netd-boot ") and len(body.split()[-1]) == 24
    after = await booting.reached(device, "configured")
    assert str(after.address_now) == "127.0.0.1"
    assert await booting.steps(device) == ["expected", "offered", "leased", "fetching", "configured"]
    assert await curl(booting, path) == (200, body)  # devices try twice
    async with booting.database.acquire() as conn:
        jobs = await conn.fetch("select kind, args, unique_key from jobs")
        tokens = await conn.fetchval("select count(*) from ztp_tokens where digest = sha256($1::bytea)", path.partition("/")[0].encode())
        told = [row["type"] for row in await conn.fetch("select type from events where type like 'ztp.%' order by id")]
    assert [(job["kind"], job["args"], job["unique_key"]) for job in jobs] == [("ztp.finish", {"ztp_device_id": device.id}, f"ztp:{device.id}")]
    assert tokens == 1
    assert told == ["ztp.expected", "ztp.offered", "ztp.fetching", "ztp.configured"]
    assert [(result, what["via"]) for result, what in await booting.audited()] == [("ok", "http"), ("ok", "http")]


async def test_a_file_by_tftp(booting, require_peer):
    require_peer("tftp")
    device = await booting.device(transport="tftp")
    path = await booting.told(client())
    body, said = await tftp(booting, path)
    assert body.startswith(b"hostname r1\n"), said
    await booting.reached(device, "configured")
    text, _ = await tftp(booting, path, mode="ascii")
    assert text == body  # netascii and back


async def test_an_image_in_ranges_and_by_tftp(booting, require_peer):
    require_peer("curl")
    require_peer("tftp")
    image = os.urandom(3 << 20) + b"end"
    await booting.image(image)
    template = "{{ image_url }} {{ image_sha256 }}\n"
    device = await booting.device(platform="generic_linux", target_version="9.1", boot_template=template)
    _, told = await curl(booting, await booting.told(client()))
    url, sha256 = told.decode().split()
    assert sha256 == hashlib.sha256(image).hexdigest()
    path = url.split("/", 3)[3]
    status, first = await curl(booting, path, "-r", "0-999999")
    assert (status, first) == (206, image[:1_000_000])
    await booting.last_step(device, "configured")
    status, rest = await curl(booting, path, "-r", "1000000-")
    assert (status, first + rest) == (206, image)
    await booting.last_step(device, "fetched")
    body, said = await tftp(booting, path, "-R", "20000:21000")
    assert body == image, said
    status, _ = await curl(booting, path, "-I")
    assert status == 200


async def test_what_is_refused(booting, require_peer):
    require_peer("curl")
    device = await booting.device()
    path = await booting.told(client(), "127.0.0.9")
    token = path.partition("/")[0]
    await booting.image(b"image")
    for asked in (path, "a" * 32 + "/boot.cfg", f"{token}/../secret.key", f"{token}/..%2f..%2fsecret.key", "../secret.key", "secret.key", f"{token}/other.cfg"):
        assert await curl(booting, asked) == (404, b""), asked
    assert (await curl(booting, path, "--interface", "127.0.0.9"))[0] == 200
    assert (await curl(booting, f"{token}/new.cc", "--interface", "127.0.0.9"))[0] == 404
    reasons = {reason: count for (via, reason), count in booting.files.answers.items()}
    assert reasons == {"wrong_source": 2, "unknown_token": 1, "traversal": 3, "bad_name": 1, "served": 1, "wrong_name": 1}
    told = await booting.audited()
    refused = [(what["reason"], what["count"]) for result, what in told if result == "refused"]
    assert refused == [("wrong_source", 2), ("wrong_name", 1)]  # the others are nobody's
    assert token not in str(told)
    await booting.reached(device, "configured")


async def test_a_token_ends(booting, require_peer):
    require_peer("curl")
    device = await booting.device()
    path = await booting.told(client())
    assert (await curl(booting, path))[0] == 200
    await booting.reached(device, "configured")
    booting.ahead = timedelta(seconds=booting.config.retry_seconds + 1)  # used, and the time for a second try is over
    assert (await curl(booting, path))[0] == 404
    again = await booting.told(client())  # it asks by DHCP once more
    assert again != path
    assert (await curl(booting, path))[0] == 404
    assert (await curl(booting, again))[0] == 200
    booting.ahead += timedelta(seconds=booting.config.token_seconds + 1)
    assert (await curl(booting, again))[0] == 404
    assert booting.files.answers["http", "used"] == 2 and booting.files.answers["http", "expired"] == 1
    third = await booting.told(client())
    await operations.retry(booting.database, ACTOR, booting.kinds, booting.keyring, device.id, Retry(boot=True), booting.now())
    assert (await curl(booting, third))[0] == 404  # an operator took back what was told


async def test_who_has_booted_gets_an_address_and_no_file(booting, require_peer):
    require_peer("curl")
    device = await booting.device()
    path = await booting.told(client())
    async with booting.database.acquire() as conn:
        await conn.execute("update ztp_devices set state = 'verified'")
    await booting.expected.load()
    assert (await curl(booting, path))[0] == 404
    answer = booting.expected.resolve(client())
    assert answer is not None and answer.profile == "plain"
    assert await booting.told(client()) == ""
    assert (await booting.state(device)).state == "verified"


async def test_a_template_that_cannot_be_rendered_puts_it_into_quarantine(booting, require_peer):
    require_peer("curl")
    device = await booting.device(boot_template="{{ missing }}")
    assert (await curl(booting, await booting.told(client())))[0] == 404
    after = await booting.state(device)
    assert after.state == "failed" and "missing" in (after.reason or "")
    assert booting.files.answers["http", "not_rendered"] == 1


async def test_a_busy_machine_puts_nobody_into_quarantine(booting, monkeypatch, require_peer):
    require_peer("curl")
    device = await booting.device()
    path = await booting.told(client())

    async def late(*_: object) -> tuple[list[Rendered], Rendered]:
        return [], Rendered(error="not done in 30 s", late=True)

    with monkeypatch.context() as patched:
        patched.setattr(rendering, "_process", late)
        assert (await curl(booting, path, "-D", str(booting.folder / "head")))[0] == 503
        assert "Retry-After: 10" in (booting.folder / "head").read_text()
        with loaders(booting, path) as (loader,):
            loader.ask()
            await until(lambda: booting.tftp.outcomes["too_busy"] == 1)
            patched.undo()
            loader.ask()  # it was told nothing
            assert (await loader.answer())[0].startswith(b"\0\3\0\1hostname r1")
    assert (await curl(booting, path))[0] == 200 and await booting.reached(device, "configured")
    assert booting.files.answers["http", "too_busy"] == 1


async def test_what_ends_while_a_file_is_made_is_not_served(booting, monkeypatch, require_peer):
    require_peer("curl")
    device = await booting.device()
    path = await booting.told(client())
    made = booting.files._made

    async def slowly(*asked: object) -> object:
        found = await made(*asked)
        await operations.retry(booting.database, ACTOR, booting.kinds, booting.keyring, device.id, Retry(boot=True), booting.now())
        return found

    monkeypatch.setattr(booting.files, "_made", slowly)
    assert await curl(booting, path) == (404, b"")
    assert booting.files.answers["http", "expired"] == 1 and (await booting.state(device)).state == "expected"


async def test_an_image_that_is_a_link_or_another_is_not_served(booting, require_peer):
    require_peer("curl")
    await booting.image(b"image")
    (file,) = booting.images.iterdir()
    await booting.device(platform="generic_linux", target_version="9.1", boot_template="{{ image_url }}")
    _, url = await curl(booting, await booting.told(client()))
    path = url.decode().split("/", 3)[3]
    file.write_bytes(b"other, longer")
    assert (await curl(booting, path))[0] == 404
    file.unlink()
    file.symlink_to(booting.folder / "secret.key")
    assert (await curl(booting, path))[0] == 404
    assert booting.files.answers["http", "no_image"] == 2


async def test_templates_of_roles(booting, require_peer):
    require_peer("curl")
    await templates.create(booting.database, ACTOR, NewTemplate(name="edge", role="edge", purpose="boot", body="{% include 'base' %}"))
    await templates.create(booting.database, ACTOR, NewTemplate(name="base", body="ntp {{ ntp }} vlan {{ vlan }} at {{ address }}"))
    await templates.create_variables(booting.database, ACTOR, NewTemplateVariables(variables={"ntp": "192.0.2.1", "vlan": 1}))
    await booting.device(boot_template=None, role="edge", variables={"vlan": 7})
    assert await curl(booting, await booting.told(client())) == (200, b"ntp 192.0.2.1 vlan 7 at 127.0.0.1")


async def test_a_source_that_asks_too_often(database, dsn, tmp_path, extensions, require_peer):
    require_peer("curl")
    async with serving(database, dsn, tmp_path, extensions, requests_per_second=0.2) as booting:
        await booting.device()
        path = await booting.told(client())
        assert [(await curl(booting, path))[0] for _ in range(4)] == [200, 200, 429, 429]


async def test_https(database, dsn, tmp_path, extensions, require_peer):
    require_peer("curl")
    require_peer("openssl")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=boot", "-addext", "subjectAltName=IP:127.0.0.1"]
    await asyncio.to_thread(subprocess.run, [*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    async with serving(database, dsn, tmp_path, extensions, certificate=str(certificate), key=str(key)) as booting:
        await booting.device(transport="https")
        path = await booting.told(client())
        assert (await curl(booting, path, "--cacert", str(certificate), "--tls-max", "1.2", scheme="https"))[0] == 200


async def test_twenty_devices_at_once(booting, require_peer):
    require_peer("curl")
    image = os.urandom(2 << 20)
    await booting.image(image)
    urls = []
    for number in range(20):
        await booting.device(f"r{number}", platform="generic_linux", target_version="9.1")
        await booting.told(client(f"R{number}"))
        urls.append(booting.url(client(f"R{number}"), "image", "new.cc"))
    command = [part for number, url in enumerate(urls) for part in ("-o", str(booting.folder / f"image{number}"), url)]
    made = await asyncio.create_subprocess_exec("curl", "-s", "--parallel", "--parallel-immediate", "--parallel-max", "20", *command)
    assert await made.wait() == 0
    assert all((booting.folder / f"image{number}").read_bytes() == image for number in range(20))


async def test_tftp_says_only_that_there_is_no_file(booting, require_peer):
    require_peer("tftp")
    for path in ("../../etc/passwd", "a" * 32 + "/boot.cfg"):
        body, said = await tftp(booting, path)
        assert body == b"" and "no such file" in said
    made = await asyncio.create_subprocess_exec(
        "tftp", "127.0.0.1", str(booting.tftp_port), "-c", "put", str(booting.folder / "secret.key"), "x", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    out, _ = await made.communicate()
    assert "write" in out.decode() and booting.tftp.drops["write"] == 1
    assert booting.files.answers["tftp", "traversal"] == 1 and booting.files.answers["tftp", "unknown_token"] == 1
