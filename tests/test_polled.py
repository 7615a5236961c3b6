"""What a raw value of an agent means, by the data file."""

import pytest

from netd.sdk import ifmib
from netd.sdk.device import Oid, Varbind
from netd.sdk.polled import Gauge, Optics, Polled, oid

Tables = dict[Oid, dict[Oid, Varbind]]
POWER = Gauge(oid="1.3.2", scale=0.002, offset=-30.0, unknown=(0, 65535), signed16=True)


@pytest.mark.parametrize(
    ("gauge", "raw", "value"),
    [
        (POWER, 6662, -16.676),
        (POWER, 65000, -31.072),  # below the offset it is negative, in sixteen bits
        (POWER, 65535, None),
        (POWER, 0, None),
        (POWER, None, None),
        (Gauge(oid="1.3", scale=0.01, offset=-100.0, above=999999), 7732, -22.68),
        (Gauge(oid="1.3", scale=0.01, above=999999), 2147483647, None),
        (Gauge(oid="1.3"), b"-9.36 dBm", -9.36),
        (Gauge(oid="1.3"), b"N/A", None),
        (Gauge(oid="1.3"), (1, 3, 6), None),
    ],
)
def test_a_value(gauge: Gauge, raw: Varbind, value: float | None) -> None:
    assert gauge.value(raw) == value


def test_only_rows_of_a_kind_count() -> None:
    gauge = Gauge(oid="1.3.2", of="1.3.3", values=(1, "celsius"))
    tables: Tables = {oid("1.3.2"): {(1,): 38, (2,): 242, (3,): 51}, oid("1.3.3"): {(1,): 1, (2,): 3, (3,): b"celsius"}}
    assert gauge.all({}, tables) == [38, 51]
    assert Gauge(oid="1.3.0", scale=0.1).all({(1, 3, 0): 242}, {}) == [24.2]


def test_columns_with_longer_indexes_are_of_one_row() -> None:
    table = Optics(table="onu", keys=2, rx_dbm=Gauge(oid="1.3.1"), distance_metres=Gauge(oid="1.3.2", unknown=(-1,)))
    tables: Tables = {(1, 3, 1): {(7, 1, 1): -20, (7, 2, 1): -21}, (1, 3, 2): {(7, 1): 100, (7, 2): -1, (7, 3): -1}}
    driver = Polled()
    first, second = driver.optics(table, tables)
    assert (first.interface, first.rx_dbm, first.distance_metres) == ("7.1", -20.0, 100)
    assert (second.interface, second.rx_dbm, second.distance_metres) == ("7.2", -21.0, None)


def test_a_name_has_no_nul_in_it() -> None:
    """PostgreSQL takes none, and would refuse the samples of all others that are written with it."""
    assert ifmib.text(b" 0/1\0/2 \0\r\n") == "0/1/2" and ifmib.text(b"\xff") == "\ufffd" and ifmib.text(7) == ""
