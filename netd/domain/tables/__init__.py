"""Every table that can be exported and imported, by name. A new one is a module with a ``TABLE``, and a line here."""

from typing import Final

from netd.domain.table import Table
from netd.domain.tables import devices, nas, plans, pools, subscribers

TABLES: Final[dict[str, Table]] = {each.name: each for each in (subscribers.TABLE, plans.TABLE, nas.TABLE, pools.TABLE, devices.TABLE)}
