"""FRRouting's vtysh over SSH: a router's command line with ``configure terminal`` and ``write memory``."""

from netd.model.device import Outcome
from netd.sdk.dialogue import Command, Dialogue, Note
from netd.sdk.polled import Polled
from netd.sdk.sections import changes
from netd.sdk.shell import FINE, ConfigurationLines, Shell, routine
from netd.sdk.terminal import Refused


class Driver(Shell, ConfigurationLines, Polled):
    """Any daemon that vtysh speaks for, with the integrated configuration file."""

    def restore(self, text: str, *, save: bool = True) -> Dialogue[Outcome]:
        """Type what differs, ``no`` in front of what is too much; then save, if that is wanted and what runs is what was."""
        lines = changes((yield from self.configuration("running")), text)
        yield Note(text=f"{len(lines)} lines differ")
        yield from routine(self.family.configuration.enter)
        try:
            for line in lines:
                yield from self._type(line)
        finally:
            yield from routine(self.family.configuration.exit)
        if self.normal((yield from self.configuration("running"))) != self.normal(text):
            return Outcome.UNVERIFIED
        if save:
            yield from self.save()
        return Outcome.OK

    def _type(self, line: str) -> Dialogue[None]:
        """Some lines are taken back without their last words (``no password``): which ones, only vtysh knows."""
        shown = self.masked(line)
        words = line.split()
        while True:
            text = yield Command(text=" ".join(words), check=False, secret=shown != line)
            outcome, said = self.terminal.classify(text)
            if outcome in FINE:
                return
            if outcome is not Outcome.SYNTAX or words[0] != "no" or len(words) <= 2:
                raise Refused(f"{shown}: {self.masked(said)}", outcome, self.masked(said))
            words.pop()
