"""What the responder knows by heart."""

import re

import pytest

from netd.extensions import Extensions
from netd.model import patterns
from netd.model.ztp import ClientIdentity
from netd.store.dhcp import ReservationRow
from netd.ztp.subnets import Subnets
from tests.ztp.golden import SUBNET, subnet_row


def client(circuit: bytes = b"", remote: bytes = b"") -> ClientIdentity:
    return ClientIdentity(
        family=4, tenant_id=1, subnet_id=SUBNET, site_id=None, mac="02:00:00:00:00:01", client_id=b"", relay=None, circuit_id=circuit, remote_id=remote
    )


def test_of_many_reservations_by_line_a_few_are_tried(extensions: Extensions, monkeypatch: pytest.MonkeyPatch) -> None:
    subnets = Subnets(extensions.profiles)
    rows = [ReservationRow(SUBNET, "circuit_id", f"olt1 eth 1/{number}(:.*)?", 1000 + number) for number in range(1000)]
    rows += [ReservationRow(SUBNET, "remote_id", "cpe-[0-9]+", 1), ReservationRow(SUBNET, "circuit_id", ".* 1/77", 2), ReservationRow(SUBNET, "mac", "x", 3)]
    subnets.put([subnet_row(())], rows, [])
    subnet = subnets.by_id[SUBNET]
    tried: list[str] = []

    def counted(pattern: re.Pattern[str], text: str) -> bool:
        tried.append(pattern.pattern)
        return patterns_fit(pattern, text)

    patterns_fit = patterns.fits_whole
    monkeypatch.setattr(patterns, "fits_whole", counted)
    for seen, address in (
        (client(b"olt1 eth 1/123:7"), 1123), (client(b"olt1 eth 1/77"), 1077), (client(b"olt2 eth 1/77"), 2), (client(b"olt2", b"cpe-7"), 1),
        (client(b"olt2"), 0), (client(), 0),
    ):  # fmt: skip
        assert subnet.reservation(seen) == address
        assert len(tried) <= 4, tried
        tried.clear()


def test_a_reservation_whose_pattern_is_none_is_told(extensions: Extensions) -> None:
    subnets = Subnets(extensions.profiles)
    subnets.put([subnet_row(())], [ReservationRow(SUBNET, "circuit_id", "(", 7), ReservationRow(SUBNET, "circuit_id", "a", 8)], [])
    assert "not a regular expression" in subnets.faults["access"] and subnets.by_id[SUBNET].reservation(client(b"a")) == 8
    assert 7 in subnets.by_id[SUBNET].reserved  # nobody else gets it
