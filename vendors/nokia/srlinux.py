"""Nokia SR Linux by its command line and SNMP.

Its configuration is read as one JSON object, which is whole or cannot be parsed. What is typed is a private candidate: committed if every line was
taken, discarded if not.
"""

import json
from collections.abc import Sequence

from netd.model.device import Outcome
from netd.sdk.dialogue import Dialogue
from netd.sdk.polled import Polled
from netd.sdk.shell import ConfigurationLines, Shell
from netd.sdk.terminal import Refused


class Driver(Shell, ConfigurationLines, Polled):
    """7220 IXR, 7250 IXR and containers."""

    def whole(self, text: str, command: str) -> str:
        body = super().whole(text, command)
        try:
            json.loads(body)
        except ValueError:
            raise Refused(f"{command}: {len(body)} characters are no whole JSON object: it was cut", Outcome.UNVERIFIED) from None
        return body

    def configure(self, lines: Sequence[str]) -> Dialogue[Sequence[tuple[str, Outcome, str]]]:
        return (yield from super().configure([*lines, "commit now"]))
