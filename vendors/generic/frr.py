"""FRRouting's vtysh over SSH: a router's command line with ``configure terminal`` and ``write memory``."""

from netd.model.device import Outcome
from netd.sdk.dialogue import Dialogue, Note
from netd.sdk.polled import Polled
from netd.sdk.sections import changes
from netd.sdk.shell import FINE, ConfigurationLines, Shell
from netd.sdk.terminal import Refused


class Driver(Shell, ConfigurationLines, Polled):
    """Any daemon that vtysh speaks for, with the integrated configuration file."""

    def restore(self, text: str) -> Dialogue[Outcome]:
        """Type what differs, ``no`` in front of what is too much; then save, if what runs is what was wanted."""
        lines = changes((yield from self.configuration("running")), text)
        yield Note(text=f"{len(lines)} lines differ")
        for line, outcome, said in (yield from self.configure(lines)):
            if outcome not in FINE:
                raise Refused(f"{line}: {said}", outcome, said)
        if self.normal((yield from self.configuration("running"))) != self.normal(text):
            return Outcome.UNVERIFIED
        yield from self.save()
        return Outcome.OK
