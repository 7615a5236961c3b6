"""What becomes of a device whose receipt of a file nobody confirms, and of those that are told more than one URL."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from netd.domain import bootfile
from netd.domain import booting as booting_domain
from netd.domain import expected as operations
from netd.domain.boottokens import SECRET_CONTEXT, password
from netd.domain.expected import Retry
from netd.errors import BootRefused, InvalidInput, StoreUnavailable
from netd.model.boot import ExpectedDevice
from netd.store import boot as boot_store
from netd.store import expected as expected_store
from netd.web.gate import Gate
from netd.wire import tftp
from tests.ztp.booting import ACTOR, Booting, client, serving
from tests.ztp.conftest import until
from tests.ztp.test_bootfiles import curl
from tests.ztp.test_bootfiles import tftp as by_tftp

AFTER = timedelta(seconds=601)


@pytest.fixture
async def booting(database, dsn, tmp_path, extensions) -> AsyncIterator[Booting]:
    async with serving(database, dsn, tmp_path, extensions) as made:
        yield made


async def finishing(booting: Booting, device: ExpectedDevice) -> bool:
    async with booting.database.acquire() as conn:
        return bool(await conn.fetchval("select count(*) from jobs where kind = 'ztp.finish' and unique_key = $1", f"ztp:{device.id}"))


async def first_password(booting: Booting, device: ExpectedDevice) -> str:
    """The one that netd would log in with."""
    async with booting.database.transaction() as conn:
        sealed, generation = await expected_store.secret(conn, 1, device.id)
        sent = (await expected_store.delivery(conn, 1, device.id)).sent_generation
    return password(booting.keyring.open(sealed, SECRET_CONTEXT), generation if sent is None else sent)


def without_last_receipt(booting: Booting, path: str) -> bytes:
    """The whole file by TFTP, and the device restarts at once."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(60)
        sock.sendto(tftp.encode_request(tftp.Request(path, "octet", {})), ("127.0.0.1", booting.tftp_port))
        return sock.recv(2000)[4:]


async def test_a_lost_last_acknowledgement_does_not_leave_a_device_where_it_is(booting: Booting) -> None:
    device = await booting.device(transport="tftp")
    body = await asyncio.to_thread(without_last_receipt, booting, await booting.told(client()))
    assert body.startswith(b"hostname r1\n")
    await until(lambda: bool(booting.tftp.outcomes) and not booting.tftp._settling, 60)
    await booting.expected.sweep()
    assert (await booting.state(device)).state == "fetching" and not await finishing(booting, device)  # it may ask once more
    booting.ahead = AFTER
    await booting.expected.sweep()
    assert (await booting.steps(device))[-1] == "presumed" and await finishing(booting, device)
    await booting.expected.sweep()
    assert (await booting.steps(device)).count("presumed") == 1


async def test_what_a_crash_leaves_between_the_last_octet_and_its_record(booting: Booting, monkeypatch, require_peer) -> None:
    require_peer("curl")
    device = await booting.device()
    path = await booting.told(client())

    reached = asyncio.Event()

    async def away(*_: object) -> bool:
        reached.set()
        raise StoreUnavailable("killed here")

    with monkeypatch.context() as patched:
        patched.setattr(boot_store, "delivered", away)
        status, body = await curl(booting, path)
        assert status == 200
        await asyncio.wait_for(reached.wait(), 60)  # the device has all of it before
    assert (await booting.state(device)).state == "fetching"
    after = await operations.retry(booting.database, ACTOR, booting.kinds, booting.keyring, device.id, Retry(), booting.now())
    assert after.state == "fetching" and await finishing(booting, device)  # and not expected anew: it does not come again
    assert body.split()[-1].decode() == await first_password(booting, device)
    status, _ = await curl(booting, path)  # it does come again
    assert status == 200 and (await booting.reached(device, "configured")).reason is None


async def test_a_file_that_broke_off_is_not_taken_to_have_arrived(booting: Booting) -> None:
    device = await booting.device(transport="tftp", boot_template="x" * 5000)
    path = await booting.told(client())
    await asyncio.to_thread(without_last_receipt, booting, path)
    await until(lambda: bool(booting.tftp.outcomes) and not booting.tftp._settling, 60)
    booting.ahead = AFTER
    await booting.expected.sweep()
    assert (await booting.steps(device))[-1] == "fetching" and not await finishing(booting, device)


