"""``secret.rotate``: a new key, and every secret of every tenant sealed with it. It may be stopped at any point, and goes on when begun again."""

import msgspec

from netd.domain import secrets
from netd.domain.conversion import plain
from netd.domain.kinds import JobContext, Kind, whole_tenant
from netd.domain.secrets import Rotation
from netd.errors import JobFailed
from netd.work.kinds.tools import Tools


class RotationOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``new_key`` false: no further key, only finish what an earlier rotation began."""

    new_key: bool = True


def kinds(tools: Tools) -> tuple[Kind, ...]:
    """The kinds of this module."""

    async def rotate(job: JobContext, order: RotationOrder) -> Rotation:
        new_key = order.new_key and job.job.attempt == 1  # a further attempt finishes what the first one began
        done = await secrets.rotate(tools.owner, job.actor, tools.keyring, new_key=new_key)
        await job.log(f"sealed with the key {done.key_id}: {', '.join(f'{count} {name}' for name, count in done.counts().items())}")
        if not done.complete:
            raise JobFailed("something is still sealed with an older key: another node goes on using it; start the job again with new_key false", plain(done))
        return done

    return (
        Kind(
            name="secret.rotate", title="Make a new key and seal every secret with it", args=RotationOrder, run=rotate, permission="secrets:rotate",
            idempotent=True, timeout_seconds=6 * 3600, at_once=1, reach=whole_tenant,
        ),
    )  # fmt: skip
