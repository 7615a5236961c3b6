"""What follows a first file: the job that logs in, configures, and looks whether it is what was expected; against simulated devices over SSH."""

import asyncio
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from netd.domain import bootfile, certificates, expected, finishing, pki, plans, rendering, subscribers, templates
from netd.domain.boottokens import SECRET_CONTEXT, password
from netd.domain.expected import NewExpected, Retry
from netd.domain.rendering import Rendered, Renderer
from netd.errors import InvalidInput
from netd.model.boot import ExpectedDevice
from netd.store import boot as boot_store
from netd.store import certificates as certificate_store
from netd.store import expected as expected_store
from netd.store.boot import Advance
from netd.store.database import Database
from tests.device.simulators import served
from tests.domain.conftest import AnyAttribute
from tests.work.labs import ACTOR, Lab, laboratory
from tests.ztp.newcomer import Newcomer

CONFIGURATION = """\
hostname {{ hostname }}
username {{ username }} privilege 15 secret {{ password }}
snmp-server community {{ snmp_community }} ro
{% if nas_secret %}
ip radius-key {{ nas_secret }}
{% endif %}
ntp server {{ ntp }}
"""


@pytest.fixture
async def lab(database: Database, tmp_path: Path) -> AsyncIterator[Lab]:
    async with laboratory(database, tmp_path) as made:
        object.__setattr__(made.tools, "boot_retry_seconds", 0.2)
        yield made


async def booted(lab: Lab, **members: Any) -> tuple[ExpectedDevice, Newcomer]:
    """An expected device that has fetched its file, and the device as the file left it."""
    await lab.credential("edge", type="ssh", username="ops", password="hunter2hunter2")
    await lab.credential("watch", type="snmp_community", community="canarysnmp")
    profiles = [profile.shown() for profile in lab.extensions.profiles.values()]
    new = NewExpected(**{
        "hostname": "edge1", "profile": "arista_eos", "serial": "FTX1", "platform": "cisco_ios", "vendor": "cisco", "credential": "edge",
        "boot_template": "x", "configuration": CONFIGURATION, "variables": {"ntp": "192.0.2.1"}, **members,
    })  # fmt: skip
    device = await expected.create(lab.database, ACTOR, lab.keyring, new, profiles, lab.catalogue, datetime.now(UTC), 30)
    async with lab.database.transaction() as conn:
        await boot_store.advance(conn, [Advance(device.id, 1, "configured", "configured", datetime.now(UTC), {}, "127.0.0.1")])
        sealed, generation = await expected_store.secret(conn, 1, device.id)
    first = password(lab.keyring.open(sealed, SECRET_CONTEXT), generation)
    simulated = Newcomer("router", version="15.7(3)M8", username="netd-boot", password=first, facts={"serial": "FTX1", "model": "CISCO2911/K9"})
    return await expected.get(lab.database, ACTOR, device.id), simulated


@contextmanager
def hurried(lab: Lab) -> Iterator[None]:
    """The driver without the patience that a real device needs."""
    driver: Any = lab.extensions.platforms["cisco_ios"].driver
    patient = driver.terminal
    driver.terminal = msgspec.structs.replace(patient, idle_timeout_seconds=30.0, login=msgspec.structs.replace(patient.login, busy_seconds=0.05))
    try:
        yield
    finally:
        driver.terminal = patient


async def finished(
    lab: Lab, device: ExpectedDevice, simulated: Newcomer, state: str = "succeeded", *, submitted: bool = False, known: str = "site_addressed"
) -> Any:
    """The job of a device that answers; ``known``: an SQL expression for who chose the address of the inventory's device of its name."""
    with hurried(lab):
        async with served(lab.extensions, "cisco_ios", simulated) as server:
            if submitted:
                async with lab.database.acquire() as conn:
                    await conn.execute("update devices set ports = $1, host_keys = '{}'", {"ssh": server.ssh_port})
                    newest = await conn.fetchval("select max(id) from jobs where kind = 'ztp.finish'")

                async def ended() -> bool:
                    return bool(await lab.rows("select from jobs where id = $1 and state = $2", newest, state))

                await lab.eventually(ended)
                return None
            await lab.device("edge1", "cisco_ios", server.ssh_port)
            async with lab.database.acquire() as conn:
                await conn.execute(f"update devices set site_addressed = {known}")
            return await lab.done("ztp.finish", state=state, ztp_device_id=device.id)


