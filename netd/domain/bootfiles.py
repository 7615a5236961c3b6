"""Which file a device gets that asks for one: the token, the address it asks from and the time decide, and every answer is audited.

Devices are told nothing of why they get none. HTTP and TFTP ask here and send what they are given.
"""

import asyncio
import contextlib
import hashlib
import logging
import stat
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from netd.config import BootConfig
from netd.domain import audit, bootfile, booting, boottokens, rendering, service, software, templates
from netd.domain.booting import BOOT_USER, Places
from netd.domain.boottokens import SECRET_CONTEXT, Wanted
from netd.domain.kinds import Kinds
from netd.domain.rendering import Renderer
from netd.domain.templates import Library
from netd.errors import BootRefused, Fault, InvalidInput, StoreError, WireError
from netd.keyring import Keyring
from netd.metrics import Counts, Metrics
from netd.model.boot import ExpectedDevice, Purpose, Transport
from netd.model.configuration import SoftwareImage
from netd.model.dhcp import BootProfile
from netd.store import boot as store
from netd.store import expected
from netd.store import software as image_store
from netd.store.boot import Advance, TokenRow
from netd.store.database import Connection, Database

log = logging.getLogger(__name__)

SOURCES: Final = 10_000
"""Addresses whose requests are counted; further ones push the longest silent out."""

BURST_SECONDS: Final = 10.0
UNAUDITED: Final = 20_000
FLUSH_SECONDS: Final = 0.25
SUMMED_SECONDS: Final = 60.0
SUMMARIES: Final = 500
"""Sources and reasons that are summed up at a time: who invents addresses fills no more rows than that in a minute."""


@dataclass(frozen=True, slots=True)
class BootFile:
    """What is to be sent: octets, or a file. ``digest`` is its token's."""

    tenant_id: int
    ztp_device_id: int
    purpose: Purpose
    name: str
    octets: int
    body: bytes | None
    path: Path | None
    digest: bytes
    source: str


class Askers:
    """How much each source may ask. A bucket per address, or /64 of IPv6, bounded in number."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # source -> (requests left, when)

    def may(self, source: str, now: float) -> bool:
        """Count a request; ``now`` is monotonic."""
        if not self._per_second:
            return True
        most = self._per_second * BURST_SECONDS
        key = bucket(source)
        left, at = self._left.get(key, (most, now))
        left = min(most, left + (now - at) * self._per_second)
        self._left[key] = (max(left - 1.0, 0.0), now)
        self._left.move_to_end(key)
        if len(self._left) > SOURCES:
            self._left.popitem(last=False)
        return left >= 1.0


@dataclass(slots=True)
class _Summary:
    """What a source was refused for one reason; ``until`` when it is written (monotonic)."""

    source: str
    first_at: datetime
    last_at: datetime
    until: float
    count: int = 1


class Sources(NamedTuple):
    """What a device's files are made from, as one transaction saw it."""

    library: Library
    image: SoftwareImage | None
    subscriber: dict[str, Any] | None


class _Asked(NamedTuple):
    known: TokenRow
    device: ExpectedDevice
    sources: Sources
    secret: bytes
    generation: int


