"""Lists of revoked certificates, as who checks a device's certificate fetches them."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from cryptography import x509

from netd.domain import certificates, expected, pki, revocation
from netd.domain.certificates import Held, NewAuthority, Terms
from netd.domain.revocation import Revoke
from netd.errors import BootRefused, Conflict, StoreUnavailable
from netd.model.boot import ExpectedDevice
from tests.domain.test_pki import without_lists
from tests.ztp.booting import ACTOR, Booting, serving
from tests.ztp.test_bootfiles import curl


@pytest.fixture
async def booting(database, dsn, tmp_path, extensions) -> AsyncIterator[Booting]:
    async with serving(database, dsn, tmp_path, extensions) as made:
        yield made


async def held(booting: Booting, device: ExpectedDevice) -> Held:
    terms = Terms(lists_at=f"http://127.0.0.1:{booting.http_port}")
    return await certificates.held(booting.database, booting.keyring, device, [device.hostname], booting.now(), terms)


async def revoke(booting: Booting, found: Held) -> None:
    await revocation.revoke(booting.database, ACTOR, found.certificate.id, Revoke(reason="key_compromise"), booting.now())


def place(found: Held) -> str:
    """The path of the list that a certificate names."""
    points = x509.load_pem_x509_certificate(found.certificate.certificate.encode()).extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    names = points[0].full_name
    assert names is not None and len(names) == 1
    return str(names[0].value).split("/", 3)[3]


async def fetched(booting: Booting, path: str) -> tuple[int, set[str]]:
    """Number and serial numbers (hex) of the list."""
    status, body = await curl(booting, path)
    assert status == 200
    found = x509.load_der_x509_crl(body)
    number = found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    return number, {f"{each.serial_number:x}" for each in found}


async def test_what_is_revoked_is_on_the_list_at_once(booting: Booting, require_peer) -> None:
    require_peer("curl")
    one, other = [await held(booting, await booting.device(name, certificate="ec")) for name in ("one", "other")]
    first, listed = await fetched(booting, place(one))
    assert listed == set() and place(one) == place(other)
    assert (await fetched(booting, place(one)))[0] == first  # it is signed anew for a reason only
    await revoke(booting, one)
    number, listed = await fetched(booting, place(one))
    assert (number, listed) == (first + 1, {one.certificate.serial})
    with pytest.raises(Conflict, match="already"):
        await revoke(booting, one)
    another = Booting(booting.database, "", booting.folder, booting.extensions, booting.config)  # another node has its own, with another number
    (authority,) = (await certificates.authorities(booting.database, ACTOR, certificates.AuthorityQuery())).items
    shown = await another.files.lists.shown(booting.database, ACTOR, authority.id)
    assert (shown.number, shown.revoked, shown.url.rpartition("/")[2]) == (first + 2, 1, place(one).rpartition("/")[2])
    booting.ahead = timedelta(days=1)
    assert (await fetched(booting, place(one)))[0] == first + 3
    assert (await booting.audited())[-1:] == []
    async with booting.database.acquire() as conn:
        assert await conn.fetchval("select after ->> 'reason' from audit_log where action = 'certificate.revoke'") == "key_compromise"


async def test_the_device_gets_another_certificate(booting: Booting) -> None:
    device = await booting.device(certificate="ec")
    found = await held(booting, device)
    assert (await held(booting, device)).certificate.id == found.certificate.id
    await revoke(booting, found)
    after = await held(booting, device)
    assert after.certificate.id != found.certificate.id and after.certificate.revoked_at is None
    before = await certificates.get(booting.database, ACTOR, found.certificate.id)
    assert (before.revocation_reason, before.revoked_at is None) == ("key_compromise", False)


async def test_a_device_that_is_expected_no_longer_leaves_its_certificate_on_the_list(booting: Booting, require_peer) -> None:
    openssl = require_peer("openssl")
    device = await booting.device(certificate="ec")
    found = await held(booting, device)
    await expected.delete(booting.database, ACTOR, device.id)
    status, body = await curl(booting, place(found))
    (booting.folder / "crl").write_bytes(body)
    command = [openssl, "crl", "-inform", "DER", "-in", str(booting.folder / "crl"), "-noout", "-text"]
    text = (await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)).stdout
    assert status == 200 and "Cessation Of Operation" in text and f"{int(found.certificate.serial, 16):X}" in text.replace(":", "")
    booting.ahead = timedelta(days=366)  # it has ended
    assert (await fetched(booting, place(found)))[1] == set()


async def test_while_the_database_is_away_the_last_list_is_served(booting: Booting, require_peer, monkeypatch: pytest.MonkeyPatch) -> None:
    require_peer("curl")
    found = await held(booting, await booting.device(certificate="ec"))

    def away() -> object:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(booting.database, "transaction", away)
        assert (await curl(booting, place(found)))[0] == 503
    listed = await fetched(booting, place(found))
    monkeypatch.setattr(booting.database, "transaction", away)
    assert await fetched(booting, place(found)) == listed
    booting.ahead = timedelta(days=revocation.LIST_DAYS)
    assert (await curl(booting, place(found)))[0] == 503  # good no longer


async def test_what_is_no_list(booting: Booting, require_peer) -> None:
    require_peer("curl")
    found = await held(booting, await booting.device(certificate="ec"))
    for path in ("crl/", "crl/x.crl", f"crl/{'0' * 64}.crl", place(found).removesuffix(".crl"), place(found) + "/..", "crl/%2e%2e", f"{place(found)}%00"):
        assert (await curl(booting, path))[0] == 404, path
    with pytest.raises(BootRefused):
        await booting.files.ask(place(found), "127.0.0.1", "tftp")
    booting.ahead = timedelta(days=pki.AUTHORITY_DAYS + 1)
    assert (await curl(booting, place(found)))[0] == 404
    (authority,) = (await certificates.authorities(booting.database, ACTOR, certificates.AuthorityQuery())).items
    with pytest.raises(Conflict, match="has ended"):
        await booting.files.lists.shown(booting.database, ACTOR, authority.id)
    with pytest.raises(Conflict, match="it ended at"):
        await revoke(booting, found)


async def test_who_may_sign_no_lists_is_named_in_no_certificate(booting: Booting) -> None:
    certificate, key = without_lists(pki.authority("Ours", booting.now()))
    await certificates.create_authority(booting.database, ACTOR, booting.keyring, NewAuthority(certificate=certificate, key=key), booting.now())
    found = await held(booting, await booting.device(certificate="ec"))
    with pytest.raises(x509.ExtensionNotFound):
        place(found)
    with pytest.raises(Conflict, match="may not sign lists"):
        await revoke(booting, found)


async def test_an_authority_that_was_supplied_twice_has_one_list(booting: Booting, require_peer) -> None:
    """By one tenant again, or by two: a certificate of either says where the list is by the authority's fingerprint."""
    require_peer("curl")
    certificate, key = pki.authority("Ours", booting.now())
    found = []
    for name in ("one", "other"):
        await certificates.create_authority(booting.database, ACTOR, booting.keyring, NewAuthority(certificate=certificate, key=key), booting.now())
        found.append(await held(booting, await booting.device(name, certificate="ec")))
        await revoke(booting, found[-1])
    assert found[0].certificate.authority_id != found[1].certificate.authority_id and place(found[0]) == place(found[1])
    number, listed = await fetched(booting, place(found[0]))
    assert listed == {each.certificate.serial for each in found}
    booting.ahead = timedelta(days=1)
    assert (await fetched(booting, place(found[0])))[0] == number + 1


async def test_a_flood_is_bounded_by_source(database, dsn, tmp_path, extensions, require_peer) -> None:
    require_peer("curl")
    async with serving(database, dsn, tmp_path, extensions, requests_per_second=0.2) as booting:
        found = await held(booting, await booting.device(certificate="ec"))
        assert [(await curl(booting, place(found)))[0] for _ in range(3)] == [200, 200, 429]
