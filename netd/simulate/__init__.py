"""Devices that are not there: command lines with their vendors' quirks, as pure state. Characters in, text out; no socket, clock or library.

A vendor's ``*_simulator.py`` says what its devices answer (:class:`netd.simulate.behaviour.Behaviour`); :mod:`netd.device.simulated` serves it
over SSH and Telnet.
"""

from netd.simulate.behaviour import Behaviour, Reply, command
from netd.simulate.configuration import Tree
from netd.simulate.console import Console, Painted
from netd.simulate.device import Quirks, Simulated

__all__ = ["Behaviour", "Console", "Painted", "Quirks", "Reply", "Simulated", "Tree", "command"]
