"""Jobs that look at devices: ``discovery.search``."""

from netd.domain import discovery, sites
from netd.domain.actor import Actor
from netd.domain.discovery import DiscoveryOrder
from netd.domain.inputs import Faults
from netd.domain.kinds import JobContext, Kind, Reach
from netd.keyring import Keyring
from netd.poll.discovery import Discovery, Result
from netd.store.database import Connection, Database

SEARCH_SECONDS = 24 * 3600.0


async def _reach(conn: Connection, actor: Actor, order: DiscoveryOrder) -> Reach:
    """A search of who sees some sites only is about its site. One of the whole tenant's stays that, with its credentials. Raises InvalidInput for ranges and
    sites that cannot be."""
    discovery.parsed(order)
    faults = Faults()
    columns: dict[str, object] = {"site": order.site}
    await sites.place(conn, actor, faults, columns, new=True)
    faults.check()
    site_id = columns.get("site_id")
    return Reach(sites=frozenset((site_id,)) if isinstance(site_id, int) and actor.sites is not None else None)


def kinds(database: Database, owner: Database, keyring: Keyring, searches: Discovery) -> tuple[Kind, ...]:
    """The kinds. ``database`` acts as netd_tenant, ``owner`` is the daemon's own."""

    async def search(job: JobContext, order: DiscoveryOrder) -> Result:
        prepared = await discovery.prepare(database, owner, keyring, job.actor, order)
        names = ", ".join(prepared.plan.credentials) or "none"
        await job.log(f"{prepared.plan.addresses} addresses, at least {prepared.plan.seconds_least:.0f} s; SNMP credentials: {names}")

        def progress(done: int, total: int, found: int) -> None:
            job.progress(done / total, f"{done} of {total} addresses, {found} answered")

        result = await searches.run(prepared, progress)
        await job.log(f"{result.answered} of {result.asked} answered: {result.new} are new, {result.accepted} known, {result.ignored} ignored")
        return result

    return (
        Kind(
            name="discovery.search", title="Look for devices in ranges of addresses", args=DiscoveryOrder, run=search, permission="devices:discover",
            idempotent=True, timeout_seconds=SEARCH_SECONDS, at_once=4, reach=_reach,
        ),
    )  # fmt: skip
