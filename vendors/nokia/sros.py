"""Nokia SR OS by its command line and SNMP. Where the classic command for the configuration is not known, the model-driven one is asked."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Literal

from netd.model.device import ArpEntry, Outcome
from netd.sdk import text as read
from netd.sdk.dialogue import Dialogue, say
from netd.sdk.polled import Polled
from netd.sdk.shell import ConfigurationLines, Shell

_MODEL_DRIVEN = "admin show configuration configure full-context"


class Driver(Shell, ConfigurationLines, Polled):
    """7750, 7450, 7705 and 7210; lines of configuration are those of the classic command line, from the root."""

    def configuration(self, which: Literal["running", "startup"]) -> Dialogue[str]:
        data = self.family.configuration
        if which == "startup" or data.running is None:
            raise LookupError("the stored configuration is a file of a name that only its boot options tell")
        command = data.running
        text = yield from say(command, timeout_seconds=data.timeout_seconds, check=False, large=True)
        if self.terminal.classify(text[:400])[0] is Outcome.SYNTAX:
            command = _MODEL_DRIVEN
            text = yield from say(command, timeout_seconds=data.timeout_seconds, check=False, large=True)
        return self.whole(text, command)

    def arps(self) -> Dialogue[Sequence[ArpEntry]]:
        text = yield from say("show router arp")
        found = []
        for tokens in read.rows(text):
            if len(tokens) >= 5 and tokens[0].count(".") == 3 and (mac := read.mac(tokens[1])):
                found.append(ArpEntry(address=ip_address(tokens[0]), mac=mac, interface=tokens[-1]))
        return found
