"""Looking for devices in ranges of addresses: which addresses, how fast, with what, and what is then the same device; and candidates that are accepted."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, summarize_address_range
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from netd.domain import audit, devices, facts, inputs, lists, sites
from netd.domain.actor import Actor
from netd.domain.devices import Catalogue, Hostname, NewDevice, Tags
from netd.domain.facts import Observation, text
from netd.domain.inputs import Faults, Label, given
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.pools import span
from netd.domain.recognition import NO_SERIAL, Recogniser
from netd.domain.targets import Opened, reaches
from netd.errors import Conflict, Fault, InvalidInput, NotFound
from netd.keyring import Keyring
from netd.model.device import Facts
from netd.model.inventory import PROTOCOLS, Candidate, DeviceKind, Finding, StoredCredential
from netd.model.target import Credential
from netd.store import candidates as store
from netd.store import credentials as credential_store
from netd.store.candidates import Found
from netd.store.database import Connection, Database

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
RangeText = Annotated[str, Meta(min_length=2, max_length=96, description="10.0.0.0/22, 10.0.0.1-10.0.0.99, one address")]

ADDRESSES_MOST = 65_536
PROFILES_MOST = 16


class DiscoveryOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to look for devices. Network and broadcast addresses of IPv4 prefixes are left out. ``credentials`` are names of SNMP ones that are tried (all
    that may be sent there). With ``silent`` also what answers no ping is asked: that takes as long as all timeouts together."""

    ranges: Annotated[tuple[RangeText, ...], Meta(min_length=1, max_length=100)]
    exclude: Annotated[tuple[RangeText, ...], Meta(max_length=1000)] = ()
    site: Label | None = None
    credentials: Annotated[tuple[Label, ...], Meta(max_length=PROFILES_MOST)] = ()
    rate_per_second: Annotated[float, Meta(ge=0.1, le=500, description="addresses that are begun")] = 50.0
    silent: bool = False


class DiscoveryPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What an order comes to. ``seconds_least``: it cannot be quicker, by its rate."""

    addresses: int
    seconds_least: float
    credentials: tuple[str, ...]
    site: str | None


class CandidatePatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ignore a candidate, or think about it again."""

    state: Literal["new", "ignored"] | UnsetType = UNSET


