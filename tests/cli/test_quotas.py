"""Quotas from the command line, against a real API."""

import argparse

import pytest

from netd.cli.quotas import stage, window
from netd.cli.values import span, volume


@pytest.mark.parametrize(
    ("text", "octets"), [("100G", 10**11), ("100GB", 10**11), ("1.5T", 1_500_000_000_000), ("50GiB", 50 << 30), ("7k", 7_000), ("12", 12), ("0", 0)]
)
def test_volumes(text: str, octets: int) -> None:
    assert volume(text) == octets


@pytest.mark.parametrize("text", ["", "G", "-1G", "1.5", "0.0001k", "10X", "1e9", "١G"])
def test_what_is_no_volume(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        volume(text)


def test_times() -> None:
    assert [span(text) for text in ("10h", "90m", "3600", "30s", "2d")] == [36_000, 5_400, 3_600, 30, 172_800]
    with pytest.raises(argparse.ArgumentTypeError):
        span("1.5h")


def test_stages_and_windows() -> None:
    assert stage("100:lower:2M/1M") == {"percent": 100, "action": "lower", "down_bps": 2_000_000, "up_bps": 1_000_000}
    assert stage("100:lower:/1M:slow") == {"percent": 100, "action": "lower", "up_bps": 1_000_000, "profile": "slow"}
    assert stage("80:notify") == {"percent": 80, "action": "notify"}
    assert window("01:00-07:00") == {"start": "01:00", "end": "07:00", "percent": 0, "days": []}
    assert window("Sat,Sun 00:00-24:00=50%") == {"start": "00:00", "end": "24:00", "percent": 50, "days": ["sat", "sun"]}
    for parse, texts in ((stage, ("lower", "80", "80:slow", "x:wall", "100:lower:2M")), (window, ("1-7", "01:00", "someday 01:00-02:00"))):
        for text in texts:
            with pytest.raises(argparse.ArgumentTypeError):
                parse(text)


async def test_a_quota_of_a_plan_and_what_a_subscriber_has_of_it(netd):
    assert (await netd("plan", "add", "home", "--down", "100M", "--up", "20M")).code == 0
    assert (await netd("subscriber", "add", "alice", "--plan", "home")).code == 0
    added = await netd(
        "plan", "quota", "add", "home", "monthly", "--volume", "100G", "--period", "anniversary", "--timezone", "Europe/Berlin", "--free", "01:00-07:00",
        "--stage", "80:notify", "--stage", "100:lower:2M/1M", "--stage", "120:wall", "--rollover-volume", "50GiB",
    )  # fmt: skip
    assert (added.code, added.out) == (0, "plan home has quota monthly: 100.0 GB per anniversary\n"), added.err
    listed = (await netd("plan", "quota", "list", "home")).out
    assert "80:notify 100:lower:2M/1M 120:wall" in listed
    assert "Europe/Berlin" in listed
    refused = await netd("plan", "quota", "update", "home", "monthly", "--time", "5h")
    assert (refused.code, refused.err) == (2, "netd: quota monthly measures volume\n")
    assert (await netd("plan", "quota", "update", "home", "MONTHLY", "--volume", "200G", "--json")).value["amount"] == 2 * 10**11
    topped = await netd("subscriber", "top-up", "alice", "--volume", "10G", "--expires", "2099-01-01", "--note", "bought")
    assert (topped.code, topped.out) == (0, "alice has 210.0 GB of quota monthly left\n"), topped.err
    standing = await netd("subscriber", "quota", "alice")
    assert [cell.strip() for cell in standing.out.splitlines()[1].split("  ") if cell][:5] == ["monthly", "0 B", "210.0 GB", "0 %", "210.0 GB"]
    assert (await netd("subscriber", "reset-quota", "alice", "--json")).value["items"][0]["used"] == 0
    assert (await netd("subscriber", "quota-events")).code == 0
    kept = await netd("plan", "quota", "remove", "home", "monthly")
    assert (kept.code, "1 top-up of quota monthly still has something left" in kept.err) == (1, True)
