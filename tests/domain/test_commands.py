"""Which commands only show something, and secrets in lines."""

import pytest

from netd.config import CommandsConfig
from netd.domain.commands import ShowRules, filled, places, secrets_of, show_rules
from netd.errors import ConfigError

SHOWS = (
    "show version", "show ip bgp summary", "do show run", "display current-configuration", "show run | include ntp", "show log | begin 10:00 | count",
    "/ip address print detail without-paging", "/interface bridge host print terse", "ping 192.0.2.1", "traceroute 192.0.2.1", "info from state",
    "ip -6 route show", "uname -r", "admin display-config", "info from state / system lldp | as json",
)  # fmt: skip
DOES_MORE = (
    "configure terminal", "reload", "showdown", "write memory", "no shutdown", "/system reboot", "/ip address add address=192.0.2.1/24",
    "show run | redirect tftp://192.0.2.1/x", "show run | append flash:x", "show run | tee flash:x", "display this > flash:/x", "show version; reload",
    "show version\nreload", "show version & reload", "ping `reboot`", "ping $(reboot)", "/ip address print file=x", "/log print follow",
    "/ip address print [/system reboot]", ":do { /system reboot }", "ip route del default", "info configure", "hostname other",
    "show tech-support", "uptime | sh",
    "display diagnostic-information", "", " ",
)  # fmt: skip


@pytest.mark.parametrize("command", SHOWS)
def test_what_shows(command: str) -> None:
    assert ShowRules().refuses(command) == ""


@pytest.mark.parametrize("command", DOES_MORE)
def test_what_does_more(command: str) -> None:
    assert ShowRules().refuses(command) != ""


def test_an_operators_own_rules() -> None:
    rules = ShowRules(allow=[r"get system status"], deny=[r"bgp"])
    assert rules.refuses("get system status") == "" and "'bgp'" in rules.refuses("show ip bgp summary") and rules.refuses("get system reboot")


def test_a_rule_that_is_none() -> None:
    with pytest.raises(ConfigError, match=r"commands: '\(' is no regular expression"):
        show_rules(CommandsConfig(show_deny=("(",)))


def test_secrets_in_lines() -> None:
    secrets = secrets_of("psk=a=b c\n\nro=x\n")
    assert secrets == {"psk": "a=b c", "ro": "x"} and places(["key ${psk} ${ro}", "$x {y}"]) == {"psk", "ro"}
    assert filled(["key ${psk}", "plain"], secrets) == ["key a=b c", "plain"]
    for wrong in ("psk", "=x", "a b=x", "psk="):
        with pytest.raises(ValueError, match="line 1 is not of the form name=value"):
            secrets_of(wrong)
