"""A scrape's answer, whatever a device shows."""

import asyncio
from datetime import UTC, datetime

from prometheus_client.parser import text_string_to_metric_families

from netd.domain import exposition
from netd.model.device import InterfaceSample, OpticsSample
from netd.model.telemetry import CurrentDevice, CurrentInterface

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def device(interfaces: int) -> CurrentDevice:
    shown = tuple(
        CurrentInterface(
            id=n, at=NOW, counters=InterfaceSample(if_index=n, name=f"ge-{n}", in_octets=n, out_octets=n), rates=None, utilisation_percent=None
        )
        for n in range(interfaces)
    )  # fmt: skip
    lanes = tuple(OpticsSample(interface="ge-0", rx_dbm=-n) for n in range(2))
    return CurrentDevice(device_id=1, up=True, up_at=NOW, interfaces=shown, optics=lanes)


async def test_others_have_their_turn_while_twenty_thousand_interfaces_are_told() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    text = await exposition.page([({"device": "r1"}, device(20_000))])
    other.cancel()
    assert text.count("\nnetd_interface_in_octets_total{") == 20_000 and turns > 5


async def test_no_series_is_told_twice() -> None:
    """Two lanes of a transceiver have one name: Prometheus would take neither as it is meant."""
    text = await exposition.page([({"device": "r1"}, device(1)), ({"device": "r2"}, None)])
    found = [(sample.name, *sample.labels.values()) for family in text_string_to_metric_families(text) for sample in family.samples]
    assert len(found) == len(set(found)) and ("netd_optics_rx_dbm", "r1", "ge-0") in found and ("netd_device_polled", "r2") in found
