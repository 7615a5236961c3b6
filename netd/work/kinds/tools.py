"""What kinds are made with; the daemon hands it in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from netd.config import PollConfig
from netd.domain import templates
from netd.domain.certificates import Terms
from netd.domain.commands import ShowRules
from netd.domain.configurations import Intended
from netd.domain.rendering import Renderer
from netd.domain.report_queries import Measured
from netd.keyring import Keyring
from netd.sheets.converter import Converter
from netd.store.database import Database
from netd.work.gitexport import GitExport
from netd.work.looks import Looks
from netd.work.sessions import DeviceSessions


@dataclass(frozen=True, kw_only=True, slots=True)
class Tools:
    """``database`` acts as netd_tenant, confined to the scope of a job's actor; ``owner`` sees all tenants, for what concerns them all.

    ``sessions`` is the way to devices, None for who has none; ``images`` is the folder with software images' files; ``boot_retry_seconds`` is how long a
    device that boots is left alone, ``boot_patience_seconds`` how long it may take in all, ``upgrade_patience_seconds`` where it was told an image;
    ``looks`` are ways to see what it is without logging in, ``managed`` says whether devices of a boot profile have an ACS,
    ``terms`` are those of certificates. ``measured`` is what reports must know of polling, ``converter`` writes them as spreadsheets and on paper.
    """

    database: Database
    owner: Database
    keyring: Keyring
    sessions: DeviceSessions | None = None
    images: Path | None = None
    export: GitExport | None = None
    rules: ShowRules = field(default_factory=ShowRules)
    renderer: Renderer = field(default_factory=Renderer)
    boot_retry_seconds: float = 15.0
    boot_patience_seconds: float = 600.0
    upgrade_patience_seconds: float = 3600.0
    looks: Looks | None = None
    managed: Callable[[str], bool] = field(default=lambda profile: False)
    terms: Terms = field(default_factory=Terms)
    measured: Measured = field(default_factory=lambda: Measured(PollConfig().kept_days(), PollConfig().reach_seconds))
    converter: Converter = field(default_factory=Converter)

    def now(self) -> datetime:
        """The time."""
        return datetime.now(UTC)

    async def intended(self, tenant_id: int, device_ids: Sequence[int]) -> dict[int, Intended]:
        """What the devices' templates say; a device without one is left out."""
        return await templates.intended(self.owner, self.renderer, tenant_id, device_ids)

    async def exported(self, tenant_id: int, job_id: int) -> str | None:
        """Export what every device of the tenant runs to git, if that is wanted; returns the commit, None if nothing differs. Raises ExportFailed."""
        if self.export is None or self.sessions is None:
            return None
        return await self.export.run(self.owner, self.keyring, self.sessions.platforms, tenant_id, f"job {job_id}", self.now())