class BootFiles:
    """Judges requests for files. ``database`` is the daemon's own: a token says whose it is."""

    def __init__(
        self, database: Database, keyring: Keyring, profiles: Mapping[str, BootProfile], config: BootConfig, images: Path, kinds: Kinds,
        now: Callable[[], datetime], clock: Callable[[], float], renderer: Renderer | None = None,
    ) -> None:  # fmt: skip
        self.database = database
        self.places = Places(config, profiles)
        self.images = images
        self.answers: Counts = Counts()  # (via, outcome)
        self.sent_octets: Counts = Counts()  # via
        self.connections: Counts = Counts()  # reason: HTTP connections that were not let in, or said nothing
        self._keyring = keyring
        self._config = config
        self._kinds = kinds
        self._now = now
        self._clock = clock
        self._sources = Askers(config.requests_per_second)
        self.renderer = renderer or Renderer()
        self._unaudited: list[tuple[int | None, str, str, str, dict[str, Any]]] = []  # tenant, source, object, result, what
        self._refusals: dict[tuple[int | None, str, str, Transport, str], _Summary] = {}  # tenant, object, source, way, reason
        self._queued = asyncio.Event()

    @property
    def window_days(self) -> int:
        """Days within which a device must come, where nobody says otherwise."""
        return self._config.window_days

    def register(self, metrics: Metrics) -> None:
        """Add the series."""
        metrics.counter_of("netd_boot_answers", "Requests for boot files by way and outcome", lambda: self.answers, ("via", "outcome"))
        metrics.counter_of("netd_boot_connections_refused", "HTTP connections for boot files closed by reason", lambda: self.connections, ("reason",))
        metrics.counter_of("netd_boot_octets", "Octets of boot files sent", lambda: self.sent_octets, ("via",))

    async def ask(self, path: str, source: str, via: Transport, *, begins: bool = True) -> BootFile:
        """The file; ``begins``: it is about to be sent, and its end will be told. Raises BootRefused, StoreUnavailable."""
        known: TokenRow | None = None
        try:
            if not self._sources.may(source, self._clock()):
                raise BootRefused("too_fast")
            wanted = _parsed(path)
            async with self.database.transaction() as conn:
                known = await store.token(conn, boottokens.digest(wanted.token))
                asked = await self._judged(conn, known, wanted, source, via)
            found = await self._made(asked, source)
            if begins:
                async with self.database.transaction() as conn:
                    await self._begun(conn, asked, found)
        except BootRefused as error:
            self._refused(known, source, via, error.reason)
            raise
        except InvalidInput as error:  # its template: nobody gets half a configuration
            if known is not None:
                async with self.database.transaction() as conn:
                    await booting.fail(conn, known.tenant_id, known.ztp_device_id, self._now(), f"its file cannot be made: {error}")
            self._refused(known, source, via, "not_rendered")
            raise BootRefused("not_rendered") from None
        self.answers[via, "served"] += 1
        self._note(found.tenant_id, source, str(found.ztp_device_id), "ok", {"file": found.name, "purpose": found.purpose, "via": via, "octets": found.octets})
        return found

    async def ended(self, file: BootFile, octets: int, via: Transport, *, sent: bool) -> None:
        """An answer ended and nobody said that it arrived; ``sent``: though all of it had been on the way. Raises StoreUnavailable."""
        self.sent_octets[via] += octets
        async with self.database.transaction() as conn:
            await store.ended(conn, file.digest, self._now(), sent=sent)

    async def delivered(self, file: BootFile, octets: int, via: Transport, *, whole: bool) -> None:
        """So much of it was sent; ``whole``: up to its end. Then the device goes on, and a job takes over. Raises StoreUnavailable."""
        if not whole:
            return await self.ended(file, octets, via, sent=False)
        self.sent_octets[via] += octets
        now = self._now()
        async with self.database.transaction() as conn:
            await store.whose(conn, file.ztp_device_id)  # locked before its tokens, as by who takes these away
            fresh = await store.delivered(conn, file.digest, now)
            device = await expected.get(conn, file.tenant_id, file.ztp_device_id)
            if device is None:
                return
            configures = file.purpose == self.places.configures(device.profile)
            if configures or file.purpose == "image":
                await store.goes_on(conn, device.id, now)
            if not fresh:
                return
            evidence = {"file": file.name, "octets": file.octets, "to": file.source, "via": via}
            step = Advance(device.id, device.tenant_id, "configured" if configures else None, "configured" if configures else "fetched", now, evidence)
            if await booting.advance(conn, [step]):
                await booting.finish(conn, self._kinds, self._keyring, device.tenant_id, device.id, now)

    async def _judged(self, conn: Connection, known: TokenRow | None, wanted: Wanted, source: str, via: Transport) -> "_Asked":
        """Who may have it, with all that it is made from: what takes time follows outside of the transaction."""
        now = self._now()
        if known is None:
            raise BootRefused("unknown_token")
        if str(known.address) != source:
            raise BootRefused("wrong_source")
        if known.expires_at <= now or known.closes_at <= now or not known.current:
            raise BootRefused("expired")
        if not known.serves:
            raise BootRefused("no_service")
        if known.state in ("verified", "failed"):
            raise BootRefused("used")
        device = await expected.get(conn, known.tenant_id, known.ztp_device_id)
        if device is None:
            raise BootRefused("unknown_token")
        sealed, generation = await expected.secret(conn, known.tenant_id, device.id)
        secret = self._keyring.open(sealed, SECRET_CONTEXT)
        known = await self._named(conn, known, device, secret, wanted.name)
        if known.done_at and known.done_at + timedelta(seconds=self._config.retry_seconds) <= now:
            raise BootRefused("used")
        if device.transport == "https" and via != "https":  # nobody on the way is to read what was meant to be encrypted
            raise BootRefused("not_encrypted")
        return _Asked(known, device, await sources(conn, device), secret, generation)

    async def _named(self, conn: Connection, known: TokenRow, device: ExpectedDevice, secret: bytes, name: str) -> TokenRow:
        """The token of the file that is meant. Devices that take names in one folder find all of their files beside the first. Raises BootRefused."""
        if name == self.places.name(device.profile, known.purpose, device.image):
            return known
        if known.purpose == "boot":
            for purpose in self.places.beside(device.profile):
                if name == self.places.name(device.profile, purpose, device.image):
                    text = boottokens.token(secret, known.generation, purpose, known.address)
                    found = await store.token(conn, boottokens.digest(text))
                    if found is not None:
                        return found
        raise BootRefused("wrong_name")

    async def _made(self, asked: "_Asked", source: str) -> BootFile:
        known, device, image = asked.known, asked.device, asked.sources.image
        body, path = None, None
        if known.purpose != "image":
            body = await self.render(device, asked.sources, asked.secret, asked.generation, known.address, known.purpose, told=known.generation)
            octets = len(body)
        elif image is None:
            raise BootRefused("no_image")
        else:
            path, octets = await asyncio.to_thread(self._file, image)
        name = self.places.name(device.profile, known.purpose, device.image)
        return BootFile(device.tenant_id, device.id, known.purpose, name, octets, body, path, known.digest, source)

    async def _begun(self, conn: Connection, asked: "_Asked", file: BootFile) -> None:
        """Written before the first octet goes out: what a crash leaves is seen by that."""
        now, known = self._now(), asked.known
        await store.whose(conn, file.ztp_device_id)  # locked before its tokens, as by who takes these away
        configures = file.purpose == self.places.configures(asked.device.profile)
        await store.fetched(conn, known.digest, now, configures=configures)
        if configures:
            await store.sends(conn, file.ztp_device_id, asked.generation)
        if not known.fetches:
            evidence = {"file": file.name, "octets": file.octets, "from": file.source}
            await booting.advance(conn, [Advance(file.ztp_device_id, file.tenant_id, "fetching", "fetching", now, evidence)])

    async def render(
        self, device: ExpectedDevice, sources: "Sources", secret: bytes, generation: int, address: IPv4Address | IPv6Address, purpose: Purpose = "boot",
        asked: rendering.Purpose = "boot", *, told: int | None = None,
    ) -> bytes:  # fmt: skip
        """What the device is sent at this address, with its first password; ``told`` is the generation of its tokens there, ``asked`` says whether it asks
        itself. Raises InvalidInput, Conflict."""
        kind = self.places.kind(device.profile)
        files = self._files(device, sources.image, secret, generation if told is None else told, address)
        context = first_context(device, address, boottokens.password(secret, generation), files)
        context["subscriber"] = sources.subscriber
        text = await bootfile.rendered(self.renderer, sources.library, device, "boot", context, asked)
        if text is None:
            raise InvalidInput([Fault("/boot_template", "there is none, and its role has none")])
        if purpose == "configuration" or not bootfile.has_list(kind):
            return bootfile.first("text" if purpose == "configuration" else kind, text, files, serial=device.serial or "", mac=device.mac or "")
        files = msgspec.structs.replace(files, configuration_sha256=hashlib.sha256(text.encode()).hexdigest())
        return bootfile.first(kind, text, files, serial=device.serial or str(device.seen.get("serial", "")), mac=device.mac or str(device.seen.get("mac", "")))

    def _files(self, device: ExpectedDevice, image: SoftwareImage | None, secret: bytes, generation: int, address: IPv4Address | IPv6Address) -> bootfile.Files:
        server = self.places.server(device.transport, address.version)
        configuration = self.places.path(device.profile, secret, generation, "configuration", address)
        found = "" if image is None else self.places.path(device.profile, secret, generation, "image", address, image.file_name)
        return bootfile.Files(
            server=server, directory_url=f"{server}/{self.places.path(device.profile, secret, generation, 'boot', address).rpartition('/')[0]}",
            configuration_url=f"{server}/{configuration}", configuration_path=configuration,
            image_url=f"{server}/{found}" if found else "",
            image_path=found, image_name=image.file_name if image else "", image_sha256=image.sha256 if image else "", image_md5=image.md5 if image else "",
        )  # fmt: skip

    def _file(self, image: SoftwareImage) -> tuple[Path, int]:
        """An image's file and size; a plain file, so that no link leads elsewhere. Raises BootRefused."""
        path = software.path_of(self.images, image)
        try:
            found = path.lstat()
        except OSError:
            raise BootRefused("no_image") from None
        if not stat.S_ISREG(found.st_mode) or found.st_size != image.octets:
            raise BootRefused("no_image")
        return path, found.st_size

    # -- audit -------------------------------------------------------------------------------------------------------

    def _refused(self, known: TokenRow | None, source: str, via: Transport, reason: str) -> None:
        """Count it; what one source is refused for one reason within a minute is one row."""
        self.answers[via, reason] += 1
        tenant_id, subject = (known.tenant_id, str(known.ztp_device_id)) if known is not None else (None, "")
        key = (tenant_id, subject, bucket(source), via, reason)
        summary = self._refusals.get(key)
        now = self._now()
        if summary is not None:
            summary.count += 1
            summary.last_at = now
        elif len(self._refusals) < SUMMARIES:
            self._refusals[key] = _Summary(source, now, now, self._clock() + SUMMED_SECONDS)
        else:
            self.answers["audit", "lost"] += 1
        self._queued.set()

    def _note(self, tenant_id: int | None, source: str, subject: str, result: str, what: dict[str, Any]) -> None:
        if len(self._unaudited) < UNAUDITED:
            self._unaudited.append((tenant_id, source, subject, result, what))
        else:
            self.answers["audit", "lost"] += 1
        self._queued.set()

    def _sum_up(self, *, all_of_them: bool) -> None:
        """Make rows of the summaries whose minute is over."""
        now = self._clock()
        for key in [key for key, each in self._refusals.items() if all_of_them or each.until <= now]:
            tenant_id, subject, source, via, reason = key
            found = self._refusals.pop(key)
            told = {"reason": reason, "via": via, "count": found.count, "first_at": found.first_at.isoformat(), "last_at": found.last_at.isoformat()}
            self._note(tenant_id, found.source, subject, "refused", told if source == found.source else {**told, "source": source})

    async def run(self) -> None:
        """Write the audit rows, some at a time, until cancelled; then what is left."""
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SUMMED_SECONDS / 10 if self._refusals else None):
                        await self._queued.wait()
                await asyncio.sleep(FLUSH_SECONDS)
                try:
                    await self.flush()
                except StoreError as error:
                    log.warning("audit rows of boot files wait", extra={"rows": len(self._unaudited), "error": str(error)})
                    await asyncio.sleep(1.0)
        finally:
            try:
                await self.flush(all_of_them=True)
            except StoreError as error:
                log.error("audit rows of boot files are lost", extra={"rows": len(self._unaudited), "error": str(error)})

    async def flush(self, *, all_of_them: bool = False) -> None:
        """Write what waits, and summaries of minutes that are over, or ``all_of_them``. Raises StoreError; then it waits on."""
        self._sum_up(all_of_them=all_of_them)
        self._queued.clear()
        batch = self._unaudited[:1000]
        if not batch:
            return
        try:
            async with self.database.transaction() as conn:
                for tenant_id, source, subject, result, what in batch:
                    owner = tenant_id or await store.tenant_at(conn, source)
                    if owner is not None:  # else nobody's: counted, and that is all
                        await audit.record(conn, booting.netd(owner, source), "ztp.fetch", "ztp_device", subject, after=what, result=result)
        except BaseException:
            self._queued.set()
            raise
        del self._unaudited[: len(batch)]
        if self._unaudited:
            self._queued.set()


