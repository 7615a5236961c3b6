"""Which commands only show something, and secrets in lines."""

import pytest

from netd.config import CommandsConfig
from netd.domain.commands import IN_FULL, MENU_WORDS, ShowRules, filled, places, secrets_of, show_rules, without_tables
from netd.errors import ConfigError

SHOWS = (
    "show version", "show ip bgp summary", "do show run", "display current-configuration", "show run | include ntp", "show log | begin 10:00 | count",
    "/ip address print detail without-paging", "/interface bridge host print terse", "traceroute 192.0.2.1", "info from state", "ip -6 route show",
    "uname -r", "admin display-config", "info from state / system lldp | as json", "free -m", "df -h /var", "/ip/address/print",
    "/ppp secret print detail where name=u1", "/radius print terse", "/system resource print", "ping 192.0.2.1 count=5 size=1400",
    "ping 192.0.2.1 repeat 20 size 1500 df-bit", "ping -c 5 192.0.2.1", "ping -c 3 -i 2 -I eth0 192.0.2.1", "ping -a 192.0.2.7 -c 5 192.0.2.1",
    "ping vrf red 192.0.2.1 repeat 5", "ping router 4 192.0.2.1 count 5",
)  # fmt: skip
DOES_MORE = (
    "configure terminal", "reload", "showdown", "write memory", "no shutdown", "/system reboot", "/ip address add address=192.0.2.1/24",
    "show run | redirect tftp://192.0.2.1/x", "show run | append flash:x", "show run | tee flash:x", "display this > flash:/x", "show version; reload",
    "show version\nreload", "show version & reload", "ping `reboot`", "ping $(reboot)", "/ip address print file=x", "/log print follow",
    "/ip address print [/system reboot]", ":do { /system reboot }", "ip route del default", "info configure", "hostname other", "show tech-support",
    "uptime | sh", "free -s 1", "free -h -s1", "show history", "show archive log config all", "traceroute -q 1000 192.0.2.1", "/system script run print",
    "/user remove print", "/import print", "/user rem print", "/tool ip print", "/tool fetch print", "/system backup save print", "/ping print",
    "/ppp secret print", "/ppp/secret/print", "/ppp  secret print", "/PPP secret print", "/ppp sec print", "/snmp community print detail",
    "/system script print", "/radius print where disabled=no", "/file print detail", "ping 192.0.2.1", "ping -f 192.0.2.1", "ping -i 0.002 -c 5 192.0.2.1",
    "ping -i .2 -c 5 192.0.2.1", "ping -c 1000 192.0.2.1", "ping -c 0 192.0.2.1", "ping -c5 -f 192.0.2.1", "ping -l 100 -c 5 192.0.2.1",
    "ping -s 65000 -c 5 192.0.2.1", "ping 192.0.2.1 repeat 1000000", "ping 192.0.2.1 count", "ping -c", "ping 192.0.2.1 rapid count 5",
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


VERBS = (
    "add", "append", "bandwidth-test", "beep", "clear", "comment", "convert", "disable", "do", "downgrade", "edit", "enable", "execute", "export",
    "fetch", "find", "flood-ping", "flush", "force", "generate", "get", "global", "import", "install", "ip-scan", "kill", "load", "mac-scan", "make",
    "move", "make-static", "monitor-traffic", "password", "ping", "print", "quit", "reboot", "recover", "release", "remove", "renew", "reset",
    "reset-configuration", "reset-counters", "run", "save", "scan", "send", "set", "setup", "shutdown", "sign", "sniff", "speed-test", "ssh",
    "telnet", "test", "torch", "traceroute", "unset", "update", "upgrade", "wol",
)  # fmt: skip


def test_no_menu_has_a_verbs_name() -> None:
    """RouterOS takes a verb's beginning for the verb."""
    assert not [word for word in MENU_WORDS - {"ip"} if any(verb.startswith(word) for verb in VERBS)]
    assert not [menu for menu in IN_FULL if not set(menu.split()) <= MENU_WORDS]


TABLES = {
    "RouterOS 6": "Flags: X - disabled \n #   NAME   SERVICE CALLER-ID  PASSWORD  PROFILE \n 0   u1     any                canary1   default \n 1   canary2 x",
    "RouterOS 7": "Columns: NAME, SERVICE, PASSWORD\n# NAME SERVICE PASSWORD\n0 u1   pppoe   canary1\n;;; canary",
    "IOS": "Keyring      Hostname/Address                            Preshared Key\n\ndefault      10.1.1.1                                    canary1",
    "SR OS": "==========\nSNMP Communities\n==========\nCommunity            Access  View\n----------\ncanary1              r       iso\n----------",
    "with bars": "| Name | Password |\n|------|----------|\n| u1   | canary1  |",
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_table_with_secrets_is_left_out(table: str) -> None:
    shown = without_tables(table)
    assert "canary" not in shown and "<secret>" in shown and shown.split("\n")[0] == table.split("\n")[0]
    assert without_tables(shown) == shown


@pytest.mark.parametrize("text", [
    "Interface      IP-Address      OK?\nGi0/1          192.0.2.1       YES", " password 7 0822455D0A16\n login", "key chain x\n key 1\nend",
    "username u1 password 7 x\n!", "# NAME SERVICE PROFILE\n0 u1 any default", "Passwords are kept elsewhere", "Tokens left: 5\nx  y",
])  # fmt: skip
def test_what_is_no_such_table_stays(text: str) -> None:
    assert without_tables(text) == text
