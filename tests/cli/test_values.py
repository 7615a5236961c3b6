import argparse

import pytest

from netd.cli import output, values


@pytest.mark.parametrize(
    ("text", "bps"),
    [
        ("64k", 64_000),
        ("100M", 100_000_000),
        ("100m", 100_000_000),
        ("1G", 10**9),
        ("2.5G", 2_500_000_000),
        ("1500001", 1_500_001),
        (" 10Mbps ", 10**7),
        ("0.5M", 500_000),
    ],
)
def test_rates(text, bps):
    assert values.rate(text) == bps


@pytest.mark.parametrize("text", ["", "fast", "-1M", "1T", "1.2345k", "0", "1e6", "M", "1 0M", "٣M"])
def test_what_is_no_rate(text):
    with pytest.raises(argparse.ArgumentTypeError):
        values.rate(text)


@pytest.mark.parametrize(
    ("bps", "text"),
    [(64_000, "64k"), (10**8, "100M"), (2_500_000_000, "2.5G"), (1_500_001, "1500.001k"), (999, "999"), (1_234_567_891, "1234567.891k"), (None, "-")],
)
def test_a_rate_is_shown_as_it_could_be_typed(bps, text):
    assert output.rate(bps) == text
    if bps is not None:
        assert values.rate(text) == bps


def test_times_without_offset_are_utc():
    assert values.moment("2026-12-31") == "2026-12-31T00:00:00+00:00"
    assert values.moment("2026-12-31T23:59:59+01:00") == "2026-12-31T23:59:59+01:00"
    assert values.moment("2026-12-31T23:59:59Z") == "2026-12-31T23:59:59+00:00"


def test_tables_are_aligned_and_harmless(capsys):
    output.print_table([(1, "al\x1b[31mice", None), (22, "bob", True)], ("ID", "NAME", "ON"))
    assert capsys.readouterr().out == "ID  NAME        ON\n 1  al\N{REPLACEMENT CHARACTER}[31mice  -\n22  bob         yes\n"


def test_sizes_and_durations():
    assert [output.octets(n) for n in (0, 999, 1500, 2 * 10**9)] == ["0 B", "999 B", "1.5 kB", "2.0 GB"]
    assert [output.duration(n) for n in (0, 3661, 90061)] == ["00:00:00", "01:01:01", "1d 01:01:01"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("NAS-Port-Id == eth1", ("NAS-Port-Id", "==", "eth1")),
        ('Filter-Id:="a b"', ("Filter-Id", ":=", "a b")),
        ("Tunnel-Type:1 = VLAN", ("Tunnel-Type:1", "=", "VLAN")),
        ("Tunnel-Type:1:=VLAN", ("Tunnel-Type:1", ":=", "VLAN")),
        ("Calling-Station-Id =*", ("Calling-Station-Id", "=*", "")),
        ("Cisco-AVPair += ip:route=10.0.0.0", ("Cisco-AVPair", "+=", "ip:route=10.0.0.0")),
        ("Reply-Message = a >= b", ("Reply-Message", "=", "a >= b")),
    ],
)
def test_attributes(text, parts):
    assert tuple(values.attribute(text).values()) == parts


@pytest.mark.parametrize("text", ["", "Filter-Id", "== x", "-Id == x"])
def test_what_is_no_attribute(text):
    with pytest.raises(argparse.ArgumentTypeError):
        values.attribute(text)
