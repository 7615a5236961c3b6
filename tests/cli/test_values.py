import argparse

import pytest

from netd.cli import main, output, values


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


def test_columns_are_as_wide_as_a_terminal_shows_them(capsys):
    output.print_table([("東京", "a"), ("Zu\u0308rich", "b"), ("oslo", "c")], ("SITE", "X"))
    assert capsys.readouterr().out == "SITE    X\n東京    a\nZu\u0308rich  b\noslo    c\n"


def test_an_object_is_shown_as_people_and_programs_can_read_it(capsys):
    output.print_fields({
        "a_template": "one\ntwo\x1b\n", "selector": {"kinds": ["olt"], "on": True}, "since": "2026-11-26T10:11:12.345Z", "rtt": 0.34172, "down_bps": 10**6,
        "tags": ["x", "y"], "enabled": False, "grants": [{"permissions": ["a", "b"], "all": True}], "nothing": None,
    })  # fmt: skip
    assert capsys.readouterr().out.splitlines() == [
        "a_template  one", "            two\N{REPLACEMENT CHARACTER}", 'selector    {"kinds": ["olt"], "on": true}', "since       2026-11-26 10:11:12Z",
        "rtt         0.342", "down_bps    1M", "tags        x, y", "enabled     no", "grants      permissions=a,b all=yes",
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "level"), [("-27", -27), ("0.5", 0.5), ("800M", 8e8), ("+3k", 3000)])
def test_levels(text, level):
    assert values.level(text) == level


@pytest.mark.parametrize("text", ["", "M", "1e3", "10 M", "10Mbps"])
def test_what_is_no_level(text):
    with pytest.raises(argparse.ArgumentTypeError):
        values.level(text)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (45, "45s"), (90, "90s"), (5400, "90m"), (7200, "2h"), (604_800, "7d")])
def test_an_interval_is_shown_as_it_could_be_typed(seconds, text):
    assert output.span(seconds) == text
    assert values.span(text) == seconds


@pytest.mark.parametrize("arguments", [
    ("credential", "add", "x", "--type", "ssh", "--private-key", "{}"), ("device", "change", "x", "--lines", "{}"), ("job", "start", "x", "--args-file", "{}"),
    ("ztp", "expect", "x", "--profile", "p", "--configuration", "@{}"), ("device", "add", "x", "--address", "::1", "--vendor", "v", "--variables", "@{}"),
    ("template", "set", "x", "--body", "{}"), ("pool", "import", "x", "{}"),
])  # fmt: skip
def test_a_file_that_cannot_be_read_is_told_in_one_line(arguments, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("NETD_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("NETD_TOKEN", "netd_x")
    other = tmp_path / "latin"
    other.write_bytes(b"\xff")
    for path, why in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory"), (other, "it is not UTF-8")):
        assert main([each.format(path) for each in arguments]) == 2
        assert capsys.readouterr().err == f"netd: {path} cannot be read: {why}\n"


def test_unknown_options_lead_to_the_right_help(capsys):
    assert main(["schedule", "update", "nightly", "--colour", "red"]) == 2
    assert capsys.readouterr().err == "netd: unrecognized arguments: --colour red (see `netd schedule update --help`)\n"


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
