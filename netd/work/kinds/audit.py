"""``audit.verify``: is the audit log whole? Millions of rows take minutes; as a scheduled job a broken log is an event."""

from netd.domain import audit
from netd.domain.conversion import plain
from netd.domain.kinds import JobContext, Kind, NoArguments, whole_tenant
from netd.errors import JobFailed
from netd.work.kinds.tools import Tools


def kinds(tools: Tools) -> tuple[Kind, ...]:
    """The kinds of this module."""

    async def verify(job: JobContext, arguments: NoArguments) -> audit.Verification:
        found = await audit.verify(tools.database, job.actor, told=lambda rows, last_id: job.progress(None, f"{rows} rows are good, up to {last_id}"))
        await job.log(f"{found.rows} rows; the last is {found.last_id} with the hash {found.head}")
        if not found.whole:
            raise JobFailed(f"the log is not whole: {found.detail}", plain(found))
        return found

    return (
        Kind(
            name="audit.verify", title="Follow the chain of hashes through the audit log", args=NoArguments, run=verify, permission="audit:read",
            idempotent=True, timeout_seconds=3600, at_once=1, reach=whole_tenant,
        ),
    )  # fmt: skip
