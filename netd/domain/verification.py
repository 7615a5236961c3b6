"""Whether a device is what was expected: how it is looked at, what is compared, and what shows it. Pure."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from netd.model.boot import ExpectedDevice
from netd.model.device import Facts
from netd.model.target import Credential, SnmpCommunity, SnmpUser, SshLogin, TelnetLogin

Way = Literal["login", "snmp", "acs", "reach", "none"]

NOTHING = "netd has no way to see what it is: no driver with a command line, no SNMP credential. A driver or credential, or `verify` reach, lets it go on"


def way(expected: ExpectedDevice, credentials: Sequence[Credential], *, driver: bool, lines: bool, managed: bool, chosen: int | None) -> Way:
    """How a device is looked at. ``driver``: there is one with a command line; ``lines``: it got a configuration through that; ``managed``: it has an ACS;
    ``chosen`` is the id of the credential that an operator chose for it.

    A log-in counts most. One that was given an SNMP credential of its own, and no configuration, is meant to be polled.
    """
    typed = [each for each in credentials if isinstance(each.login, SshLogin | TelnetLogin)]
    polled = [each for each in credentials if isinstance(each.login, SnmpCommunity | SnmpUser)]
    if lines or (driver and typed and not any(each.id == chosen for each in polled)):
        return "login"
    if managed:
        return "acs"
    if polled:
        return "snmp"
    if driver:
        return "login"  # by what its first file let netd in with
    return "reach" if expected.verify == "reach" else "none"


UNKNOWN = ""
"""The platform of what nobody recognises."""


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: ``wrong`` says what is otherwise than it should be, ``same`` names what was compared, ``unread`` what could not be. ``another``:
    it is another device, which no waiting makes right; what it runs may still be about to change."""

    wrong: tuple[str, ...]
    another: bool
    same: tuple[str, ...]
    unread: tuple[str, ...]

    def evidence(self) -> dict[str, Any]:
        """For the step: what was compared, and what was not."""
        return {"compared": ", ".join(self.same) or "nothing", **({"not_read": ", ".join(self.unread)} if self.unread else {})}


def compare(expected: ExpectedDevice, facts: Facts, platform: str | None = None) -> Compared:
    """The facts beside what is expected; ``platform`` is as recognised, None where nobody looked. What was not told is not wrong: :func:`unproved` judges
    that."""
    pairs = (
        ("serial", expected.serial, facts.serial, "its serial number is {}, not {}"),
        ("platform", expected.platform, platform, "it is recognised as {}, not {}"),
        ("software_version", expected.target_version, facts.software_version, "it runs {}, not {}"),
    )
    wrong, same, unread, another = [], [], [], False
    for name, wanted, found, text in pairs:
        if wanted is None or (name == "platform" and found is None):
            continue
        if found is None or found == UNKNOWN:
            unread.append(name)
            if name == "software_version":
                wrong.append(text.format("an unknown version", wanted))
        elif found.upper() == wanted.upper() if name == "serial" else found == wanted:
            same.append(name)
        else:
            wrong.append(text.format(found, wanted))
            another = another or name == "serial"
    return Compared(wrong=tuple(wrong), another=another, same=tuple(same), unread=tuple(unread))


def unproved(expected: ExpectedDevice, facts: Facts, *, logged_in: bool) -> str | None:
    """Why it is not proved to be the one; None if it is, or need not be. Who logged in with what only the first file told needs no serial number where
    none is expected; who only read an agent does."""
    if expected.verify == "reach" or facts.serial is not None or (logged_in and expected.serial is None):
        return None
    return "its serial number cannot be read: `verify` reach would take that it answers"