async def test_a_device_is_configured_verified_and_backed_up(lab: Lab) -> None:
    device, simulated = await booted(lab, make_nas=True)
    job = await finished(lab, device, simulated)
    after = await expected.get(lab.database, ACTOR, device.id)
    assert (after.state, after.reason) == ("verified", None)
    assert job.result["serial"] == "FTX1" and job.result["by"] == "a log-in with its own credential"
    typed = "\n".join(simulated.log)
    assert "hostname edge1" in typed and "username ops privilege 15 secret hunter2hunter2" in typed and "ntp server 192.0.2.1" in typed
    (nas,) = await lab.rows("select shortname, host(nasname) as address, secret from nas")
    secret = lab.keyring.open(nas["secret"], b"nas.secret").decode()
    assert (nas["shortname"], nas["address"]) == ("edge1", "127.0.0.1") and f"ip radius-key {secret}" in typed
    (record,) = await lab.rows("select id, nas_id, credential_id, host_keys, observed -> 'serial' ->> 'value' as serial from devices")
    assert record["id"] == after.device_id and record["nas_id"] and record["credential_id"] and record["host_keys"] and record["serial"] == "FTX1"
    for table in ("jobs", "job_log", "audit_log", "events", "ztp_steps", "ztp_devices", "configurations"):
        for row in await lab.rows(f"select to_jsonb(t)::text as text from {table} t"):
            assert not any(word in row["text"] for word in ("hunter2hunter2", "canarysnmp", secret)), table
    assert [row["kind"] for row in await lab.rows("select kind from jobs order by id")] == ["ztp.finish", "config.backup"]
    assert [row["type"] for row in await lab.rows("select type from events where type = 'ztp.verified'")] == ["ztp.verified"]


async def test_other_jobs_at_the_device_and_this_one_wait_for_each_other(lab: Lab) -> None:
    device, simulated = await booted(lab)
    with hurried(lab):
        async with served(lab.extensions, "cisco_ios", simulated) as server:
            record = await lab.device("edge1", "cisco_ios", server.ssh_port)
            key = f"device:{record.id}"
            async with lab.database.acquire() as conn:
                await conn.execute("update devices set site_addressed = false")
                other = await lab.submit("device.show", devices=["edge1"], commands=["show version"], job={"run_at": datetime.now(UTC) + timedelta(hours=1)})
                await conn.execute("insert into job_locks (tenant_id, key, job_id) values (1, $1, $2)", key, other.id)
            job = await lab.submit("ztp.finish", ztp_device_id=device.id)

            async def waits() -> bool:
                return "edge1 is waited for: another job is at it" in await lab.said(job)

            await lab.eventually(waits)
            assert simulated.log == []
            await lab.rows("create table held as select key, job_id from job_locks with no data")
            await lab.rows("create rule held as on delete to job_locks do also insert into held values (old.key, old.job_id)")
            await lab.rows("delete from job_locks where job_id = $1", other.id)
            (ended,) = await lab.until([job])
    assert ended.state == "succeeded", ended.error
    held = [(row["key"], row["job_id"]) for row in await lab.rows("select key, job_id from held")]
    assert held.count((key, job.id)) == 1  # once, from the first session to the last


async def test_another_device_than_expected_is_quarantined_and_may_be_tried_again(lab: Lab) -> None:
    device, simulated = await booted(lab, serial="FTX2")
    job = await finished(lab, device, simulated, "failed")
    after = await expected.get(lab.database, ACTOR, device.id)
    assert (after.state, after.reason) == ("failed", "its serial number is FTX1, not FTX2")
    assert job.error == after.reason
    assert not any("hunter2hunter2" in line for line in simulated.log), "it was told what is another's"
    async with lab.database.transaction() as conn:
        await expected_store.update(conn, 1, device.id, {"serial": "FTX1"})
    again = await expected.retry(lab.database, ACTOR, lab.kinds, lab.keyring, device.id, Retry(), datetime.now(UTC))
    assert again.state == "configured" and again.reason is None
    (queued,) = await lab.rows("select state from jobs where id = (select max(id) from jobs)")
    assert queued["state"] in ("queued", "running")


async def test_a_line_that_the_device_does_not_take(lab: Lab) -> None:
    device, simulated = await booted(lab, configuration="hostname {{ hostname }}\nfrobnicate {{ password }}\n")
    job = await finished(lab, device, simulated, "failed")
    after = await expected.get(lab.database, ACTOR, device.id)
    assert after.state == "failed" and "does not take" in (after.reason or "")
    assert "hunter2" not in (after.reason or "") and "hunter2" not in (job.error or "")


