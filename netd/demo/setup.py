"""Makes the simulated provider known to netd by its API: what is there stays as somebody changed it."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from netd.demo.api import Api
from netd.demo.devices import DemoDevice
from netd.demo.scenario import COMMUNITY, NOTE, ORGANIZATION, PASSWORD, SITE, TAG, USERNAME, Plan, Scenario, Subscriber
from netd.errors import PeerError

log = logging.getLogger(__name__)

POOL: Final = "simulated-cgn"
NETWORK: Final = "127.83.0.0/24"
"""Of the simulated devices: their credentials are sent nowhere else."""

JOB_SECONDS: Final = 120.0
ENDED: Final = frozenset(("succeeded", "failed", "cancelled", "timed_out"))


async def furnish(api: Api, scenario: Scenario, devices: Sequence[DemoDevice], coa_ports: Mapping[str, int], secret: str) -> None:
    """Everything, or what is missing of it. Raises PeerError."""
    await api.ensure("/organizations", {"name": ORGANIZATION, "note": NOTE})
    await api.ensure("/sites", {"name": SITE, "organization": ORGANIZATION, "note": NOTE})
    _, made = await api.ensure("/pools", {"name": POOL, "kind": "ipv4", "ranges": ["100.64.83.0/24"], "gateway": "100.64.83.1", "description": NOTE})
    if made:
        await api.post("/pools/rules", {"pool": POOL, "site": SITE})
    for plan in scenario.plans:
        await _plan(api, plan)
    for credential in (
        {"name": "simulated-ssh", "type": "ssh", "username": USERNAME, "password": PASSWORD},
        {"name": "simulated-snmp", "type": "snmp_community", "community": COMMUNITY},
    ):
        await api.ensure("/credentials", {**credential, "site": SITE, "networks": [NETWORK], "note": NOTE})
    for device in devices:
        await _device(api, device, coa_ports.get(device.machine.name), secret)
    await api.ensure("/device-groups", {"name": TAG, "selector": {"tags": [TAG]}, "note": NOTE})
    await api.ensure("/thresholds", {
        "name": "simulated-weak-light", "metric": "rx_dbm", "raise_level": -24.0, "clear_level": -22.0, "above": False, "severity": "major",
        "selector": {"tags": [TAG], "kinds": ["olt"]}, "note": NOTE,
    })  # fmt: skip
    for subscriber in scenario.subscribers:
        await _subscriber(api, subscriber)


async def _plan(api: Api, plan: Plan) -> None:
    found, made = await api.ensure("/plans", {"name": plan.name, "down_bps": plan.rates.down_bps, "up_bps": plan.rates.up_bps, "interim_seconds": 60})
    if made and plan.daily_octets is not None and plan.lowered is not None:
        stages = [
            {"percent": 80, "action": "notify"},
            {"percent": 100, "action": "lower", "down_bps": plan.lowered.down_bps, "up_bps": plan.lowered.up_bps},
        ]
        await api.post(f"/plans/{found['id']}/quotas", {
            "name": "daily", "unit": "volume", "period": "day", "direction": "both", "amount": plan.daily_octets, "stages": stages
        })  # fmt: skip


async def _subscriber(api: Api, subscriber: Subscriber) -> None:
    await api.ensure("/subscribers", {
        "username": subscriber.username, "password": subscriber.password, "plan": subscriber.plan, "full_name": subscriber.full_name, "site": SITE,
        "note": NOTE,
    }, "username")  # fmt: skip


async def _device(api: Api, device: DemoDevice, coa_port: int | None, secret: str) -> None:
    """Its NAS entry, where subscribers dial there, and itself."""
    machine = device.machine
    if coa_port is not None:
        await api.ensure("/radius/nas", {
            "name": machine.name, "address": machine.address, "secret": secret, "vendor": machine.vendor, "coa_port": coa_port, "description": NOTE,
            "site": SITE,
        })  # fmt: skip
    await api.ensure("/devices", {
        "hostname": machine.name, "mgmt_address": machine.address, "vendor": machine.vendor, "platform": machine.platform, "site": SITE, "tags": [TAG],
        "ports": ports(device), "note": NOTE, "parent": machine.parent, "poll_groups": list(machine.poll_groups),
        "nas": None if coa_port is None else machine.name,
    }, "hostname")  # fmt: skip


def ports(device: DemoDevice) -> dict[str, int]:
    """Where it listens."""
    return {"ssh": device.server.ssh_port, "telnet": device.server.telnet_port, "snmp": device.server.snmp_port}


async def follow(api: Api, devices: Sequence[DemoDevice], coa_ports: Mapping[str, int]) -> None:
    """Tell netd of ports that are others than before. What an operator removed is passed over."""
    for device in devices:
        name = device.machine.name
        found = await api.find("/devices", hostname=name)
        if found is not None and found["ports"] != ports(device):
            await api.call("PATCH", f"/devices/{found['id']}", {"ports": ports(device)})
        nas = await api.find("/radius/nas", name=name) if name in coa_ports else None
        if nas is not None and nas["coa_port"] != coa_ports[name]:
            await api.call("PATCH", f"/radius/nas/{nas['id']}", {"coa_port": coa_ports[name]})


async def back_up(api: Api) -> None:
    """Read and keep what the simulated devices are configured as. That it fails is told, and no reason to end."""
    job: Any = await api.post("/jobs", {"kind": "config.backup", "args": {"selector": {"tags": [TAG]}}})
    try:
        async with asyncio.timeout(JOB_SECONDS):
            while job["state"] not in ENDED:
                await asyncio.sleep(0.2)
                job = await api.get(f"/jobs/{job['id']}")
    except TimeoutError:
        log.warning("a backup of the simulated devices takes long", extra={"job": job["id"]})
        return
    if job["state"] != "succeeded":
        log.warning("a backup of the simulated devices did not succeed", extra={"job": job["id"], "state": job["state"], "error": job.get("error")})


async def approve(api: Api, devices: Sequence[DemoDevice]) -> None:
    """Say of what the devices run that it is as it should be. Raises PeerError."""
    for device in devices:
        found = await api.find("/devices", hostname=device.machine.name)
        if found is None:
            continue
        version = (await api.get(f"/devices/{found['id']}/configuration"))["running_id"]
        if version is None:
            raise PeerError(f"no configuration of {device.machine.name} is known")
        await api.post(f"/configurations/{version}/approve", {"note": NOTE})
