"""Templates of configurations and boot files: which one is a device's, with which variables, and what it renders.

A device's template is that of its role at its site, else that of its role. Variables of the tenant, the role, the site, the role at the site and the device
itself are laid over each other in this order (objects member by member, all else as a whole); ``device`` holds what the inventory knows of it. Templates
include, import and extend others by name.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from netd.domain import audit, inputs, lists, rendering, sites
from netd.domain.actor import Actor
from netd.domain.choice import DeviceChoice
from netd.domain.choice import within as chosen_within
from netd.domain.configurations import Intended
from netd.domain.devices import Hostname
from netd.domain.inputs import Faults, Label, Note, given
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.rendering import Rendered, Renderer, Wanted
from netd.errors import Fault, InvalidInput, NotFound
from netd.model.configuration import Template, TemplateBody, TemplateVariables
from netd.model.inventory import Device
from netd.store import devices as device_store
from netd.store import templates as store
from netd.store.database import Connection, Database

Purpose = Literal["configuration", "boot"]
Compare = Literal["contains", "whole", "off"]
Body = Annotated[str, Meta(max_length=1_000_000)]
Variables = dict[str, Any]
VARIABLES_OCTETS: Final = 65_536
CHECKED_MOST: Final = 2000

_OF_DEVICE: Final = (
    "id", "hostname", "mgmt_address", "vendor", "kind", "model", "serial", "software_version", "target_version", "site", "role", "tags", "note",
)  # fmt: skip


class NewTemplate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A template to be made. Without ``role`` it is for others to include; with ``site`` it is for the role's devices there."""

    name: Label
    body: Body
    role: Label | None = None
    site: Label | None = None
    purpose: Purpose = "configuration"
    compare: Compare = "contains"
    note: Note | None = None


class TemplatePatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a template; null takes a value away."""

    name: Label | UnsetType = UNSET
    body: Body | UnsetType = UNSET
    role: Label | UnsetType | None = UNSET
    site: Label | UnsetType | None = UNSET
    compare: Compare | UnsetType = UNSET
    note: Note | UnsetType | None = UNSET


class NewTemplateVariables(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Variables of the tenant, or of ``role``, of ``site``, of both. No secrets: they are shown to whoever sees templates."""

    variables: Variables
    role: Label | None = None
    site: Label | None = None
    note: Note | None = None


class TemplateVariablesPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change; ``variables`` are replaced as a whole."""

    variables: Variables | UnsetType = UNSET
    note: Note | UnsetType | None = UNSET


class Preview(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For which device, and perhaps with another body than the template's and further variables."""

    device: Hostname
    body: Body | None = None
    variables: Variables = {}


class Previewed(msgspec.Struct, frozen=True, kw_only=True):
    """What a template renders for a device, or why it does not, and with which variables."""

    device: str
    template: str
    text: str | None
    error: str | None
    variables: dict[str, Any]


class CheckFault(msgspec.Struct, frozen=True, kw_only=True):
    """A device whose template does not render."""

    device: str
    template: str
    error: str


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """Whether every device's template renders. ``without`` are devices that have a role and no template of it."""

    rendered: int
    faults: tuple[CheckFault, ...]
    without: tuple[str, ...]


