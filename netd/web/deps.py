"""All that the HTTP side needs of the rest of the daemon."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from netd.domain.ports import AccessProbe, AttributeRules, EnforcementControl, Health, SessionControl
from netd.keyring import Keyring
from netd.store.database import Database


class Metrics(Protocol):
    """Whatever can be scraped; answers from memory."""

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The exposition and its content type, in the format that the Accept header asks for."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class WebDeps:
    """``vendors`` are the names of usable drivers. ``settled`` returns once the engine knows what was committed before, or gives up soon:
    who was told of a subscriber can let it log in at once."""

    database: Database
    keyring: Keyring
    control: SessionControl
    enforcement: EnforcementControl
    probe: AccessProbe
    health: Health
    metrics: Metrics
    vendors: frozenset[str]
    rules: AttributeRules
    settled: Callable[[], Awaitable[object]]
    now: Callable[[], datetime]  # aware, UTC
