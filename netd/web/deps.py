"""All that the HTTP side needs of the rest of the daemon."""

import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Protocol

from netd.config import LoginConfig
from netd.device.http import Client
from netd.domain import reports as report
from netd.domain.bootfiles import BootFiles
from netd.domain.devices import Catalogue
from netd.domain.events import Stream
from netd.domain.imports import Turns
from netd.domain.joblog import JobWatch
from netd.domain.kinds import Kinds
from netd.domain.oidc import Provider
from netd.domain.ports import AccessProbe, AttributeRules, EnforcementControl, Health, Polling, SessionControl
from netd.domain.rendering import Renderer
from netd.keyring import Keyring
from netd.metrics import Counts
from netd.model.dhcp import BootProfile
from netd.sheets.converter import Converter
from netd.store.database import Database
from netd.web.listening import Listeners
from netd.web.ratelimit import RateLimit


class Metrics(Protocol):
    """Whatever can be scraped; answers from memory."""

    def pieces(self, accept: str = "") -> tuple[Iterator[bytes], str]:
        """The exposition, bit by bit, and its content type, in the format that the Accept header asks for."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class WebDeps:
    """``database`` acts as netd_tenant, confined to each caller's scope; ``owner`` sees all tenants, for what concerns them all.

    ``vendors`` are the names of usable drivers of RADIUS, ``catalogue`` is what devices may be of. ``kinds`` are those of jobs, ``watch`` follows their logs.
    ``settled`` returns once the engine knows what was committed before, or gives up soon:
    who was told of a subscriber can let it log in at once. ``public_url`` is where browsers reach netd ("": only this machine's do), ``public_limit``
    holds for addresses where no token is needed, ``own_limit`` for each subscriber with all tokens of its own account, ``password_limit`` for its
    attempts to change the password."""

    database: Database
    owner: Database
    keyring: Keyring
    control: SessionControl
    enforcement: EnforcementControl
    probe: AccessProbe
    health: Health
    polling: Polling
    metrics: Metrics
    vendors: frozenset[str]
    boot_profiles: tuple[BootProfile, ...] = ()
    rules: AttributeRules
    limit: RateLimit
    stream: Stream
    kinds: Kinds
    boot_files: BootFiles
    watch: JobWatch
    client: Client
    settled: Callable[[], Awaitable[object]]
    now: Callable[[], datetime]  # aware, UTC
    monotonic: Callable[[], float] = time.monotonic
    login: LoginConfig = field(default_factory=LoginConfig)
    oidc: Provider | None = None
    catalogue: Catalogue = field(default_factory=lambda: Catalogue(frozenset(), {}))
    images: Path = Path("images")  # the folder with software images' files
    public_url: str = ""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    renderer: Renderer = field(default_factory=Renderer)
    converter: Converter = field(default_factory=Converter)
    imports: Turns = field(default_factory=Turns)
    reports: report.Turns = field(default_factory=report.Turns)
    public_limit: RateLimit = field(default_factory=lambda: RateLimit(5.0, 60))
    login_attempts: Counts = field(default_factory=Counts)  # by method and result
    listeners: Listeners = field(default_factory=Listeners)
    own_limit: RateLimit = field(default_factory=lambda: RateLimit(5.0, 60))
    password_limit: RateLimit = field(default_factory=lambda: RateLimit(1 / 180, 5))
