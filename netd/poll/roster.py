"""The devices that this node polls, kept in line with the inventory, and what the inventory learns from polling. All traffic with the store is here."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, TypeVar

from netd.domain import facts, targets
from netd.domain.facts import Observation
from netd.domain.imports import Slices
from netd.errors import StoreError
from netd.extensions import DevicePlatform
from netd.keyring import Keyring
from netd.model.inventory import Protocol
from netd.poll.watched import Watched
from netd.store import devices as store
from netd.store import telemetry
from netd.store.database import Database
from netd.store.devices import Polled

K = TypeVar("K")
V = TypeVar("V")

log = logging.getLogger(__name__)

REFRESH_SECONDS: Final = 15.0
LEARN_SECONDS: Final = 2.0
ANEW_EVERY: Final = 40
"""Refreshes after which every target is made anew: a changed credential changes no device."""

OBSERVATIONS_AT_A_TIME: Final = 100
DEVICES_AT_A_TIME: Final = 500
LOADED_AT_A_TIME: Final = 100
NAMED_AT_A_TIME: Final = 50
"""How much is done with what one statement gave before others have their turn: RADIUS is answered in the same loop. Devices may have fifty interfaces each."""


class Roster:
    """Devices by id. ``mine`` says which are this node's; ``came`` and ``went`` are called for each that is new, changed, or gone."""

    def __init__(
        self, database: Database, keyring: Keyring, platforms: Mapping[str, DevicePlatform], mine: Callable[[int], bool], *,
        came: Callable[[Watched], None], went: Callable[[Watched], None], now: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self.devices: dict[int, Watched] = {}
        self.wake = asyncio.Event()
        self.last_error = ""
        self._database = database
        self._keyring = keyring
        self._platforms = platforms
        self._mine = mine
        self._came = came
        self._went = went
        self._now = now
        self._rounds = 0
        self._doubtful: set[int] = set()
        self._nameless: set[int] = set()
        self._observations: dict[tuple[int, bool], tuple[int, Observation]] = {}  # of each device the newest of either kind
        self._worked: dict[int, dict[int, tuple[int, Protocol, int, datetime]]] = defaultdict(dict)
        self._bulk: dict[int, dict[int, int]] = defaultdict(dict)

    async def try_to_refresh(self) -> None:
        """Follow the inventory; what the store cannot do now is tried again."""
        self.wake.clear()
        try:
            await self.refresh()
            self.last_error = ""
        except StoreError as error:
            self.last_error = str(error)
            log.warning("devices to poll not read", extra={"error": str(error)})

    async def refresh(self) -> None:
        """Take what is new or changed, let go what is no longer this node's. Raises StoreError."""
        anew = self._rounds % ANEW_EVERY == 0
        self._rounds += 1
        found = await self._polled()
        for device_id in self.devices.keys() - found.keys():
            self._went(self.devices.pop(device_id))
        doubtful, self._doubtful = self._doubtful, set()
        wanted: dict[int, list[Polled]] = defaultdict(list)
        slices = Slices()
        for each in found.values():
            await slices.breathe()
            watched = self.devices.get(each.id)
            if anew or watched is None or watched.device.version != each.version or each.id in doubtful:
                wanted[each.tenant_id].append(each)
        for tenant_id, devices in wanted.items():
            for start in range(0, len(devices), LOADED_AT_A_TIME):
                await self._load(tenant_id, devices[start : start + LOADED_AT_A_TIME])
        self._nameless |= {device_id for device_id, watched in self.devices.items() if anew and watched.ports}  # monitored or not may have changed

    async def _polled(self) -> dict[int, Polled]:
        """This node's devices, some at a time."""
        found: dict[int, Polled] = {}
        last = 0
        async with self._database.transaction() as conn:
            while some := await store.polled(conn, last, DEVICES_AT_A_TIME):
                found |= {each.id: each for each in some if self._mine(each.id)}
                last = some[-1].id
        return found

    async def _load(self, tenant_id: int, devices: list[Polled]) -> None:
        made = await targets.targets(self._database, self._keyring, tenant_id, [each.id for each in devices])
        for device in devices:
            if device.id not in made:
                continue
            watched = self.devices.get(device.id) or Watched(device)
            watched.target = made[device.id]
            watched.use(device, self._platforms)
            self.devices[device.id] = watched
            self._came(watched)

    # -- what is learned -------------------------------------------------------------------------------------------------

    def doubt(self, watched: Watched) -> None:
        """Its credentials did not work: what the store has now is looked at again."""
        self._doubtful.add(watched.device.id)

    def opened(self, watched: Watched, credential_id: int) -> None:
        """This SNMP profile worked."""
        self._worked[watched.device.tenant_id][watched.device.id] = (watched.device.id, "snmp", credential_id, self._now())

    def bulk(self, watched: Watched, size: int) -> None:
        """So many rows at a time are what it bears."""
        self._bulk[watched.device.tenant_id][watched.device.id] = size

    def observe(self, watched: Watched, observation: Observation) -> None:
        """What it says of itself is other than before."""
        self._observations[watched.device.id, observation.interfaces is None] = (watched.device.tenant_id, observation)
        if observation.interfaces is not None:
            self._nameless.add(watched.device.id)

    async def try_to_learn(self) -> None:
        """Write what was learned; if the store is away, it waits."""
        try:
            await self.learn_once()
        except StoreError as error:
            log.warning("what devices say is not kept yet", extra={"error": str(error)})

    async def learn_once(self) -> None:
        """Write what was learned, and find out which interfaces have which ids. Raises StoreError; what was not written waits.

        What comes meanwhile is for the next time: devices are looked at as fast as a slow store takes what they say, and then nothing else would have its turn.
        """
        said: dict[int, list[tuple[int, bool]]] = defaultdict(list)  # by tenant
        for key, (tenant_id, _) in self._observations.items():
            said[tenant_id].append(key)
        for tenant_id, keys in said.items():
            for start in range(0, len(keys), OBSERVATIONS_AT_A_TIME):
                batch = {key: self._observations[key] for key in keys[start : start + OBSERVATIONS_AT_A_TIME]}
                taken = await facts.take(self._database, tenant_id, [each for _, each in batch.values()])
                _forget(self._observations, batch)
                self._nameless.update(device_id for device_id, only_facts in batch if not only_facts)
                if taken.changes:
                    self.wake.set()
        for tenant_id, worked in list(self._worked.items()):
            opened = dict(worked)
            await targets.worked(self._database, tenant_id, list(opened.values()))
            _forget(worked, opened)
            if not worked and self._worked.get(tenant_id) is worked:
                del self._worked[tenant_id]
        for tenant_id, bulk in list(self._bulk.items()):
            sizes = dict(bulk)
            await targets.bulk_sizes(self._database, tenant_id, sizes)
            _forget(bulk, sizes)
            if not bulk and self._bulk.get(tenant_id) is bulk:
                del self._bulk[tenant_id]
        nameless = sorted(self._nameless)
        for start in range(0, len(nameless), NAMED_AT_A_TIME):
            named = nameless[start : start + NAMED_AT_A_TIME]
            async with self._database.transaction() as conn:
                known = await telemetry.ports(conn, named)
            for device_id, name, interface_id, monitored in known:
                watched = self.devices.get(device_id)
                port = None if watched is None else watched.ports.get(name)
                if port is not None:
                    port.id, port.monitored = interface_id, monitored
            self._nameless.difference_update(named)


def _forget(waiting: dict[K, V], written: Mapping[K, V]) -> None:
    """Leave what came while the rest was written."""
    for key, value in written.items():
        if waiting.get(key) is value:
            del waiting[key]
