"""Every table that can be exported and imported, by name. A new one is a module with a ``TABLE``, and a line here."""

from typing import Final

from netd.domain.table import Table
from netd.domain.tables import credentials, device_groups, devices, nas, plans, pools, schedules, subscribers, thresholds

TABLES: Final[dict[str, Table]] = {
    each.name: each
    for each in (
        subscribers.TABLE, plans.TABLE, nas.TABLE, pools.TABLE, devices.TABLE, credentials.TABLE, device_groups.TABLE, thresholds.TABLE, schedules.TABLE,
    )
}  # fmt: skip
