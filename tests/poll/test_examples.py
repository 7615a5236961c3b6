"""The example dashboard and rules ask for series that there are, and compare what can be compared."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from netd.config import PollConfig
from netd.device.addresses import LOOPBACK
from netd.device.http import Client
from netd.domain.exposition import FAMILIES
from netd.extensions import Extensions
from netd.keyring import Keyring
from netd.metrics import Metrics
from netd.poll.service import PollService
from netd.store.database import Database

CONFIG = Path(__file__).resolve().parents[2] / "config"


@pytest.mark.parametrize("name", ["prometheus/netd.rules.yml", "grafana/netd-devices.json"])
async def test_series_that_are_asked_for_exist(name: str, database: Database, tmp_path: Path) -> None:
    extensions, metrics = Extensions.discover(packages=()), Metrics("test")
    async with Client(allowed=LOOPBACK) as client:
        keyring = Keyring.load_or_create(tmp_path / "secret.key")
        config = PollConfig(export_url="http://vm.example.net/import")
        service: Any = PollService(
            config, database, keyring, extensions.platforms, extensions.guard, client, node="here", now=lambda: datetime.now(UTC)
        )  # fmt: skip
        service.register(metrics)
    shown = set(re.findall(r"^# TYPE (\S+)", metrics.render()[0].decode(), re.MULTILINE)) | set(FAMILIES)
    asked = set(re.findall(r"\bnetd_[a-z_]+\b", (CONFIG / name).read_text()))
    assert asked and {each for each in asked if each not in shown} == set()


def test_the_dashboard_is_json_with_no_two_panels_of_one_number() -> None:
    board = json.loads((CONFIG / "grafana" / "netd-devices.json").read_text())
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(numbers) == len(set(numbers)) and all(target["expr"] for panel in board["panels"] for target in panel["targets"])


def expressions() -> list[str]:
    """Of the rules and the dashboard."""
    rules = re.findall(r"expr: (?:>\n)?(.+?)\n        (?:for|labels):", (CONFIG / "prometheus" / "netd.rules.yml").read_text(), re.DOTALL)
    board = json.loads((CONFIG / "grafana" / "netd-devices.json").read_text())
    return [*rules, *(target["expr"] for panel in board["panels"] for target in panel["targets"])]


@pytest.mark.parametrize("expression", expressions())
def test_what_is_compared_has_the_same_labels(expression: str) -> None:
    """Else Prometheus finds no pair, and the alert is never raised. Series of netd itself have labels of their own, so several are summed first."""
    left = re.sub(r"(sum|max|count) by \([^)]*\) \((?:[^()]|\([^()]*\))*\)", "", expression)
    families = set(re.findall(r"\bnetd_[a-z_]+", left))
    assert len({re.match(r"netd_(device|interface|optics)_|", each)[0] or each for each in families}) <= 1, families  # type: ignore[index]


def test_the_type_of_the_token_is_said() -> None:
    """Prometheus 2.42 sends "Authorization: TOKEN" to service discovery where it is left to be Bearer by default."""
    lines = [line for line in (CONFIG / "prometheus" / "netd.scrape.yml").read_text().splitlines() if "authorization:" in line]
    assert len(lines) == 2 and all("{type: Bearer, credentials_file:" in line for line in lines)
