"""Devices that are not there: command lines with their vendors' quirks, and SNMP agents, as pure state; no socket, clock or library.

A vendor's ``*_simulator.py`` says what its devices answer (:class:`netd.simulate.behaviour.Behaviour`); :mod:`netd.device.simulated` serves it
over SSH, Telnet and SNMP.
"""

from netd.simulate.access import Attributes, Rates
from netd.simulate.agent import Agent, objects
from netd.simulate.behaviour import Behaviour, Reply, command
from netd.simulate.configuration import Tree
from netd.simulate.console import Console, Painted
from netd.simulate.device import Quirks, Simulated
from netd.simulate.mib import Objects, OnuLight, Port, Vitals

__all__ = [
    "Agent", "Attributes", "Behaviour", "Console", "Objects", "OnuLight", "Painted", "Port", "Quirks", "Rates", "Reply", "Simulated", "Tree", "Vitals",
    "command", "objects",
]  # fmt: skip
