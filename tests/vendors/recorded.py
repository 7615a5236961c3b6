"""Recordings of devices, and drivers that play them."""

from pathlib import Path
from typing import Any

from netd.extensions import Extensions
from netd.model.device import Reading
from netd.sdk.dialogue import Dialogue, play
from netd.sdk.recording import Player, Recording, select, varbinds

ROOT = Path(__file__).parents[1] / "recordings"
FOLDERS = sorted(path.parent for path in ROOT.glob("*/*/session.txt"))


def recording(name: str) -> Recording:
    """``huawei/MA5608T_MA5600V800R018C10``."""
    return Recording.parse((ROOT / name / "session.txt").read_text("utf-8"))


class Recorded:
    """A driver and its recording: ``run(driver.facts())``, and what was typed meanwhile."""

    def __init__(self, extensions: Extensions, name: str) -> None:
        self.recording = recording(name)
        driver: Any = extensions.platforms[self.recording.platform].driver
        self.driver = driver
        self.player = Player(self.recording, self.driver.terminal)
        self._agent = ROOT / name / "agent.snmprec"

    def can(self, capability: type) -> bool:
        return isinstance(self.driver, capability)

    def run(self, dialogue: Dialogue[Any]) -> Any:
        return play(dialogue, self.player)

    def read(self, group: str) -> Reading:
        wanted = next(item for item in self.driver.groups() if item.name == group)
        found = varbinds(self._agent.read_text("utf-8"))
        reading = self.driver.read(group, *select(found, wanted.scalars, wanted.tables))
        assert isinstance(reading, Reading)
        return reading

    def snmp_facts(self) -> Any:
        found = varbinds(self._agent.read_text("utf-8"))
        return self.driver.snmp_facts({oid: found.get(oid) for oid in self.driver.fact_oids()})
