"""What every bundled vendor must hold to, whatever it grants."""

import itertools
import re

import pytest

from netd.extensions import Extensions
from netd.share import share
from tests.vendors.services import BARE_SESSION, SERVICES, SESSION, is_on_the_wire

VENDORS = sorted(path.parent.name for path in share("vendors").glob("*/manifest.toml"))
BOOT_ONLY = {"arista", "ipxe", "sonic", "tr069"}
ACCESS = [name for name in VENDORS if name not in BOOT_ONLY]


@pytest.mark.parametrize("name", ACCESS)
def test_what_a_coa_carries_exists_and_a_refusal_is_the_same_as_at_login(name: str, extensions: Extensions) -> None:
    driver = extensions.vendors[name].access
    assert driver is not None
    for before, after in itertools.product((None, *SERVICES.values()), SERVICES.values()):
        try:
            granted = driver.grant(after)
        except ValueError as refusal:
            with pytest.raises(ValueError, match=re.escape(str(refusal))):
                driver.change(before, after)
            continue
        assert granted == driver.grant(after)
        avps = driver.change(before, after)
        if before is None:
            assert avps is None
        if avps:
            is_on_the_wire(extensions, avps)


@pytest.mark.parametrize("name", ACCESS)
def test_identification_exists_and_has_something_to_find_a_session_by(name: str, extensions: Extensions) -> None:
    driver = extensions.vendors[name].access
    assert driver is not None
    for session in (SESSION, BARE_SESSION):
        avps = driver.identify(session)
        assert avps
        is_on_the_wire(extensions, avps)


@pytest.mark.parametrize("name", VENDORS)
def test_manifest_says_where_the_knowledge_comes_from(name: str, extensions: Extensions) -> None:
    manifest = extensions.vendors[name].manifest
    assert manifest.name == name
    assert manifest.sources or name in BOOT_ONLY
    assert all(profile.made_from for profile in manifest.bootstrap)