class Acceptance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the new device is to be, where it is not what was found. ``again``: although the candidate seems to be a device that is known."""

    hostname: Hostname | None = None
    vendor: Label | None = None
    platform: Label | None = None
    kind: DeviceKind | None = None
    site: Label | None = None
    credential: Label | None = None
    tags: Tags = ()
    again: bool = False


# -- which addresses -----------------------------------------------------------------------------------------------------


def networks(faults: Faults, where: str, texts: Sequence[str], *, hosts_only: bool) -> list[Network]:
    """Ranges as prefixes. Faults are reported."""
    found: list[Network] = []
    for place, each in enumerate(texts):
        at = f"/{where}/{place}"
        first = faults.attempt(at, lambda t: inputs.address(t.partition("-")[0].partition("/")[0].strip()), each)
        if first is None:
            continue
        limits = faults.attempt(at, partial(span, version=first.version, hosts_only=hosts_only), each)
        if limits is not None:
            of = IPv4Address if first.version == 4 else IPv6Address
            found += summarize_address_range(of(limits.first), of(limits.last))
    return found


def refused(network: Network) -> str | None:
    """Why nothing is looked for there: no device is managed at such an address."""
    first = network.network_address
    for word in ("multicast", "loopback", "link_local", "unspecified"):
        if getattr(first, f"is_{word}") or getattr(network.broadcast_address, f"is_{word}"):
            return f"{network} has {word.replace('_', '-')} addresses, at which no device is managed"
    return None


def spans(wanted: Sequence[Network], excluded: Sequence[Network]) -> list[tuple[int, int, int]]:
    """What is wanted and not excluded, as (IP version, first, last) in order, no address twice. Pure."""
    found: list[tuple[int, int, int]] = []
    without = sorted((each.version, int(each.network_address), int(each.broadcast_address)) for each in excluded)
    for version, first, last in sorted((each.version, int(each.network_address), int(each.broadcast_address)) for each in wanted):
        if found and found[-1][0] == version:
            first = max(first, found[-1][2] + 1)
        for of, low, high in without:
            if of != version or high < first or low > last:
                continue
            if low > first:
                found.append((version, first, low - 1))
            first = high + 1
        if first <= last:
            found.append((version, first, last))
    return found


def addresses(wanted: Sequence[Network], excluded: Sequence[Network]) -> Iterator[Address]:
    """The addresses, each once and in order; lazily, for there may be many."""
    for version, first, last in spans(wanted, excluded):
        of = IPv4Address if version == 4 else IPv6Address
        yield from map(of, range(first, last + 1))


def size(wanted: Sequence[Network]) -> int:
    """How many addresses at the most."""
    return sum(each.num_addresses for each in wanted)


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """An order that is ready to be carried out, with the SNMP profiles in the clear. Lives in memory only."""

    tenant_id: int
    site_id: int | None
    wanted: tuple[Network, ...]
    excluded: tuple[Network, ...]
    profiles: tuple[tuple[StoredCredential, Credential], ...]
    rate_per_second: float
    silent: bool
    plan: DiscoveryPlan

    def addresses(self) -> Iterator[Address]:
        """Where to look."""
        return addresses(self.wanted, self.excluded)

    def tried(self, address: Address) -> list[Credential]:
        """What may be sent to an address, in order."""
        return [opened for stored, opened in self.profiles if reaches(stored, address, self.site_id)]


def parsed(order: DiscoveryOrder) -> tuple[list[Network], list[Network]]:
    """The order's ranges and exclusions. Raises InvalidInput with all that is wrong."""
    faults = Faults()
    wanted, excluded = networks(faults, "ranges", order.ranges, hosts_only=True), networks(faults, "exclude", order.exclude, hosts_only=False)
    for reason in filter(None, map(refused, wanted)):
        faults.add("/ranges", reason)
    if size(wanted) > ADDRESSES_MOST:
        faults.add("/ranges", f"are {size(wanted)} addresses; at a time {ADDRESSES_MOST} are looked at")
    faults.check()
    return wanted, excluded


async def prepare(db: Database, owner: Database, keyring: Keyring, actor: Actor, order: DiscoveryOrder) -> Search:
    """Make an order ready: the caller's sites confine it, the credentials are the tenant's (``owner`` is the daemon's own way to them).

    Raises InvalidInput.
    """
    wanted, excluded = parsed(order)
    faults = Faults()
    columns: dict[str, Any] = {"site": order.site}
    async with db.transaction(actor.scope) as conn:
        await sites.place(conn, actor, faults, columns, new=True)
        seen = {each.credential.name.lower() for each in await credential_store.every(conn, actor.tenant_id)}
    for place, name in enumerate(order.credentials):
        if name.lower() not in seen:
            faults.add(f"/credentials/{place}", f"there is no credential {name}")
    faults.check()
    site_id: int | None = columns.get("site_id")
    async with owner.transaction() as conn:
        sealed = await credential_store.every(conn, actor.tenant_id)
        site = await _site_name(conn, actor, site_id)
    names = {each.lower() for each in order.credentials}
    opened = Opened(keyring, sealed)
    usable = [
        each.credential for each in sealed
        if PROTOCOLS[each.credential.type] == "snmp" and each.credential.enabled and (each.credential.name.lower() in names or not names)
        and each.credential.site_id in (None, site_id) and (actor.sites is None or each.credential.site_id is not None or each.credential.networks)
    ]  # fmt: skip
    usable = sorted(usable, key=lambda each: each.site_id is None)[:PROFILES_MOST]
    number = sum(last - first + 1 for _, first, last in spans(wanted, excluded))
    plan = DiscoveryPlan(addresses=number, seconds_least=number / order.rate_per_second, credentials=tuple(each.name for each in usable), site=site)
    return Search(
        tenant_id=actor.tenant_id, site_id=site_id, wanted=tuple(wanted), excluded=tuple(excluded),
        profiles=tuple((each, opened.credential(each, None)) for each in usable), rate_per_second=order.rate_per_second, silent=order.silent, plan=plan,
    )  # fmt: skip


