"""Which platform a device is of, by what it says before anybody is logged in."""

import pytest

from netd.domain.recognition import Recogniser, oid
from netd.extensions import DevicePlatform
from netd.sdk.device import Match, Platform


def platform(name: str, **match: tuple[str, ...]) -> DevicePlatform:
    return DevicePlatform(platform=Platform(name=name, title=name, kind="router", driver="", data="", match=Match(**match)), vendor="v", driver=object())


KNOWN = {
    each.platform.name: each
    for each in (
        platform("huawei_vrp", sys_object_id=("1.3.6.1.4.1.2011.2",), sys_descr=("VRP", "Versatile Routing Platform")),
        platform("huawei_smartax", sys_object_id=("1.3.6.1.4.1.2011.2", "1.3.6.1.4.1.2011.2.248"), sys_descr=("MA5[68]",)),
        platform("routeros", sys_object_id=("1.3.6.1.4.1.14988.1",), sys_descr=("^RouterOS",), banner=("SSH-2.0-ROSSSH",)),
        platform("linux", sys_object_id=("1.3.6.1.4.1.8072",), sys_descr=("^Linux",), banner=("OpenSSH",)),
        platform("frr", sys_descr=("^Linux .* FRR",), banner=("OpenSSH.*Debian",)),
    )
}


@pytest.mark.parametrize(
    ("object_id", "descr", "banner", "expected"),
    [
        (".1.3.6.1.4.1.14988.1", None, None, "routeros"),
        ("1.3.6.1.4.1.149880.1", None, None, None),  # not a prefix of the same number
        ("1.3.6.1.4.1.2011.2.248.3", "Huawei Versatile Routing Platform", None, "huawei_smartax"),  # the longest identifier wins over any text
        ("1.3.6.1.4.1.2011.2.62", "MA5800-X7", None, "huawei_smartax"),
        ("1.3.6.1.4.1.2011.2.62", "Versatile Routing Platform Software", None, "huawei_vrp"),
        ("1.3.6.1.4.1.2011.2.62", "nothing known", None, "huawei_smartax"),  # by name, always the same
        (None, "Linux router 6.1 FRR", None, "frr"),  # the longer fit
        (None, "Linux router 6.1", "SSH-2.0-ROSSSH", "linux"),  # the description goes before the banner
        ("0.0", "who knows", "SSH-2.0-ROSSSH", "routeros"),
        ("nonsense", None, "SSH-2.0-OpenSSH_9.2p1 Debian-2", "frr"),
        ("1.3.6.1.4.1.8072.3.2.10", "Linux router 6.1 FRR", "SSH-2.0-ROSSSH", "linux"),
        (None, None, "SSH-2.0-dropbear", None),
        (None, None, None, None),
    ],
)
def test_recognised(object_id, descr, banner, expected):
    found = Recogniser(KNOWN).recognise(object_id, descr, banner)
    assert (found.platform.name if found else None) == expected


def test_a_long_text_costs_little():
    assert Recogniser(KNOWN).recognise(None, "x" * 10_000_000 + "RouterOS", None) is None


def test_what_is_no_expression():
    with pytest.raises(ValueError, match="platform bad"):
        Recogniser({"bad": platform("bad", sys_descr=("(",))})
    assert oid(".1.3.6") == (1, 3, 6)
    for wrong in ("", "1..3", "1.x", "1.-3", "1.²"):
        with pytest.raises(ValueError):
            oid(wrong)
