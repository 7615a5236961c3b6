"""Templates, the bodies that they had, and variables for them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from netd.model.configuration import Template, TemplateBody, TemplateVariables
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

_SITE = "(select w.name from sites w where w.id = p.site_id)"
_TEMPLATE = ", ".join(f"{_SITE} as site" if name == "site" else f"p.{name}" for name in Template.__struct_fields__)
_VARIABLES = ", ".join(f"{_SITE} as site" if name == "site" else f"p.{name}" for name in TemplateVariables.__struct_fields__)
_BODY = ", ".join(TemplateBody.__struct_fields__)
_SETTABLE = frozenset(("name", "role", "site_id", "purpose", "compare", "body", "number", "note"))
_SETTABLE_VARIABLES = frozenset(("role", "site_id", "variables", "note"))

LISTING = Listing(
    kind="template", select=f"select {_TEMPLATE} from configuration_templates p", counted="configuration_templates p", tenant="p.tenant_id", id="p.id",
    search="lower(p.name || ' ' || coalesce(p.note, '')) like {}",
    columns={
        "id": Column(sql="p.id", kind=int, cast="bigint"), "name": Column(sql="lower(p.name)", param="lower({})", sortable=True),
        "role": Column(sql="p.role", nullable=True), "site": Column(sql=f"lower({_SITE})", param="lower({})", nullable=True),
        "purpose": Column(sql="p.purpose", cast="text"), "updated_at": Column(sql="p.updated_at", kind=datetime, sortable=True),
    },
)  # fmt: skip
BODIES = Listing(
    kind="template_body", select=f"select {_BODY} from configuration_template_bodies", counted="configuration_template_bodies", tenant="tenant_id", id="id",
    descending=True,
    columns={"number": Column(sql="number", kind=int, cast="integer", sortable=True)},
    within={"template_id": Column(sql="template_id", kind=int, cast="bigint")},
)  # fmt: skip
VARIABLES = Listing(
    kind="template_variables", select=f"select {_VARIABLES} from template_variables p", counted="template_variables p", tenant="p.tenant_id", id="p.id",
    columns={
        "id": Column(sql="p.id", kind=int, cast="bigint"), "role": Column(sql="p.role", nullable=True),
        "site": Column(sql=f"lower({_SITE})", param="lower({})", nullable=True),
    },
)  # fmt: skip


def of(records: Sequence[Mapping[str, Any]]) -> list[Template]:
    """Templates of the listing's records."""
    return [Template(**record) for record in records]


def bodies_of(records: Sequence[Mapping[str, Any]]) -> list[TemplateBody]:
    """Bodies of the listing's records."""
    return [TemplateBody(**record) for record in records]


def variables_of(records: Sequence[Mapping[str, Any]]) -> list[TemplateVariables]:
    """Variables of the listing's records."""
    return [TemplateVariables(**record) for record in records]


async def every(conn: Connection, tenant_id: int) -> list[Template]:
    """All templates of the tenant, by name."""
    return of(await conn.fetch(f"{LISTING.select} where p.tenant_id = $1 order by lower(p.name)", tenant_id))


async def every_variables(conn: Connection, tenant_id: int) -> list[TemplateVariables]:
    """All variables of the tenant: its own, roles', sites', roles' at sites."""
    return variables_of(await conn.fetch(
        f"{VARIABLES.select} where p.tenant_id = $1 order by p.site_id is not null, p.role is not null, p.id", tenant_id
    ))  # fmt: skip


async def get(conn: Connection, tenant_id: int, template_id: int, *, lock: bool = False) -> Template | None:
    """The template; with ``lock`` nobody else changes it until the transaction ends."""
    record = await conn.fetchrow(f"{LISTING.select} where p.tenant_id = $1 and p.id = $2{' for update of p' if lock else ''}", tenant_id, template_id)
    return None if record is None else Template(**record)


async def insert(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> int:
    """Add a template; returns its id. Raises Conflict through the transaction if the name, or role and site, are taken."""
    statement, args = rows.insertion("configuration_templates", _SETTABLE, tenant_id, values)
    return int(await conn.fetchval(f"{statement} returning id", *args))


async def update(conn: Connection, tenant_id: int, template_id: int, values: Mapping[str, Any]) -> None:
    """Set columns."""
    statement, args = rows.update("configuration_templates", _SETTABLE, tenant_id, template_id, values)
    await conn.execute(statement, *args)


async def add_body(conn: Connection, tenant_id: int, template_id: int, number: int, body: str, by: str) -> None:
    """Keep what the template says from now on."""
    await conn.execute(
        """insert into configuration_template_bodies (tenant_id, template_id, number, body, created_by) values ($1, $2, $3, $4, $5)""",
        tenant_id, template_id, number, body, by,
    )  # fmt: skip


async def delete(conn: Connection, tenant_id: int, template_id: int) -> bool:
    """Remove a template and all that it said; whether it was there."""
    return rows.updated(await conn.execute("delete from configuration_templates where tenant_id = $1 and id = $2", tenant_id, template_id)) > 0


async def variables(conn: Connection, tenant_id: int, variables_id: int, *, lock: bool = False) -> TemplateVariables | None:
    """The variables; with ``lock`` nobody else changes them until the transaction ends."""
    record = await conn.fetchrow(f"{VARIABLES.select} where p.tenant_id = $1 and p.id = $2{' for update of p' if lock else ''}", tenant_id, variables_id)
    return None if record is None else TemplateVariables(**record)


async def insert_variables(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> int:
    """Add variables; returns their id. Raises Conflict through the transaction if there are some of the role and site."""
    statement, args = rows.insertion("template_variables", _SETTABLE_VARIABLES, tenant_id, values)
    return int(await conn.fetchval(f"{statement} returning id", *args))


async def update_variables(conn: Connection, tenant_id: int, variables_id: int, values: Mapping[str, Any]) -> None:
    """Set columns."""
    statement, args = rows.update("template_variables", _SETTABLE_VARIABLES, tenant_id, variables_id, values)
    await conn.execute(statement, *args)


async def delete_variables(conn: Connection, tenant_id: int, variables_id: int) -> bool:
    """Remove variables; whether they were there."""
    return rows.updated(await conn.execute("delete from template_variables where tenant_id = $1 and id = $2", tenant_id, variables_id)) > 0
