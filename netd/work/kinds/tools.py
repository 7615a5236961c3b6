"""What kinds are made with; the daemon hands it in."""

from dataclasses import dataclass

from netd.keyring import Keyring
from netd.store.database import Database


@dataclass(frozen=True, kw_only=True, slots=True)
class Tools:
    """``database`` acts as netd_tenant, confined to the scope of a job's actor; ``owner`` sees all tenants, for what concerns them all."""

    database: Database
    owner: Database
    keyring: Keyring
