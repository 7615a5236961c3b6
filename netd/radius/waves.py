"""The guard against mass actions: what would disconnect or wall too large a share of a tenant's live sessions at once waits for an operator.

Pure: time and the number of live sessions are arguments. A wave of wrong rows (an import that went wrong, a billing system with an empty
table, a clock that jumped) looks just like many right ones; only how many there are at once tells it apart.
"""

from collections import Counter, deque
from collections.abc import Set

from netd.config import EnforcementConfig


class _Tenant:
    __slots__ = ("acted", "held", "since")

    def __init__(self) -> None:
        self.acted: deque[tuple[float, int]] = deque()  # (when, how many sessions)
        self.held: dict[str, str] = {}  # session -> why
        self.since = 0.0


class Waves:
    """What was done lately and what is held, by tenant. Sessions go by their unique id."""

    def __init__(self, config: EnforcementConfig) -> None:
        self._config = config
        self._tenants: dict[int, _Tenant] = {}

    def admit(self, tenant_id: int, wishes: dict[str, str], live: int, now: float) -> bool:
        """Whether all of ``wishes`` (session -> why) may be acted upon now, ``live`` being the tenant's open sessions, they among them.

        If not, all are held, and whatever comes after them too, until ``release``. ``now`` is Unix time.
        """
        tenant = self._tenants.setdefault(tenant_id, _Tenant())
        if not tenant.held and not self._too_many(self.recent(tenant_id, now) + len(wishes), live):
            tenant.acted.append((now, len(wishes)))
            return True
        if not tenant.held:
            tenant.since = now
        tenant.held.update(wishes)
        return False

    def _too_many(self, sessions: int, live: int) -> bool:
        return sessions > self._config.hold_sessions and sessions > self._config.hold_share * live

    def may_matter(self, tenant_id: int, wishes: int, now: float) -> bool:
        """Whether the number of live sessions can make a difference: counting them takes time."""
        tenant = self._tenants.get(tenant_id)
        return (tenant is not None and bool(tenant.held)) or self.recent(tenant_id, now) + wishes > self._config.hold_sessions

    def recent(self, tenant_id: int, now: float) -> int:
        """How many sessions were acted upon within the window."""
        tenant = self._tenants.get(tenant_id)
        if tenant is None:
            return 0
        while tenant.acted and tenant.acted[0][0] < now - self._config.hold_window_seconds:
            tenant.acted.popleft()
        return sum(count for _, count in tenant.acted)

    def drop(self, tenant_id: int, session: str) -> None:
        """A session that is held ended, or is to be left alone again."""
        tenant = self._tenants.get(tenant_id)
        if tenant is not None:
            tenant.held.pop(session, None)

    def keep(self, tenant_id: int, sessions: Set[str]) -> None:
        """Drop what is held of sessions that are not among ``sessions`` (any more)."""
        tenant = self._tenants.get(tenant_id)
        if tenant is not None:
            for session in [session for session in tenant.held if session not in sessions]:
                del tenant.held[session]

    def release(self, tenant_id: int) -> dict[str, str]:
        """Give out what is held (an operator decided), and forget what was done before: the next wave is measured anew."""
        tenant = self._tenants.pop(tenant_id, None)
        return {} if tenant is None else tenant.held

    def held(self, tenant_id: int) -> dict[str, str]:
        """The sessions held, with why."""
        tenant = self._tenants.get(tenant_id)
        return {} if tenant is None else tenant.held

    def since(self, tenant_id: int) -> float:
        """Unix time at which the wave was held first."""
        tenant = self._tenants.get(tenant_id)
        return 0.0 if tenant is None else tenant.since

    def causes(self, tenant_id: int) -> dict[str, int]:
        """Why the sessions held would be acted upon, the commonest first."""
        return dict(Counter(self.held(tenant_id).values()).most_common(10))

    def tenants(self) -> list[int]:
        """Tenants with a wave that is held."""
        return [tenant_id for tenant_id, tenant in self._tenants.items() if tenant.held]
