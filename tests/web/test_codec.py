from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Network

import msgspec
import pytest

from netd.web import codec


class Value(msgspec.Struct, forbid_unknown_fields=True):
    ipv4: IPv4Address | None = None
    prefix: IPv6Network | None = None
    at: datetime | None = None
    flag: bool = False
    limit: int = 1


def test_addresses_prefixes_and_times_are_text():
    value = Value(IPv4Address("192.0.2.1"), IPv6Network("2001:db8::/48"), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    text = codec.encode(value)
    assert text == b'{"ipv4":"192.0.2.1","prefix":"2001:db8::/48","at":"2026-01-02T03:04:05Z","flag":false,"limit":1}'
    assert codec.decode(text, Value) == value


@pytest.mark.parametrize("body", [b'{"ipv4":"192.0.2.256"}', b'{"ipv4":7}', b'{"prefix":"2001:db8::1/48"}'])
def test_what_is_no_address_is_a_fault_with_its_place(body):
    with pytest.raises(msgspec.ValidationError, match=r"at `\$\.(ipv4|prefix)`"):
        codec.decode(body, Value)


def test_query_texts_become_values():
    assert codec.convert_text({"flag": "true", "limit": "12", "ipv4": "192.0.2.1"}, Value) == Value(IPv4Address("192.0.2.1"), flag=True, limit=12)


def test_what_has_no_json_form_is_a_defect():
    with pytest.raises(NotImplementedError):
        codec.encode(object())