class Library(msgspec.Struct, frozen=True, kw_only=True):
    """All templates and variables of a tenant, as one transaction saw them."""

    templates: tuple[Template, ...]
    variables: tuple[TemplateVariables, ...]

    @property
    def sources(self) -> dict[str, str]:
        """What every template says, by name."""
        return {each.name: each.body for each in self.templates}

    def hidden(self, site_id: int | None) -> tuple[str, ...]:
        """Names of other sites' templates: a device's text is shown to people of its site, who must not read those."""
        return tuple(each.name for each in self.templates if each.site_id not in (None, site_id))

    def wanted(self, device: Device, template: Template, more: Mapping[str, Any] | None = None) -> Wanted:
        """The device's text of a template."""
        hidden = tuple(name for name in self.hidden(device.site_id) if name != template.name)
        return Wanted(template=template.name, variables=self.variables_of(device, more), hidden=hidden)

    def of(self, device: Device, purpose: Purpose = "configuration") -> Template | None:
        """The device's template: its role's at its site, else its role's."""
        fitting = [
            each for each in self.templates
            if each.purpose == purpose and device.role is not None and each.role == device.role and each.site_id in (None, device.site_id)
        ]  # fmt: skip
        return max(fitting, key=lambda each: each.site_id is not None, default=None)

    def variables_of(self, device: Device, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What a template is filled with for the device."""
        found: dict[str, Any] = {}
        for each in self.variables:  # the more they are about, the later they come
            if each.role in (None, device.role) and each.site_id in (None, device.site_id):
                found = laid_over(found, each.variables)
        found = laid_over(laid_over(found, device.variables), more or {})
        known = audit.values(device)
        told = {name: device.now(name) if name in ("model", "serial", "software_version") else known[name] for name in _OF_DEVICE}
        return {**found, "device": told}


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` over ``below``: objects member by member, all else as a whole. Pure."""
    found = dict(below)
    for name, value in above.items():
        under = found.get(name)
        found[name] = laid_over(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return found


async def library(conn: Connection, tenant_id: int) -> Library:
    """The tenant's templates and variables."""
    return Library(templates=tuple(await store.every(conn, tenant_id)), variables=tuple(await store.every_variables(conn, tenant_id)))


# -- what devices should be ----------------------------------------------------------------------------------------------


async def intended(
    db: Database, renderer: Renderer, tenant_id: int, device_ids: Sequence[int], purpose: rendering.Purpose = "work"
) -> dict[int, Intended]:  # fmt: skip
    """What devices' configurations should be, by id; a device is left out of which nobody says. For services: ``db`` is the daemon's own."""
    async with db.transaction() as conn:
        known = await library(conn, tenant_id)
        devices = await device_store.by_ids(conn, tenant_id, device_ids)
    pairs = [(device, template) for device in devices if (template := known.of(device)) is not None and template.compare != "off"]
    made = await renderer.render(purpose, known.sources, [known.wanted(device, template) for device, template in pairs])
    return {
        device.id: Intended(template=template.name, text=each.text, whole=template.compare == "whole", error=each.error)
        for (device, template), each in zip(pairs, made, strict=True)
    }


async def intended_of(db: Database, owner: Database, renderer: Renderer, actor: Actor, device_id: int) -> Intended | None:
    """The same for a device that the actor sees. Raises NotFound, Conflict."""
    async with db.transaction(actor.scope) as conn:
        found = await device_store.get(conn, actor.tenant_id, device_id) if 0 < device_id <= inputs.ROW_ID_MAX else None
    if found is None:
        raise NotFound("device", device_id)
    return (await intended(owner, renderer, actor.tenant_id, [device_id], "look")).get(device_id)


async def preview(db: Database, renderer: Renderer, actor: Actor, template_id: int, order: Preview) -> Previewed:
    """What a template renders for a device. Raises NotFound, InvalidInput, Conflict."""
    async with db.transaction(actor.scope) as conn:
        template = await _held(conn, actor, template_id)
        device_id = await device_store.id_by_hostname(conn, actor.tenant_id, order.device)
        device = None if device_id is None else await device_store.get(conn, actor.tenant_id, device_id)
        if device is None:
            raise InvalidInput([Fault("/device", f"there is no device {order.device}")])
        known = await library(conn, actor.tenant_id)
    sources = known.sources if order.body is None else {**known.sources, template.name: order.body}
    wanted = known.wanted(device, template, order.variables)
    (made,) = await renderer.render("look", sources, [wanted])
    return Previewed(device=device.hostname, template=template.name, text=made.text, error=made.error, variables=wanted.variables)


async def check(db: Database, renderer: Renderer, actor: Actor, order: DeviceChoice) -> Check:
    """Render the template of every chosen device. Raises InvalidInput, Conflict."""
    async with db.transaction(actor.scope) as conn:
        found = await chosen_within(conn, actor, order, "")
        faults = Faults()
        if len(found) > CHECKED_MOST:
            faults.add("/devices", f"are {len(found)}; at a time {CHECKED_MOST} are checked")
        faults.check()
        known = await library(conn, actor.tenant_id)
        devices = await device_store.by_ids(conn, actor.tenant_id, [each.id for each in found])
    pairs = [(device, known.of(device)) for device in devices]
    having = [(device, template) for device, template in pairs if template is not None]
    made = await renderer.render("look", known.sources, [known.wanted(device, template) for device, template in having])
    bad = _faults(having, made)
    without = tuple(device.hostname for device, template in pairs if template is None and device.role is not None)
    return Check(rendered=len(having) - len(bad), faults=bad, without=without)


def _faults(having: Sequence[tuple[Device, Template]], made: Iterable[Rendered]) -> tuple[CheckFault, ...]:
    return tuple(
        CheckFault(device=device.hostname, template=template.name, error=each.error)
        for (device, template), each in zip(having, made, strict=True) if each.error is not None
    )  # fmt: skip


# -- templates and variables as operators see and change them ------------------------------------------------------------

TemplateQuery = lists.query_type(store.LISTING)
BodyQuery = lists.query_type(store.BODIES)
VariablesQuery = lists.query_type(store.VARIABLES)


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[Template]:
    """Templates, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, store.of)


async def bodies(db: Database, actor: Actor, template_id: int, query: ListQuery) -> Page[TemplateBody]:
    """What a template said, newest first. Raises NotFound, InvalidInput."""
    wanted = lists.selection(store.BODIES, query, within={"template_id": template_id})
    async with db.transaction(actor.scope) as conn:
        await _held(conn, actor, template_id)
        return await lists.page(conn, store.BODIES, actor.tenant_id, query, store.bodies_of, wanted)


async def get(db: Database, actor: Actor, template_id: int) -> Template:
    """The template. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await _held(conn, actor, template_id)


async def create(db: Database, actor: Actor, new: NewTemplate) -> Template:
    """Make a template. Raises InvalidInput; Conflict if the name, or role and site, are taken."""
    columns, faults = msgspec.structs.asdict(new), Faults()
    if new.site is not None and new.role is None:
        faults.add("/role", "a template of a site is of a role there")
    faults.attempt("/body", storable, new.body)
    async with db.transaction(actor.scope) as conn:
        await sites.place(conn, actor, faults, columns, new=True)
        faults.check()
        made = await _held(conn, actor, await store.insert(conn, actor.tenant_id, columns))
        await store.add_body(conn, actor.tenant_id, made.id, made.number, made.body, actor.name)
        await audit.record(conn, actor, "template.create", "template", made.id, after=_told(made))
    return made


async def update(db: Database, actor: Actor, template_id: int, patch: TemplatePatch, *, version: int | None = None) -> Template:
    """Change a template; what it said before is kept. Raises NotFound, InvalidInput; Conflict on another ``version``, or if something is taken."""
    members, faults = given(patch), Faults()
    async with db.transaction(actor.scope) as conn:
        before = await _held(conn, actor, template_id, lock=True)
        inputs.same_version("template", before.version, version)
        if not members:
            return before
        faults.attempt("/body", storable, members.get("body"))
        if members.get("role", before.role) is None and members.get("site", before.site) is not None:
            faults.add("/role", "a template of a site is of a role there")
        await sites.place(conn, actor, faults, members, new=False)
        faults.check()
        anew = "body" in members and members["body"] != before.body
        await store.update(conn, actor.tenant_id, template_id, {**members, **({"number": before.number + 1} if anew else {})})
        after = await _held(conn, actor, template_id)
        if anew:
            await store.add_body(conn, actor.tenant_id, template_id, after.number, after.body, actor.name)
        await audit.record(conn, actor, "template.update", "template", template_id, before=_told(before), after=_told(after))
    return after


async def delete(db: Database, actor: Actor, template_id: int, *, version: int | None = None) -> None:
    """Remove a template and all that it said. Raises NotFound; Conflict on another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await _held(conn, actor, template_id, lock=True)
        inputs.same_version("template", before.version, version)
        if not await store.delete(conn, actor.tenant_id, template_id):
            raise NotFound("template", template_id)
        await audit.record(conn, actor, "template.delete", "template", template_id, before=_told(before))


def storable(text: str) -> str:
    """The text, if PostgreSQL can hold it. Raises ValueError."""
    if "\0" in text:
        raise ValueError("there is a NUL character in it")
    return text


def _told(template: Template) -> dict[str, Any]:
    """What the audit log says: the body is kept by its number."""
    return {
        name: value for name, value in audit.values(template).items() if name in ("name", "role", "site", "purpose", "compare", "number", "note", "site_id")
    }


async def _held(conn: Connection, actor: Actor, template_id: int, *, lock: bool = False) -> Template:
    found = await store.get(conn, actor.tenant_id, template_id, lock=lock) if 0 < template_id <= inputs.ROW_ID_MAX else None
    if found is None:
        raise NotFound("template", template_id)
    return found


async def variables_page(db: Database, actor: Actor, query: ListQuery) -> Page[TemplateVariables]:
    """Variables, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.VARIABLES, actor.tenant_id, query, store.variables_of)


async def variables(db: Database, actor: Actor, variables_id: int) -> TemplateVariables:
    """The variables. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await _held_variables(conn, actor, variables_id)


async def create_variables(db: Database, actor: Actor, new: NewTemplateVariables) -> TemplateVariables:
    """Add variables. Raises InvalidInput; Conflict if there are some of the role and site."""
    columns, faults = msgspec.structs.asdict(new), Faults()
    _sized(faults, new.variables)
    async with db.transaction(actor.scope) as conn:
        await sites.place(conn, actor, faults, columns, new=True)
        faults.check()
        made = await _held_variables(conn, actor, await store.insert_variables(conn, actor.tenant_id, columns))
        await audit.record(conn, actor, "template_variables.create", "template_variables", made.id, after=audit.values(made))
    return made


async def update_variables(
    db: Database, actor: Actor, variables_id: int, patch: TemplateVariablesPatch, *, version: int | None = None
) -> TemplateVariables:  # fmt: skip
    """Change variables. Raises NotFound, InvalidInput; Conflict on another ``version``."""
    members, faults = given(patch), Faults()
    _sized(faults, members.get("variables", {}))
    faults.check()
    async with db.transaction(actor.scope) as conn:
        before = await _held_variables(conn, actor, variables_id, lock=True)
        inputs.same_version("variables", before.version, version)
        if not members:
            return before
        await store.update_variables(conn, actor.tenant_id, variables_id, members)
        after = await _held_variables(conn, actor, variables_id)
        old, new = audit.changes(before, after)
        await audit.record(conn, actor, "template_variables.update", "template_variables", variables_id, before=old, after=new)
    return after


async def delete_variables(db: Database, actor: Actor, variables_id: int, *, version: int | None = None) -> None:
    """Remove variables. Raises NotFound; Conflict on another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await _held_variables(conn, actor, variables_id, lock=True)
        inputs.same_version("variables", before.version, version)
        if not await store.delete_variables(conn, actor.tenant_id, variables_id):
            raise NotFound("template variables", variables_id)
        await audit.record(conn, actor, "template_variables.delete", "template_variables", variables_id, before=audit.values(before))


def _sized(faults: Faults, variables: Variables) -> None:
    text = msgspec.json.encode(variables)
    if len(text) > VARIABLES_OCTETS:
        faults.add("/variables", f"are longer than {VARIABLES_OCTETS >> 10} KiB")
    if b"\\u0000" in text:
        faults.add("/variables", "there is a NUL character in them")


async def _held_variables(conn: Connection, actor: Actor, variables_id: int, *, lock: bool = False) -> TemplateVariables:
    found = await store.variables(conn, actor.tenant_id, variables_id, lock=lock) if 0 < variables_id <= inputs.ROW_ID_MAX else None
    if found is None:
        raise NotFound("template variables", variables_id)
    return found