async def test_another_url_leaves_the_first_password_and_what_was_told_elsewhere(booting: Booting, require_peer) -> None:
    require_peer("curl")
    device = await booting.device()
    path = await booting.told(client())
    elsewhere = await booting.told(client(), "127.0.0.2")  # its second stage, or its other family
    _, body = await curl(booting, path)
    await booting.reached(device, "configured")
    booting.ahead = timedelta(seconds=booting.config.retry_seconds / 2 + 1)
    again = await booting.told(client())  # it renews its lease
    assert again != path
    assert body.split()[-1].decode() == await first_password(booting, device)
    assert (await curl(booting, elsewhere, "--interface", "127.0.0.2"))[0] == 200
    status, second = await curl(booting, again)
    assert (status, second) == (200, body)
    async with booting.database.transaction() as conn:  # nothing that was spent is told again
        told = [row["digest"] for row in await conn.fetch("select digest from ztp_tokens")]
        await expected_store.spend(conn, 1, device.id)
    await booting.told(client())
    async with booting.database.transaction() as conn:
        assert not set(told) & {row["digest"] for row in await conn.fetch("select digest from ztp_tokens")}


async def test_an_images_answers_end_properly_and_no_two_images_are_spliced(booting: Booting, require_peer, caplog) -> None:
    require_peer("curl")
    caplog.set_level(logging.ERROR)
    image = os.urandom(1 << 20)
    await booting.image(image)
    await booting.device(platform="generic_linux", target_version="9.1", boot_template="{{ image_url }}\n")
    await booting.told(client())
    path = booting.url(client(), "image", "new.cc").split("/", 3)[3]
    url = f"http://127.0.0.1:{booting.http_port}/{path}"
    made = await asyncio.create_subprocess_exec("curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{num_connects} ", url, url, "-o", "/dev/null", stdout=-1)
    assert (await made.communicate())[0] == b"200 1 200 0 "  # on one connection
    head = booting.folder / "head"
    await curl(booting, path, "-D", str(head), "-r", "0-9")
    etag = next(line.split(": ", 1)[1] for line in head.read_text().splitlines() if line.lower().startswith("etag:"))
    changed = next(line.split(": ", 1)[1] for line in head.read_text().splitlines() if line.lower().startswith("last-modified:"))
    for condition, answer in ((etag, (206, image[10:])), (changed, (206, image[10:])), ('"another"', (200, image)), (f"W/{etag}", (200, image))):
        assert await curl(booting, path, "-r", "10-", "-H", f"If-Range: {condition}") == answer, condition
    assert (await curl(booting, path, "-r", "99999999-"))[0] == 416
    assert (await curl(booting, path, "-H", f"If-None-Match: {etag}"))[0] == 304
    assert not caplog.records


async def test_silent_connections_are_few_and_short(database, dsn, tmp_path, extensions, require_peer, monkeypatch) -> None:
    require_peer("curl")
    gates: list[Gate] = []

    def gate(*arguments: Any, **named: Any) -> Gate:
        gates.append(Gate(*arguments, **named))
        return gates[-1]

    monkeypatch.setattr("netd.web.boot.SILENT_SECONDS", 1.0)
    monkeypatch.setattr("netd.web.boot.Gate", gate)
    async with serving(database, dsn, tmp_path, extensions, connections=6, connections_of_source=4) as booting:
        await booting.device()
        path = await booting.told(client("R1"), "127.0.0.7")

        def idle(source: str) -> socket.socket:
            return socket.create_connection(("127.0.0.1", booting.http_port), 60, (source, 0))

        # all of them wait in the kernel until the loop goes on: the first one's time is not over before the last one is there
        held = [idle(source) for source in (*["127.0.0.1"] * 5, "127.0.0.2", "127.0.0.3", "127.0.0.4")]
        assert [await asyncio.to_thread(sock.recv, 1) for sock in held] == [b""] * 8  # without having said anything
        assert booting.files.connections == {"too_many_of_source": 1, "too_many": 1, "silent": 6}
        for sock in held:
            sock.close()
        (each,) = gates
        each._silent_seconds = 600.0  # curl may take its time
        assert (await curl(booting, path, "--interface", "127.0.0.7"))[0] == 200


async def test_what_is_to_be_encrypted_does_not_go_in_the_clear(database, dsn, tmp_path, extensions, require_peer) -> None:
    require_peer("curl")
    async with serving(database, dsn, tmp_path, extensions) as booting:
        await booting.device()
        async with database.acquire() as conn:
            await conn.execute("update ztp_devices set transport = 'https'")
        assert (await curl(booting, await booting.told(client())))[0] == 404
        assert booting.files.answers["http", "not_encrypted"] == 1