async def _site_name(conn: Connection, actor: Actor, site_id: int | None) -> str | None:
    if site_id is None:
        return None
    return (await sites.held_site(conn, actor, site_id)).name


# -- what was found ------------------------------------------------------------------------------------------------------


def serial(said: str | None) -> str | None:
    """A serial number, None for what devices say that have none."""
    cleaned = text(said)
    return None if cleaned is None or cleaned.lower() in NO_SERIAL else cleaned


def same(one: Finding, other: Finding) -> bool:
    """Whether two addresses are of one device: they have one serial number; or where one does not say, one host key and one name, for images are cloned with
    their keys. Pure."""
    serials = serial(one.serial), serial(other.serial)
    if None not in serials:
        return serials[0] == serials[1]
    return one.host_key is not None and one.host_key == other.host_key and one.sys_name == other.sys_name


def merged(findings: Sequence[Finding]) -> list[tuple[Finding, tuple[Address, ...]]]:
    """Each device once, at its lowest address, and the others at which it answered. Pure."""
    found: list[tuple[Finding, list[Address]]] = []
    index: dict[object, list[int]] = {}
    for finding in sorted(findings, key=lambda each: (each.address.version, int(each.address))):
        keys = [key for key in (serial(finding.serial), finding.host_key) if key is not None]
        place = next((at for key in keys for at in index.get(key, ()) if same(found[at][0], finding)), None)
        if place is None:
            place = len(found)
            found.append((finding, []))
        elif finding.address != found[place][0].address:
            found[place][1].append(finding.address)
        for key in keys:
            index.setdefault(key, []).append(place)
    return [(finding, tuple(others)) for finding, others in found]


async def keep(db: Database, search: Search, findings: Sequence[Finding], recogniser: Recogniser) -> dict[str, int]:
    """Keep what was found as candidates; returns how many of them are new, accepted (known) and ignored. ``db`` is the daemon's own."""
    found = []
    for finding, also in merged(findings):
        platform = recogniser.recognise(finding.sys_object_id, finding.sys_descr, finding.banner)
        found.append(Found(
            address=str(finding.address), also_at=tuple(map(str, also)), answers=finding.answers, sys_object_id=text(finding.sys_object_id),
            sys_descr=text(finding.sys_descr), sys_name=text(finding.sys_name), serial=serial(finding.serial), banner=text(finding.banner),
            host_key=finding.host_key, credential_id=finding.credential_id, vendor=platform.vendor if platform else None,
            platform=platform.platform.name if platform else None, kind=platform.platform.kind if platform else None, at=finding.at,
        ))  # fmt: skip
    async with db.transaction() as conn:
        return await store.keep(conn, search.tenant_id, search.site_id, found)


# -- candidates ----------------------------------------------------------------------------------------------------------


CandidateQuery = lists.query_type(store.LISTING)


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[Candidate]:
    """Candidates, by id unless the query says otherwise. Raises InvalidInput."""
    wanted = lists.selection(store.LISTING, query, parse={"address": inputs.address})
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, store.of, wanted)