async def test_software_that_is_not_the_wanted_one(lab: Lab) -> None:
    device, simulated = await booted(lab, target_version="16.1")

    async def impatient() -> None:
        async def tried() -> bool:
            return bool(await lab.rows("select from jobs where kind = 'ztp.finish' and attempt >= 2"))

        await lab.eventually(tried)
        object.__setattr__(lab.tools, "boot_patience_seconds", 0.0)

    await asyncio.gather(finished(lab, device, simulated, "failed"), impatient())
    assert (await expected.get(lab.database, ACTOR, device.id)).reason == "it runs 15.7(3)M8, not 16.1"
    assert simulated.log.count("hostname edge1") == 1  # it is not told all of it with every attempt


async def test_a_device_that_loads_its_image_yet_is_waited_for_and_may_show_another_host_key(lab: Lab) -> None:
    async with lab.database.acquire() as conn:
        await conn.execute(
            """insert into software_images (tenant_id, platform, software_version, file_name, octets, sha256, md5, created_by)
               values (1, 'cisco_ios', '15.7(3)M8', 'new.bin', 1, $1, $2, 'ann')""", "a" * 64, "a" * 32,
        )  # fmt: skip
    device, simulated = await booted(lab, target_version="15.7(3)M8")
    object.__setattr__(lab.tools, "boot_patience_seconds", 0.0)  # of those that are told no image
    new, simulated.version = simulated.version, "15.6"

    async def waits(attempt: int) -> None:
        async def reached() -> bool:
            (job,) = await lab.rows("select state, attempt, error from jobs where kind = 'ztp.finish'")
            assert job["state"] in ("queued", "running"), job["error"]
            return bool(job["attempt"] >= attempt)

        await lab.eventually(reached)

    with hurried(lab):
        async with served(lab.extensions, "cisco_ios", simulated) as server:
            await lab.device("edge1", "cisco_ios", server.ssh_port)
            job = await lab.submit("ztp.finish", ztp_device_id=device.id)
            await waits(2)
        assert (await expected.get(lab.database, ACTOR, device.id)).state == "configured"
        simulated.version = new
        async with served(lab.extensions, "cisco_ios", simulated) as server:  # with a key of its own
            async with lab.database.acquire() as conn:
                await conn.execute("update devices set ports = $1", {"ssh": server.ssh_port})

            async def ended() -> bool:
                return (await lab.job(job)).state == "succeeded"

            await lab.eventually(ended)
    assert (await expected.get(lab.database, ACTOR, device.id)).state == "verified"


async def test_the_first_password_is_that_of_the_file_which_it_was_sent(lab: Lab) -> None:
    device, simulated = await booted(lab)
    async with lab.database.transaction() as conn:
        _, generation = await expected_store.secret(conn, 1, device.id)
        await boot_store.sends(conn, device.id, generation)
        await expected_store.spend(conn, 1, device.id)  # its service ended and came back meanwhile
        assert (await expected_store.secret(conn, 1, device.id))[1] > generation
    await finished(lab, device, simulated)
    assert (await expected.get(lab.database, ACTOR, device.id)).state == "verified"


async def test_what_somebody_of_a_site_expects_does_not_get_the_tenants_credentials(lab: Lab) -> None:
    object.__setattr__(lab.tools, "boot_patience_seconds", 0.0)
    device, simulated = await booted(lab, credential=None, configuration="hostname {{ hostname }}\nip radius-key {{ password | default('none') }}\n")
    async with lab.database.acquire() as conn:
        await conn.execute("update ztp_devices set site_addressed = true")
    await finished(lab, device, simulated, "failed")
    assert "is not for who expects this one to change" in str((await expected.get(lab.database, ACTOR, device.id)).reason) and not simulated.log
    async with lab.database.acquire() as conn:
        await conn.execute("update devices set hostname = 'core1'; update ztp_devices set state = 'configured'")
    await finished(lab, device, simulated, "failed", known="hostname = 'edge1'")  # for there is nothing left to log in with
    assert "ip radius-key none" in simulated.log


async def test_a_device_that_may_have_its_file_is_proved_by_the_log_in(lab: Lab) -> None:
    device, simulated = await booted(lab)
    async with lab.database.transaction() as conn:
        await conn.execute("update ztp_devices set state = 'fetching', configured_at = null")
        await boot_store.presume(conn, device.id, datetime.now(UTC))
    await finished(lab, device, simulated)
    assert (await expected.get(lab.database, ACTOR, device.id)).state == "verified"
    assert [row["step"] for row in await lab.rows("select step from ztp_steps order by id")][-2:] == ["configured", "verified"]


