"""``manifest.toml``: what an extension is, readable without importing its code."""

from typing import Literal

import msgspec

from netd.sdk.bootstrap import Bootstrap
from netd.sdk.device import Platform

Capability = Literal["access", "policy"]
"""``access``: :class:`Access`, a vendor. ``policy``: :class:`Policy`, a plugin. No extension is both."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``manifest.toml``, readable without importing any code of the extension."""

    name: str  # lower case letters, digits, - and _: what ``nas.vendor`` refers to
    title: str
    version: str
    api: int  # version of this SDK it was written for; netd refuses others
    capabilities: tuple[Capability, ...]  # what its Driver can do; empty: dictionaries only, no driver.py
    dictionaries: tuple[str, ...] = ()  # files beside the manifest, FreeRADIUS syntax
    coa_port: int = 3799
    platforms: tuple[Platform, ...] = ()  # families of devices that netd can speak to
    bootstrap: tuple[Bootstrap, ...] = ()  # classes of devices that netd can boot: data only, no code
    sources: tuple[str, ...] = ()  # documents or captures that the knowledge in it comes from


SDK_API = 1
