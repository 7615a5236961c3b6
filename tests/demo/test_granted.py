"""What a vendor's driver grants its simulated NAS understands, in the right direction."""

import pytest

from netd.extensions import Extensions, load_simulator
from netd.sdk import Service
from netd.simulate import Rates
from netd.wire.attributes import decode, encode

PLATFORMS = {"mikrotik": "mikrotik_routeros", "huawei": "huawei_vrp", "generic": "generic_frr"}
SERVICES = {
    "even": Service(down_bps=100_000_000, up_bps=20_000_000),
    "odd": Service(down_bps=12_345_000, up_bps=1_500),
    "burst": Service(down_bps=50_000_000, up_bps=10_000_000, burst_down_bps=80_000_000, priority=3, committed_down_bps=5_000_000),
    "great": Service(down_bps=4_000_000_000, up_bps=2_000_000_000),
    "walled": Service(down_bps=1_000_000, up_bps=500_000, walled=True),
}


@pytest.fixture(scope="module")
def extensions() -> Extensions:
    return Extensions.discover(packages=())


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("vendor", PLATFORMS)
def test_what_is_granted_is_what_is_had(vendor: str, service: str, extensions: Extensions) -> None:
    access, wanted = extensions.vendors[vendor].access, SERVICES[service]
    assert access is not None
    octets = encode(extensions.dictionary, access.grant(wanted))
    said = {each.name: each.value for each in decode(extensions.dictionary, octets)}
    assert load_simulator(extensions.platforms[PLATFORMS[vendor]]).granted(said) == Rates(wanted.down_bps, wanted.up_bps)


@pytest.mark.parametrize("platform", ["mikrotik_routeros", "huawei_vrp", "generic_frr"])
def test_where_nothing_is_granted_nothing_is_understood(platform: str, extensions: Extensions) -> None:
    behaviour = load_simulator(extensions.platforms[platform])
    assert behaviour.granted({"Class": b"x", "Mikrotik-Rate-Limit": "fast", "Huawei-Input-Peak-Rate": 5}) is None
