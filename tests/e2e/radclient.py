"""FreeRADIUS's radclient: sends what it is told, checks the answer, and prints both."""

import re
import subprocess
from typing import NamedTuple


class Reply(NamedTuple):
    """What came back: the packet's name, empty if nothing did, and its attributes in order, as radclient prints them."""

    name: str
    attributes: list[tuple[str, str]]
    printed: str

    def all(self, attribute: str) -> list[str]:
        """Every value of one attribute."""
        return [value for name, value in self.attributes if name == attribute]

    def one(self, attribute: str) -> str:
        """The only value of one attribute."""
        (value,) = self.all(attribute)
        return value


def radclient(program: str, port: int, command: str, attributes: str, secret: str = "testing123", seconds: float = 30.0, host: str = "127.0.0.1") -> Reply:
    """Send one request and wait for its answer; radclient itself throws away one that is not signed with the secret."""
    line = [program, "-x", "-r", "1", "-t", str(seconds), f"{host}:{port}", command, secret]
    done = subprocess.run(line, input=attributes + "\n", capture_output=True, text=True, timeout=seconds + 120, check=False)
    printed = done.stdout + done.stderr
    received = re.search(r"^Received (\S+) Id .*\n((?:\t.*\n)*)", printed, re.MULTILINE)
    if received is None:
        return Reply("", [], printed)
    pairs = [tuple(line.strip().split(" = ", 1)) for line in received[2].splitlines()]
    return Reply(received[1], [(name, value.strip('"')) for name, value in pairs], printed)
