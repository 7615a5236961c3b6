"""Organizations and sites."""

from collections.abc import Mapping, Sequence
from typing import Any

from netd.model.site import Organization, Site
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

SITE_COLUMNS = ("name", "organization_id", "note")
ORGANIZATION_COLUMNS = ("name", "parent_id", "note")
"""What can be set."""

_SITES = """select s.id, s.tenant_id, s.name, s.organization_id, o.name as organization, s.note, s.version, s.created_at, s.updated_at
            from sites s left join organizations o on o.tenant_id = s.tenant_id and o.id = s.organization_id"""
_ORGANIZATIONS = """select s.id, s.tenant_id, s.name, s.parent_id, p.name as parent, s.note, s.version, s.created_at, s.updated_at
                    from organizations s left join organizations p on p.tenant_id = s.tenant_id and p.id = s.parent_id"""


_OF_SITES = "sites s left join organizations o on o.tenant_id = s.tenant_id and o.id = s.organization_id"
SITES = Listing(
    kind="site", select=_SITES, counted=_OF_SITES, tenant="s.tenant_id", id="s.id", search="lower(s.name) like {}",
    columns={
        "id": Column(sql="s.id", kind=int, cast="bigint"), "name": Column(sql="lower(s.name)", param="lower({})", sortable=True),
        "organization": Column(sql="lower(o.name)", param="lower({})", nullable=True),
        "organization_id": Column(sql="s.organization_id", kind=int, cast="bigint", nullable=True),
    },
)  # fmt: skip
ORGANIZATIONS = Listing(
    kind="organization", select=_ORGANIZATIONS, counted="organizations s", tenant="s.tenant_id", id="s.id", search="lower(s.name) like {}",
    columns={
        "id": Column(sql="s.id", kind=int, cast="bigint"), "name": Column(sql="lower(s.name)", param="lower({})", sortable=True),
        "parent_id": Column(sql="s.parent_id", kind=int, cast="bigint", nullable=True),
    },
)  # fmt: skip


def sites_of(records: Sequence[Mapping[str, Any]]) -> list[Site]:
    """Sites of the listing's records."""
    return [Site(**record) for record in records]


def organizations_of(records: Sequence[Mapping[str, Any]]) -> list[Organization]:
    """Organizations of the listing's records."""
    return [Organization(**record) for record in records]


async def insert_site(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> int:
    """Add a site; returns its id. Raises Conflict through the transaction: the name is taken, no such organization."""
    statement, args = rows.insertion("sites", SITE_COLUMNS, tenant_id, values)
    return int(await conn.fetchval(f"{statement} returning id", *args))


async def insert_organization(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> int:
    """Add an organization; returns its id. Raises Conflict through the transaction: the name is taken, no such parent."""
    statement, args = rows.insertion("organizations", ORGANIZATION_COLUMNS, tenant_id, values)
    return int(await conn.fetchval(f"{statement} returning id", *args))


async def site(conn: Connection, tenant_id: int, site_id: int, *, lock: bool = False) -> Site | None:
    """The site; with ``lock`` nobody else changes it until the transaction ends."""
    record = await conn.fetchrow(f"{_SITES} where s.tenant_id = $1 and s.id = $2{' for update of s' if lock else ''}", tenant_id, site_id)
    return None if record is None else Site(**record)


async def organization(conn: Connection, tenant_id: int, organization_id: int, *, lock: bool = False) -> Organization | None:
    """The organization; with ``lock`` nobody else changes it until the transaction ends."""
    record = await conn.fetchrow(f"{_ORGANIZATIONS} where s.tenant_id = $1 and s.id = $2{' for update of s' if lock else ''}", tenant_id, organization_id)
    return None if record is None else Organization(**record)


async def site_id(conn: Connection, tenant_id: int, name: str) -> int | None:
    """The id of the site of this name, in any case of letters."""
    found: int | None = await conn.fetchval("select id from sites where tenant_id = $1 and lower(name) = lower($2)", tenant_id, rows.storable(name))
    return found


async def ids_by_name(conn: Connection, tenant_id: int) -> dict[str, int]:
    """Every site's id by its name as the database lower-cases it."""
    return {record["key"]: record["id"] for record in await conn.fetch("select lower(name) as key, id from sites where tenant_id = $1", tenant_id)}


async def organization_id(conn: Connection, tenant_id: int, name: str) -> int | None:
    """The id of the organization of this name, in any case of letters."""
    statement = "select id from organizations where tenant_id = $1 and lower(name) = lower($2)"
    found: int | None = await conn.fetchval(statement, tenant_id, rows.storable(name))
    return found


async def below(conn: Connection, tenant_id: int, organization_id: int) -> set[int]:
    """The organization and all below it, by id."""
    records = await conn.fetch(
        """with recursive b as (
               select id from organizations where tenant_id = $1 and id = $2 union select o.id from organizations o join b on o.parent_id = b.id
           ) select id from b""",
        tenant_id,
        organization_id,
    )
    return {record["id"] for record in records}


async def update_site(conn: Connection, tenant_id: int, site_id: int, values: Mapping[str, Any]) -> None:
    """Set columns."""
    statement, args = rows.update("sites", SITE_COLUMNS, tenant_id, site_id, values)
    await conn.execute(statement, *args)


async def update_organization(conn: Connection, tenant_id: int, organization_id: int, values: Mapping[str, Any]) -> None:
    """Set columns."""
    statement, args = rows.update("organizations", ORGANIZATION_COLUMNS, tenant_id, organization_id, values)
    await conn.execute(statement, *args)


async def delete_site(conn: Connection, tenant_id: int, site_id: int) -> None:
    """Remove a site. Raises Conflict through the transaction while something is at it."""
    await conn.execute("delete from sites where tenant_id = $1 and id = $2", tenant_id, site_id)


async def delete_organization(conn: Connection, tenant_id: int, organization_id: int) -> None:
    """Remove an organization. Raises Conflict through the transaction while something belongs to it."""
    await conn.execute("delete from organizations where tenant_id = $1 and id = $2", tenant_id, organization_id)