async def test_a_device_that_restarts_is_waited_for(lab: Lab) -> None:
    device, _ = await booted(lab)
    await lab.device("edge1", "cisco_ios", 1)  # nobody listens there
    job = await lab.submit("ztp.finish", ztp_device_id=device.id)

    async def waits() -> bool:
        return (await lab.job(job)).attempt >= 2

    await lab.eventually(waits)
    assert (await expected.get(lab.database, ACTOR, device.id)).state == "configured"


async def test_a_machine_that_is_too_busy_to_render_is_waited_for(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    device, _ = await booted(lab)
    await lab.device("edge1", "cisco_ios", 1)
    rendered = 0

    async def late(*_: object) -> tuple[list[Rendered], Rendered]:
        nonlocal rendered
        rendered += 1
        return [], Rendered(error="not done in 30 s", late=True)

    monkeypatch.setattr(rendering, "_process", late)
    await lab.submit("ztp.finish", ztp_device_id=device.id)

    async def waits() -> bool:
        return rendered >= 2

    await lab.eventually(waits)
    assert (await expected.get(lab.database, ACTOR, device.id)).state == "configured"


async def test_what_has_no_configuration_is_logged_in_to(lab: Lab) -> None:
    device, simulated = await booted(lab, configuration=None)
    job = await finished(lab, device, simulated)
    assert job.result["by"] == "a log-in"
    generation = (await finishing.delivery(lab.database, 1, device.id)).generation
    assert await finishing.verified(lab.database, device, generation, datetime.now(UTC), {}) is False  # once


async def customer(lab: Lab) -> None:
    await plans.create(lab.database, ACTOR, plans.NewPlan(name="home", down_bps=50_000_000, up_bps=10_000_000, vlan="7"))
    alice = subscribers.NewSubscriber(username="alice", password="wonderland", plan="home")
    await subscribers.create(lab.database, ACTOR, lab.keyring, alice, AnyAttribute())


async def arrived(simulated: Newcomer, folder: Path) -> dict[str, Path]:
    """What certificate, key and authority came to the device, as files."""
    found = {}
    for name, content in simulated.files.items():
        found[name] = folder / Path(name).name
        found[name].write_bytes(content)
    return found


LOGIN = "hostname {{ hostname }}\nusername {{ username }} privilege 15 secret {{ password }}\n"
CERTIFIED = LOGIN + "ip http certificate {{ certificate_file }} {{ certificate_key_file }} {{ ca_file }}\n"


async def test_a_certificate_is_installed_listed_and_renewed(lab: Lab, tmp_path: Path, require_peer: Callable[[str], str]) -> None:
    openssl = require_peer("openssl")
    device, simulated = await booted(lab, certificate="ec", certificate_folder="flash:", configuration=CERTIFIED)
    job = await finished(lab, device, simulated)
    files = await arrived(simulated, tmp_path)
    assert (
        set(files) == {"flash:netd.crt", "flash:netd.key", "flash:netd-ca.crt"}
        and "ip http certificate flash:netd.crt flash:netd.key flash:netd-ca.crt" in simulated.log
    )

    def verified(purpose: str) -> bool:
        chain = [openssl, "verify", "-x509_strict", "-purpose", purpose, "-CAfile", str(files["flash:netd-ca.crt"]), str(files["flash:netd.crt"])]
        publics = [
            subprocess.run([openssl, "x509", "-in", str(files["flash:netd.crt"]), "-noout", "-pubkey"], capture_output=True, check=True).stdout,
            subprocess.run([openssl, "pkey", "-in", str(files["flash:netd.key"]), "-pubout"], capture_output=True, check=True).stdout,
        ]
        return subprocess.run(chain, capture_output=True, check=False).returncode == 0 and publics[0] == publics[1]

    assert verified("sslserver") and verified("sslclient")
    (first,) = (await certificates.page(lab.database, ACTOR, certificates.CertificateQuery())).items
    assert (first.hostname, first.names, first.serial, first.subject) == ("edge1", ("edge1", "127.0.0.1"), job.result["certificate"], "2.5.4.5=FTX1,CN=edge1")
    assert first.installed_at is not None and first.replaced_at is None
    key = files["flash:netd.key"].read_text()

    await expected.retry(lab.database, ACTOR, lab.kinds, lab.keyring, device.id, Retry(renew=True), datetime.now(UTC))
    await finished(lab, device, simulated, submitted=True)
    files = await arrived(simulated, tmp_path)
    listed = (await certificates.page(lab.database, ACTOR, certificates.CertificateQuery())).items
    assert [each.replaced_at is None for each in listed] == [False, True] and listed[1].serial != first.serial
    assert verified("sslserver") and files["flash:netd.key"].read_text() != key
    kept = await lab.rows("select key is null as gone from certificates order by id")
    assert [row["gone"] for row in kept] == [True, False]  # who was replaced needs its key no more
    assert (await expected.get(lab.database, ACTOR, device.id)).state == "verified"
    secrets = [line for text in (key, files["flash:netd.key"].read_text()) for line in text.splitlines()[1:-1]]
    for table in ("jobs", "job_log", "audit_log", "events", "ztp_steps", "ztp_devices", "certificates", "certificate_authorities"):
        text = str(await lab.rows(f"select to_jsonb(t)::text as text from {table} t"))
        assert not any(line in text for line in secrets), table


async def test_secrets_in_a_line_that_is_refused_are_not_told(lab: Lab) -> None:
    await customer(lab)
    refused = LOGIN + "frobnicate {{ certificate_key_pem.split()[3] }} {{ subscriber_password }} {{ nas_secret }}\n"
    device, simulated = await booted(lab, certificate="ec", subscriber="alice", make_nas=True, configuration=refused)
    job = await finished(lab, device, simulated, "failed")
    after = await expected.get(lab.database, ACTOR, device.id)
    assert after.state == "failed" and after.reason == job.error and "frobnicate *** *** ***" in (after.reason or "")


async def test_a_certificate_that_is_not_on_its_device_yet_is_the_one_of_the_next_attempt(lab: Lab) -> None:
    device, _ = await booted(lab, certificate="rsa")
    now, terms = datetime.now(UTC), certificates.Terms()

    async def held(names: tuple[str, ...] = ("edge1", "127.0.0.1"), days: int = 0, **more: Any) -> str:
        return (await certificates.held(lab.database, lab.keyring, device, names, now + timedelta(days=days), terms, **more)).certificate.serial

    first = await held()
    assert await held() == first and await held(anew=True) == first  # it was never installed
    found = await certificates.held(lab.database, lab.keyring, device, ("edge1", "127.0.0.1"), now, terms)
    await certificates.installed(lab.database, found, now)
    assert await held() == first and await held(days=330) == first
    assert len({first, await held(days=336), await held(("edge1", "127.0.0.2"), days=336)}) == 3
    made = await certificates.create_authority(lab.database, ACTOR, lab.keyring, certificates.NewAuthority(), now)
    another = await certificates.held(lab.database, lab.keyring, device, ("edge2",), now, terms)
    assert another.authority == made.certificate and another.certificate.authority_id == made.id
    with pytest.raises(InvalidInput, match="do not belong together"):
        new = certificates.NewAuthority(certificate=made.certificate, key=found.key)
        await certificates.create_authority(lab.database, ACTOR, lab.keyring, new, now)


async def test_nobody_waits_for_a_key_to_be_made(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant's certificates and authorities are made one by one; keys of RSA take their time."""
    device, _ = await booted(lab, certificate="rsa")
    begun, go, key = threading.Event(), threading.Event(), pki.key

    def slow(algorithm: Any) -> str:
        begun.set()
        assert go.wait(60)
        return key(algorithm)

    monkeypatch.setattr(pki, "key", slow)
    now = datetime.now(UTC)
    making = asyncio.create_task(certificates.held(lab.database, lab.keyring, device, ["edge1"], now, certificates.Terms()))
    try:
        assert await asyncio.to_thread(begun.wait, 60)
        async with asyncio.timeout(50):
            another = await certificates.create_authority(lab.database, ACTOR, lab.keyring, certificates.NewAuthority(), now)
    finally:
        go.set()
    found = await making
    assert (found.certificate.algorithm, found.authority) == ("rsa", another.certificate)


@pytest.mark.parametrize("ends", ["verified", "quarantined"])
async def test_a_job_says_nothing_of_a_device_that_is_to_boot_anew_meanwhile(lab: Lab, monkeypatch: pytest.MonkeyPatch, ends: str) -> None:
    device, simulated = await booted(lab, serial="FTX1" if ends == "verified" else "FTX2")
    conclude = getattr(finishing, ends)

    async def late(db: Database, *more: Any) -> Any:
        await expected.retry(lab.database, ACTOR, lab.kinds, lab.keyring, device.id, Retry(boot=True), datetime.now(UTC))
        return await conclude(db, *more)

    monkeypatch.setattr(finishing, ends, late)
    job = await finished(lab, device, simulated, "failed")
    assert job.error == "meanwhile somebody told it to boot anew, or its service ended"
    after = await expected.get(lab.database, ACTOR, device.id)
    assert (after.state, after.reason) == ("expected", None)


async def test_a_certificate_says_no_serial_number_that_a_device_only_claims(lab: Lab) -> None:
    device, _ = await booted(lab, certificate="ec")
    claims = msgspec.structs.replace(device, serial=None, seen={"serial": "ANOTHERS"})
    found = await certificates.held(lab.database, lab.keyring, claims, ["edge1"], datetime.now(UTC), certificates.Terms())
    assert found.certificate.subject == "CN=edge1"
    known = await certificates.held(lab.database, lab.keyring, device, ["edge2"], datetime.now(UTC), certificates.Terms())
    assert known.certificate.subject in (f"CN=edge2,2.5.4.5={device.serial}", f"2.5.4.5={device.serial},CN=edge2")


async def test_an_authority_is_followed_before_what_it_signed_ends_with_it(lab: Lab) -> None:
    device, _ = await booted(lab, certificate="ec")
    now, terms, names = datetime.now(UTC), certificates.Terms(), ("edge1", "127.0.0.1")
    late = now + timedelta(days=pki.AUTHORITY_DAYS - 40)
    first = await certificates.held(lab.database, lab.keyring, device, names, now, terms)
    last = await certificates.held(lab.database, lab.keyring, device, names, late, terms)
    assert last.authority == first.authority and last.certificate.not_after == pki.shown(first.authority).not_after
    await certificates.installed(lab.database, last, late)
    async with lab.database.transaction() as conn:
        for state in ("configured", "verified"):
            await boot_store.advance(conn, [Advance(device.id, 1, state, state, now, {})])

        async def due(days: int) -> list[tuple[int, int]]:
            at = late + timedelta(days=days)
            return await boot_store.overdue(conn, at - timedelta(days=1), at + timedelta(days=terms.renew_days))

        assert (await due(9), await due(11)) == ([], [(1, device.id)])
    another = await certificates.held(lab.database, lab.keyring, device, names, late + timedelta(days=11), terms)
    assert another.authority != first.authority and another.certificate.not_after > last.certificate.not_after
    assert pki.signed_by(another.certificate.certificate, another.authority)
    own = certificates.NewAuthority(certificate=first.authority, key=await authority_key(lab))
    await certificates.create_authority(lab.database, ACTOR, lab.keyring, own, now)  # an operator's word is not netd's to replace
    kept = await certificates.held(lab.database, lab.keyring, device, ("edge2",), late + timedelta(days=11), terms)
    assert kept.authority == first.authority


async def authority_key(lab: Lab) -> str:
    async with lab.database.transaction() as conn:
        return lab.keyring.open(await certificate_store.key(conn, 1, "certificate_authorities", 1), certificates.AUTHORITY_CONTEXT).decode()


async def test_the_subscribers_password_goes_by_ssh_only(lab: Lab) -> None:
    await customer(lab)
    text = CONFIGURATION + "ip pppoe {{ subscriber.username }} {{ subscriber_password }} {{ subscriber.down_bps }} {{ subscriber.vlan }}\n"
    device, simulated = await booted(lab, subscriber="alice", configuration=text)
    await finished(lab, device, simulated)
    assert "ip pppoe alice wonderland 50000000 7" in simulated.log
    (row,) = await lab.rows("select service is not null as kept from ztp_devices")
    assert row["kept"]
    (record,) = await lab.rows("select s.username from devices d join subscribers s on s.id = d.subscriber_id")
    assert record["username"] == "alice"
    for table in ("jobs", "job_log", "audit_log", "events", "ztp_steps", "ztp_devices"):
        assert "wonderland" not in str(await lab.rows(f"select to_jsonb(t)::text as text from {table} t")), table
    with pytest.raises(InvalidInput, match="subscriber_password"):
        library = await _library(lab)
        await bootfile.rendered(Renderer(), library, msgspec.structs.replace(device, boot_template="{{ subscriber_password }}"), "boot", {})


async def _library(lab: Lab) -> templates.Library:
    async with lab.database.transaction() as conn:
        return await templates.library(conn, 1)