async def sources(conn: Connection, device: ExpectedDevice) -> Sources:
    """The templates, the library's image of what the device should run, and its subscriber's service."""
    image = None
    if device.platform is not None and device.target_version is not None:
        image = await image_store.image_of_version(conn, device.tenant_id, device.platform, device.target_version)
    subscriber = await service.shown(conn, device.tenant_id, device.subscriber_id)
    return Sources(await templates.library(conn, device.tenant_id), image, subscriber)


def _parsed(path: str) -> Wanted:
    try:
        return boottokens.parse(path)
    except WireError as error:
        raise BootRefused(error.reason) from None


def bucket(source: str) -> str:
    """What is counted together: an address of IPv4, a /64 of IPv6, for who has one has all its addresses."""
    found = ip_address(source.partition("%")[0])
    if isinstance(found, IPv4Address):
        return source
    return source_of(source) if found.ipv4_mapped else f"{IPv6Address(int(found) >> 64 << 64)}/64"


def source_of(address: str) -> str:
    """An address as tokens have it: one of IPv4 also where it came by an IPv6 socket."""
    found = ip_address(address.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return str(mapped or found)


def first_context(device: ExpectedDevice, address: IPv4Address | IPv6Address, password: str, files: bootfile.Files) -> dict[str, Any]:
    """What the template of a first file sees: nothing of it is a secret that lasts."""
    seen = device.seen
    return {
        "hostname": device.hostname, "serial": device.serial or seen.get("serial", ""), "mac": device.mac or seen.get("mac", ""),
        "model": seen.get("model", ""), "circuit_id": seen.get("circuit_id", ""), "address": str(address), "role": device.role or "", "site": device.site or "",
        "boot_user": BOOT_USER, "boot_password": password, "server": files.server, "configuration_url": files.configuration_url,
        "image_url": files.image_url, "image_name": files.image_name, "image_sha256": files.image_sha256, "image_md5": files.image_md5,
    }  # fmt: skip
