"""What kinds are made with; the daemon hands it in."""

from dataclasses import dataclass
from datetime import UTC, datetime

from netd.domain.configurations import Intended
from netd.keyring import Keyring
from netd.model.inventory import Device
from netd.store.database import Database
from netd.work.sessions import DeviceSessions


@dataclass(frozen=True, kw_only=True, slots=True)
class Tools:
    """``database`` acts as netd_tenant, confined to the scope of a job's actor; ``owner`` sees all tenants, for what concerns them all.

    ``sessions`` is the way to devices, None for who has none; ``boot_retry_seconds`` is how long a device that boots is left alone.
    """

    database: Database
    owner: Database
    keyring: Keyring
    sessions: DeviceSessions | None = None
    boot_retry_seconds: float = 15.0

    def now(self) -> datetime:
        """The time."""
        return datetime.now(UTC)

    async def intended(self, device: Device) -> Intended | None:
        """What the device's template says; None: it has none."""
        return None

    async def exported(self, tenant_id: int, job_id: int) -> str | None:
        """Export to git, if that is wanted; returns the commit."""
        return None
