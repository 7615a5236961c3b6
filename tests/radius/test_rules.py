"""What the API takes for radcheck and radreply is what the engine can load, and nothing else."""

import pytest

from netd.radius.attribute_rows import AttributeRows
from netd.radius.directory import Directory
from netd.radius.grants import Wall
from netd.store.directory import SubscriberRow
from tests.radius.engine import EXTENSIONS


@pytest.fixture(scope="module")
def rules() -> AttributeRows:
    return AttributeRows(EXTENSIONS().dictionary)


@pytest.mark.parametrize(
    "row",
    [
        ("Calling-Station-Id", "=~", "(?i)^00.11"),
        ("NAS-IP-Address", "==", "10.0.0.0/8"),
        ("Connect-Info", "!*", ""),
        ("Attr-30", "==", "x"),
    ],
)
def test_checks_that_load(rules, row):
    rules.validate_check(*row)


@pytest.mark.parametrize(
    "row",
    [
        ("Nonsense", "=*", ""),
        ("Calling-Station-Id", "=~", "(a+)+$"),
        ("Calling-Station-Id", "=~", "("),
        ("User-Password", "==", "x"),
        ("NAS-Port", "==", "eth0"),
    ],
)
def test_checks_that_would_lock_the_subscriber_out(rules, row):
    with pytest.raises(ValueError):
        rules.validate_check(*row)


@pytest.mark.parametrize("row", [("Framed-IP-Netmask", "=", "255.255.255.0"), ("Filter-Id", "+=", "x"), ("Tunnel-Type:1", ":=", "VLAN")])
def test_replies_that_load(rules, row):
    rules.validate_reply(*row)


@pytest.mark.parametrize(
    "row",
    [
        ("Nonsense", "=", "x"),
        ("Tunnel-Password:1", "=", "x"),
        ("Filter-Id:3", "=", "x"),
        ("Filter-Id", "=", "x" * 300),
        ("Message-Authenticator", "=", "0x00"),
        ("Proxy-State", "+=", "0x00"),
    ],
)
def test_replies_that_no_accept_can_carry(rules, row):
    with pytest.raises(ValueError):
        rules.validate_reply(*row)


def test_what_was_deleted_is_no_longer_at_fault():
    directory = Directory(EXTENSIONS(), lambda sealed, context: sealed, Wall("walled-garden", "", 1_000_000, 1_000_000))
    replies = [("No-Such-Attribute", "=", "x")]
    directory.put_subscribers([SubscriberRow(7, 1, "bob", "bob", None, 1, "active", 0.0, None, None, None, None, None, None, None, replies)])
    assert list(directory.faults) == ["subscriber 7"]
    directory.remove_subscribers([7])
    assert directory.faults == {}
