"""What webhooks and billing hooks have in common: secrets that are replaced without a gap, and how far a hook reaches."""

import secrets as entropy
from datetime import datetime, timedelta
from typing import Final

import msgspec

from netd.domain.actor import Actor
from netd.errors import OutsideScope
from netd.keyring import Keyring

OVERLAP: Final = timedelta(hours=24)
"""How long a secret goes on to be good after it was replaced."""


class _Secret(msgspec.Struct, frozen=True, array_like=True):
    text: str
    until: datetime | None = None


def new_secret() -> str:
    """A fresh secret, 256 random bits."""
    return f"whsec_{entropy.token_urlsafe(32)}"


def seal(keyring: Keyring, context: bytes, text: str) -> bytes:
    """A hook's first secret as it is kept."""
    return keyring.seal(msgspec.json.encode([_Secret(text)]), context)


def opened(keyring: Keyring, context: bytes, sealed: bytes, now: datetime) -> list[str]:
    """The secrets in force, newest first. Raises StoreError if they do not open."""
    return [each.text for each in _decoded(keyring, context, sealed) if each.until is None or each.until > now]


def replaced(keyring: Keyring, context: bytes, sealed: bytes, text: str, now: datetime) -> bytes:
    """The secrets with a new one; the one before stays good for OVERLAP, an older one goes at once."""
    before = _decoded(keyring, context, sealed)[0]
    return keyring.seal(msgspec.json.encode([_Secret(text), _Secret(before.text, now + OVERLAP)]), context)


def _decoded(keyring: Keyring, context: bytes, sealed: bytes) -> list[_Secret]:
    return msgspec.json.decode(keyring.open(sealed, context), type=list[_Secret])


def reach(actor: Actor, permission: str) -> frozenset[int] | None:
    """The sites at which the actor may make a hook that does what ``permission`` allows (None: in the whole tenant). Raises OutsideScope: a hook
    outlives its maker's token, so it can do nothing that its maker cannot."""
    other = actor.allowed(permission)
    if other is None or other.subscriber_id is not None:
        raise OutsideScope(f"such a hook needs the permission {permission} of whoever makes it")
    if actor.sites is None or other.sites is None:
        sites = other.sites if actor.sites is None else actor.sites
    else:
        sites = actor.sites & other.sites
    if sites is not None and not sites:
        raise OutsideScope(f"there is no site at which you may do this and have {permission}")
    return sites


def columns_of(sites: frozenset[int] | None) -> list[int] | None:
    """Sites as the store keeps them."""
    return None if sites is None else sorted(sites)
