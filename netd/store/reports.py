"""What reports count."""

from datetime import date
from typing import Any

from netd.store.database import Connection

Rows = list[tuple[Any, ...]]


async def subscribers_by_plan(conn: Connection, tenant_id: int) -> Rows:
    """(plan, pending, active, suspended, terminated, all) for each plan that is somebody's."""
    return [tuple(record) for record in await conn.fetch(
        """select p.name, count(*) filter (where s.state = 'pending'), count(*) filter (where s.state = 'active'),
                  count(*) filter (where s.state = 'suspended'), count(*) filter (where s.state = 'terminated'), count(*)
           from subscribers s join plans p on p.tenant_id = s.tenant_id and p.id = s.plan_id
           where s.tenant_id = $1 group by p.id, p.name order by lower(p.name)""", tenant_id,
    )]  # fmt: skip


async def usage_by_plan(conn: Connection, tenant_id: int, first: date, last: date) -> Rows:
    """(day, plan, subscribers with traffic, octets down, octets up, seconds online) for each UTC day and plan, both days included.

    The plan is the one that a subscriber has now: what it was on that day is not kept.
    """
    return [tuple(record) for record in await conn.fetch(
        """select u.day::text, p.name, count(*), sum(u.down_octets)::bigint, sum(u.up_octets)::bigint, sum(u.session_seconds)::bigint
           from usage_daily u join subscribers s on s.tenant_id = u.tenant_id and s.id = u.subscriber_id
           join plans p on p.tenant_id = s.tenant_id and p.id = s.plan_id
           where u.tenant_id = $1 and u.day between $2 and $3 group by u.day, p.id, p.name order by u.day, lower(p.name)""", tenant_id, first, last,
    )]  # fmt: skip
