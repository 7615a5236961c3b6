"""What all sessions of a simulated device share, and how it misbehaves."""

import hashlib

import msgspec

from netd.simulate.configuration import Tree


class Quirks(msgspec.Struct, kw_only=True):
    """How the device makes a driver's life hard. All of them were seen on real ones."""

    page_lines: int = 24  # 0: no pager
    page_most: int | None = None  # the pager cannot be set to more lines than that
    erases_pager: bool = True  # the pager's text is overwritten with blanks after a key
    alarms: int = 0  # an alarm block lands in every output after so many lines, until alarms are switched off
    interrupts: int = 0  # and one after so many characters of every line that is typed
    asks: bool = True  # ``{ <cr>|… }:`` and the like, until switched off
    echo_columns: int = 0  # the echo is wrapped there whatever the terminal says
    sessions: int = 8  # more of them are turned away
    busy_after_save: int = 0  # so many commands are answered with «busy» after a save
    busy_lines: int = 0  # so many lines of configuration are
    locked_by: str | None = None  # somebody else configures
    cut_octets: int = 0  # longer outputs end there, without a word
    upgrade_fails: bool = False  # comes back with the version that it had
    damages_files: bool = False  # what is stored is not what was sent
    refuses: tuple[str, ...] = ()  # lines of a whole configuration that it does not take
    lacks: tuple[str, ...] = ()  # commands that this release does not know (as typed, whole)
    encoding: str = "utf-8"  # of what it writes
    resets_after: int = 0  # the connection breaks after so many characters of an output


class Simulated:
    """One device: name and log-in, configuration, files, software.

    ``facts`` is what its behaviour prints (model, serial …). ``uptime_seconds`` is moved by whoever serves it. ``generation`` counts restarts: a console
    of an older one is closed.
    """

    def __init__(
        self,
        hostname: str,
        *,
        version: str,
        username: str = "netd",
        password: str = "simulated",
        facts: dict[str, str] | None = None,
        configuration: str = "",
        quirks: Quirks | None = None,
    ) -> None:
        self.hostname = hostname
        self.username, self.password = username, password
        self.version = version
        self.next_version: str | None = None
        self.facts = dict(facts or {})
        self.running = Tree.parse(configuration)
        self.startup = Tree.parse(configuration)
        self.files: dict[str, bytes] = {}
        self.quirks = quirks or Quirks()
        self.uptime_seconds = 86_400
        self.generation = 0
        self.sessions = 0
        self.busy = 0
        self.shut = False  # nobody new is let in: so its configuration wants it
        self.log: list[str] = []  # every line that was typed, for tests

    def restart(self) -> None:
        """Come up with the stored configuration, and the next version unless it does not take."""
        self.generation += 1
        self.sessions = 0
        self.busy = 0
        self.uptime_seconds = 0
        self.running = self.startup.copy()
        if self.next_version is not None and not self.quirks.upgrade_fails:
            self.version = self.next_version
        self.next_version = None

    def saved(self) -> None:
        self.startup = self.running.copy()
        self.busy = self.quirks.busy_after_save

    def md5(self, path: str) -> str | None:
        """Of a stored file; None if there is none."""
        content = self.files.get(path)
        return None if content is None else hashlib.md5(content, usedforsecurity=False).hexdigest()
