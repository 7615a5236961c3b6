"""From devices to targets: how each is reached, with its credentials in the clear and in the order in which they are tried. For services, not for the API."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address

from netd.domain.credentials import login, secrets_of
from netd.keyring import Keyring
from netd.model.inventory import PROTOCOLS, Device, Protocol, StoredCredential
from netd.model.target import Credential, Target
from netd.store import credentials as credential_store
from netd.store import devices as store
from netd.store.credentials import Sealed
from netd.store.database import Connection, Database


def reaches(credential: StoredCredential, address: IPv4Address | IPv6Address, site_id: int | None, *, site_addressed: bool = False) -> bool:
    """Whether a credential may be sent to an address at a site: of another site never, and to its networks only.

    ``site_addressed``: who chose the address sees that site only. The whole tenant's passwords would be for her to collect, with a server of her own
    there, so they are sent only where the networks that they name say so.
    """
    if credential.site_id is not None and credential.site_id != site_id:
        return False
    if site_addressed and credential.site_id is None and not credential.networks:
        return False
    return not credential.networks or any(address.version == each.version and address in each for each in credential.networks)


def order(device: Device, credentials: Iterable[StoredCredential], working: Mapping[str, int]) -> list[StoredCredential]:
    """Those to be tried, in order: the one that worked last, the site's, the tenant's. One that an operator chose for the device is the only one of its
    protocol: what does not fit must show, and guessing locks accounts. ``credentials`` come by position; ``working`` is protocol -> id."""
    known = tuple(credentials)
    able = [each for each in known if each.enabled and reaches(each, device.mgmt_address, device.site_id, site_addressed=device.site_addressed)]
    chosen = next((each for each in known if each.id == device.credential_id), None)
    if chosen is not None:
        able = [each for each in able if each is chosen or PROTOCOLS[each.type] != PROTOCOLS[chosen.type]]
    return sorted(able, key=lambda each: (working.get(PROTOCOLS[each.type]) != each.id, each.site_id is None))


def target(device: Device, credentials: Sequence[Credential], snmp_bulk: int | None = None) -> Target:
    """The device as transports see it."""
    return Target(
        key=key(device), address=device.mgmt_address, credentials=tuple(credentials), host_keys=device.host_keys, certificates=device.certificates,
        legacy_algorithms=device.legacy_algorithms, timeout_seconds=device.timeout_seconds, sessions=device.sessions, snmp_bulk=snmp_bulk,
        name=device.hostname,
    )  # fmt: skip


def key(device: Device) -> str:
    """What names it in queues, logs and metrics: no two devices of any tenants have the same, and it stays when the device is renamed."""
    return f"device-{device.id}"


class Opened:
    """Credentials that are opened once, however many devices they are for."""

    def __init__(self, keyring: Keyring, sealed: Iterable[Sealed]) -> None:
        self._keyring = keyring
        self._secrets = {each.credential.id: each.secret for each in sealed}
        self._made: dict[tuple[int, int | None], Credential] = {}

    def credential(self, stored: StoredCredential, port: int | None) -> Credential:
        """The credential with its secrets; ``port`` is the device's own, if it has one. Raises StoreError for what does not open."""
        found = self._made.get((stored.id, port))
        if found is None:
            made = login(stored, secrets_of(self._keyring, self._secrets[stored.id]))
            found = self._made[stored.id, port] = Credential(id=stored.id, name=stored.name, login=made, port=port or stored.port)
        return found


async def targets(db: Database, keyring: Keyring, tenant_id: int, device_ids: Sequence[int]) -> dict[int, Target]:
    """The targets of those devices that there are, by id. ``db`` is the daemon's own: a site's operator does not see the tenant's credentials, but a job
    at the site uses them. Raises StoreError for a secret that does not open."""
    async with db.transaction() as conn:
        return await within(conn, keyring, tenant_id, device_ids)


async def within(conn: Connection, keyring: Keyring, tenant_id: int, device_ids: Sequence[int]) -> dict[int, Target]:
    """The same within a transaction."""
    sealed = await credential_store.every(conn, tenant_id)
    working = await credential_store.working(conn, tenant_id, device_ids)
    bulk = await store.known_bulk_sizes(conn, tenant_id, device_ids)
    opened, stored, found = Opened(keyring, sealed), [each.credential for each in sealed], {}
    for device in await store.by_ids(conn, tenant_id, device_ids):
        tried = order(device, stored, working.get(device.id, {}))
        made = [opened.credential(each, device.ports.get(PROTOCOLS[each.type])) for each in tried]
        found[device.id] = target(device, made, bulk.get(device.id))
    return found


async def worked(db: Database, tenant_id: int, opened: Sequence[tuple[int, Protocol, int, datetime]]) -> None:
    """Remember which credentials opened devices: (device, protocol, credential, when), of many at once."""
    async with db.transaction() as conn:
        await credential_store.worked(conn, tenant_id, opened)


async def bulk_sizes(db: Database, tenant_id: int, sizes: Mapping[int, int]) -> None:
    """Remember by device which SNMP max-repetitions works."""
    async with db.transaction() as conn:
        await store.bulk_sizes(conn, tenant_id, sizes)