async def test_a_flood_of_refusals_is_a_row_a_minute(booting: Booting, monkeypatch) -> None:
    async with booting.database.acquire() as conn:
        await conn.execute("insert into dhcp_subnets (tenant_id, name, prefix) values (1, 'lo', '127.0.0.0/24')")
    monkeypatch.setattr("netd.domain.bootfiles.SUMMARIES", 3)

    async def asks(path: str, source: str = "127.0.0.1") -> None:
        with pytest.raises(BootRefused):
            await booting.files.ask(path, source, "tftp")

    for number in range(50):
        await asks(f"x{number}")
    await asks("a" * 32 + "/boot.cfg")
    await booting.files.flush()
    assert await rows(booting) == []
    await booting.files.flush(all_of_them=True)
    ((bad, first), (unknown, _)) = await rows(booting)
    assert (bad["reason"], bad["count"], unknown["reason"], unknown["count"]) == ("bad_name", 50, "unknown_token", 1)
    assert first == "127.0.0.1" and bad["first_at"] <= bad["last_at"]
    for number in range(10):
        await asks("x", f"127.0.0.{number}")
    assert len(booting.files._refusals) == 3 and booting.files.answers["audit", "lost"] == 7


async def rows(booting: Booting) -> list[tuple[dict[str, Any], str]]:
    async with booting.database.acquire() as conn:
        found = await conn.fetch("select after, host(address) as address from audit_log where action = 'ztp.fetch' order by id")
    return [(row["after"], row["address"]) for row in found]


NE = "2102353XXX10P3000012"


async def test_huawei_ne_finds_its_files_beside_its_list(booting: Booting, require_peer) -> None:
    require_peer("tftp")
    image = os.urandom(5000)
    await booting.image(image, name="V800R021+1.cc")
    with pytest.raises(InvalidInput, match="fetched by tftp"):
        await booting.device("ne", profile="huawei_ne", serial=NE, transport="http", boot_template="sysname ne1\n")
    device = await booting.device(
        "ne", profile="huawei_ne", serial=NE, boot_template="sysname ne1\n", platform="generic_linux", target_version="9.1"
    )  # fmt: skip
    path = await booting.told(client(NE, profile="huawei_ne"))
    text, said = await by_tftp(booting, path)
    assert bootfile.huawei_whole(text.decode()), said
    lines = text.decode().splitlines()[1:]
    folder = f"FILESERVER=tftp://127.0.0.1/{path.partition('/')[0]}"
    assert lines == [
        ";BEGIN ROUTER", "[GLOBAL CONFIG]", folder, "", "[DEVICE0 DESCRIPTION]", f"ESN={NE}", "MAC=0200-0000-0001", "SYSTEM-SOFTWARE=V800R021+1.cc",
        "SYSTEM-CONFIG=config.cfg", ";END ROUTER",
    ]  # fmt: skip
    booting.ahead = timedelta(seconds=booting.config.retry_seconds + 1)  # it takes its time with its image
    assert (await by_tftp(booting, f"{path.partition('/')[0]}/V800R021+1.cc"))[0] == image
    assert (await by_tftp(booting, f"{path.partition('/')[0]}/config.cfg"))[0] == b"sysname ne1\n"
    await booting.reached(device, "configured")
    assert (await by_tftp(booting, f"{path.partition('/')[0]}/other.cfg"))[0] == b""
    changed = await operations.update(
        booting.database, ACTOR, device.id, operations.ExpectedPatch(profile="nokia_sros"), list(booting.profiles.values()), booting.catalogue
    )
    assert changed.transport == "http"


async def test_https_is_offered_with_a_certificate_only(booting: Booting) -> None:
    offered = [booting_domain.offered(each, booting.config) for each in booting.profiles.values()]
    assert not any("https" in each.transports for each in offered) and all(each.transports for each in offered)
    new = operations.NewExpected(hostname="r1", profile="generic_boot", serial="R1", transport="https")
    with pytest.raises(InvalidInput, match="fetched by http or tftp"):
        await operations.create(booting.database, ACTOR, booting.keyring, new, offered, booting.catalogue, booting.now(), 30)


async def test_an_image_that_comes_later_is_told(booting: Booting) -> None:
    await booting.device("r1", profile="juniper_junos", platform="generic_linux", target_version="9.1")
    await booting.expected.open()
    try:
        feed = asyncio.create_task(booting.expected.feed.run())

        def told() -> str:
            answer = booting.expected.resolve(client())
            return "" if answer is None else answer.variables.get("image", "")

        assert told() == ""
        await booting.image(b"image")
        await until(lambda: told() == "new.cc", 30)
        feed.cancel()
        await asyncio.gather(feed, return_exceptions=True)
    finally:
        await booting.expected.close()


def test_ipv6_is_counted_by_its_64() -> None:
    from netd.domain.bootfiles import Askers, bucket

    askers = Askers(1.0)
    assert sum(askers.may(f"2001:db8::{number:x}", 0.0) for number in range(100)) == 10
    assert askers.may("2001:db8:0:1::1", 0.0) and askers.may("192.0.2.1", 0.0)
    assert bucket("::ffff:192.0.2.1") == "192.0.2.1" and bucket("fe80::1%eth0") == "fe80::/64"
