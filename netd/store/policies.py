"""What the fingerprints of applied policies stand for. Of no tenant: a service names nobody."""

from collections.abc import Sequence
from ipaddress import ip_address

import msgspec

from netd.sdk import Service
from netd.store.database import Connection


async def load(conn: Connection) -> dict[str, Service]:
    """Every known fingerprint; what an older or newer netd wrote in a form that does not fit is left out."""
    found = {}
    for record in await conn.fetch("select fingerprint, service::text as service from policies"):
        values = msgspec.json.decode(record["service"])
        try:
            found[record["fingerprint"]] = Service(**values | {"dns": tuple(ip_address(text) for text in values.get("dns", ()))})
        except (TypeError, ValueError):
            continue  # then the step from it is unknown, which enforcement can live with
    return found


async def keep(conn: Connection, policies: Sequence[tuple[str, str, Service]]) -> None:
    """Add (fingerprint, vendor, service); known ones stay as they are."""
    await conn.execute(
        """insert into policies (fingerprint, vendor, service) select f, v, s::jsonb from unnest($1::text[], $2::text[], $3::text[]) as u (f, v, s)
           on conflict (fingerprint) do nothing""", [f for f, _, _ in policies], [v for _, v, _ in policies],
        [msgspec.json.encode(s, enc_hook=str).decode() for _, _, s in policies],
    )  # fmt: skip
