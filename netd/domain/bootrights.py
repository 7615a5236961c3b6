"""What expecting a device needs besides ``ztp:write``. A device that boots is logged in to, gets a record, perhaps a NAS entry, and a configuration in which
credentials stand: who may not do that by /devices and /nas does not do it by /ztp."""

from collections.abc import Mapping
from typing import Any, Final

from netd.domain.actor import Actor
from netd.errors import OutsideScope

DEVICES: Final = "devices:write"
NAS: Final = "nas:write"
GIVEN: Final = ("credential", "configuration", "role")
"""Members that let a device have a credential, or a configuration in which some stand: its own, or its role's."""

HARMLESS: Final = frozenset(("opens_at", "closes_at"))
"""What may be changed of a device without what was said of it being looked at anew."""

KNOWN_BY: Final = frozenset(("serial", "mac", "circuit_id"))


def check(actor: Actor, members: Mapping[str, Any], site_id: int | None) -> None:
    """Whether the actor may have a device at the site (None: at none) boot with these members. Raises OutsideScope."""
    given = [name for name in GIVEN if members.get(name) is not None]
    if given:
        _need(actor, DEVICES, site_id, given[0])
    if members.get("make_nas"):
        _need(actor, NAS, site_id, "make_nas")


def narrow(actor: Actor) -> bool:
    """Whether the actor manages devices in a part of the tenant only, or not at all: the whole tenant's credentials are not for it to have sent about."""
    found = actor.also(DEVICES)
    return found is None or found.sites is not None


def check_named(actor: Actor, hostname: str, site_id: int | None) -> None:
    """Whether the actor may have a device boot as one that the inventory has at the site. Raises OutsideScope."""
    _need(actor, DEVICES, site_id, f"hostname {hostname}, which a device has,")


def _need(actor: Actor, permission: str, site_id: int | None, why: str) -> None:
    found = actor.also(permission)
    if found is None or not found.reaches(site_id):
        raise OutsideScope(f"{why} needs the permission {permission} as well, where the device is")