async def get(db: Database, actor: Actor, candidate_id: int) -> Candidate:
    """The candidate. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await _held(conn, actor, candidate_id)


async def update(db: Database, actor: Actor, candidate_id: int, patch: CandidatePatch, *, version: int | None = None) -> Candidate:
    """Ignore a candidate or think again; found again, an ignored one stays so. Raises NotFound; Conflict for an accepted one, or on another ``version``."""
    members = given(patch)
    async with db.transaction(actor.scope) as conn:
        before = await _held(conn, actor, candidate_id, lock=True, version=version)
        if not members:
            return before
        if before.state == "accepted" and before.device_id is not None:
            raise Conflict(f"candidate {before.address} is accepted as {before.device or 'a device'}", "state")
        await store.update(conn, actor.tenant_id, candidate_id, members)
        after = await _held(conn, actor, candidate_id)
        old, new = audit.changes(before, after)
        await audit.record(conn, actor, "candidate.update", "candidate", candidate_id, before=old, after=new)
    return after


async def delete(db: Database, actor: Actor, candidate_id: int, *, version: int | None = None) -> None:
    """Forget a candidate. Raises NotFound; Conflict on another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await _held(conn, actor, candidate_id, lock=True, version=version)
        if not await store.delete(conn, actor.tenant_id, candidate_id):
            raise NotFound("candidate", candidate_id)
        await audit.record(conn, actor, "candidate.delete", "candidate", candidate_id, before=audit.values(before))


async def accept(db: Database, actor: Actor, candidate_id: int, wanted: Acceptance, catalogue: Catalogue, now: datetime) -> Candidate:
    """Make a device of a candidate: its host key is pinned, what it said is kept as observed, and the SNMP profile that it answered comes first.

    Raises NotFound, InvalidInput; Conflict if it is accepted already, seems to be a known device, or its name is taken.
    """
    async with db.transaction(actor.scope) as conn:
        before = await _held(conn, actor, candidate_id, lock=True)
        if before.state == "accepted" and before.device_id is not None:
            raise Conflict(f"candidate {before.address} is accepted as {before.device or 'a device'} already", "state")
        if before.device_id is not None and not wanted.again:
            raise Conflict(f"candidate {before.address} seems to be {before.device or 'a known device'}: say `again` if it is another", "again")
        device = await devices.add(conn, actor, _device(before, wanted), catalogue)
        seen = Observation(
            device_id=device.id, source="discovery", at=before.last_seen_at, platform=None if wanted.platform else before.platform,
            facts=Facts(hostname=before.sys_name, serial=before.serial),
        )  # fmt: skip
        await facts.within(conn, actor.tenant_id, [seen])
        if before.credential_id is not None:
            await credential_store.worked(conn, actor.tenant_id, [(device.id, "snmp", before.credential_id, now)])
        await store.update(conn, actor.tenant_id, candidate_id, {"state": "accepted", "device_id": device.id})
        after = await _held(conn, actor, candidate_id)
        old, new = audit.changes(before, after)
        await audit.record(conn, actor, "candidate.accept", "candidate", candidate_id, before=old, after=new)
    return after


def _device(candidate: Candidate, wanted: Acceptance) -> NewDevice:
    vendor = wanted.vendor or candidate.vendor
    if vendor is None:
        raise InvalidInput([Fault("/vendor", "is needed: nothing was recognised")])
    members: Mapping[str, Any] = {
        "hostname": wanted.hostname or candidate.sys_name or str(candidate.address), "mgmt_address": str(candidate.address), "vendor": vendor,
        "platform": wanted.platform, "kind": wanted.kind or candidate.kind, "site": wanted.site or candidate.site, "credential": wanted.credential,
        "tags": wanted.tags, "host_keys": (candidate.host_key,) if candidate.host_key else (),
    }  # fmt: skip
    return NewDevice(**members)


async def _held(conn: Connection, actor: Actor, candidate_id: int, *, lock: bool = False, version: int | None = None) -> Candidate:
    found = await store.get(conn, actor.tenant_id, candidate_id, lock=lock) if 0 < candidate_id <= inputs.ROW_ID_MAX else None
    if found is None:
        raise NotFound("candidate", candidate_id)
    inputs.same_version("candidate", found.version, version)
    return found
