"""Lines with secrets, as each platform writes them: no canary survives, and what is no secret stays readable."""

import re

import pytest

from netd.extensions import Extensions

SECRETS = {
    "mikrotik_routeros": """\
/ppp secret add name=u1 password=canary1 profile=default
/ppp secret add name=u1 password="canary 1 with \\"quotes\\" in it" profile=default
/radius add address=192.0.2.7 secret=canary1 service=ppp
/interface wireguard add listen-port=13231 private-key="canary1=" mtu=1420
/interface wireguard peers add preshared-key="canary1=" public-key="AAAA=" interface=wg
/ip ipsec identity add peer=p1 secret=canary1
/interface wifi security add name=s passphrase=canary1
/interface wireless security-profiles set 0 wpa-pre-shared-key=canary1 wpa2-pre-shared-key=canary2
/snmp community add addresses=::/0 name=canary1 authentication-password=canary2 encryption-password=canary3
/user add name=a group=full password=canary1
/tool e-mail set password=canary1 user=x
/interface l2tp-client add ipsec-secret=canary1 name=l2 user=u password=canary2
/certificate import passphrase=canary1 file-name=a.p12
/routing bgp connection add name=b tcp-md5-key=canary1
/interface vrrp add name=v password=canary1 authentication=ah
""",
    "huawei_smartax": """\
 snmp-agent community read canary1
 snmp-agent community write cipher canary1
 terminal user name buildrun_new_password root *canary1* 0 2021-01-01
 radius-server shared-key cipher canary1
 radius-server shared-key canary1
 ont add 3 6 password-auth canary1 always-on omci ont-lineprofile-id 1
 ont add 3 6 loid-auth canary1 always-on omci
 ont ipconfig 3 5 ip-index 1 pppoe user-account username u1 password canary1 vlan 150 priority 0
 ont tr069-server-profile add profile-id 1 profile-name p url http://192.0.2.1:7547 user u password canary1
 snmp-agent usm-user v3 u g authentication-mode md5 canary1234 privacy-mode aes128 canary5678
 ssh user x password canary1
""",
    "huawei_vrp": """\
 local-user netd password irreversible-cipher canary1
 local-user netd password cipher canary1
 local-user netd password simple canary1
 snmp-agent community read cipher canary1
 snmp-agent community write canary1
 snmp-agent usm-user v3 u authentication-mode sha2-256 cipher canary1
 radius-server shared-key cipher canary1
 radius-server shared-key-cipher %^%#canary1%^%#
 ospf authentication-mode md5 1 cipher canary1
 ike peer a pre-shared-key cipher canary1
 peer 192.0.2.1 password cipher %@%@canary1%@%@
 super password level 3 cipher canary1
 pppoe-client ppp chap password simple canary1
 isis authentication-mode md5 plain canary1
""",
    "zte_zxan": """\
snmp-server community canary1 view AllView ro
snmp-server user u g v3 auth md5 canary1234 priv des56 canary5678
username zte password canary1 max-sessions 16
username x privilege 15 password encrypted canary1
enable secret level 15 5 canary1
tacacs-server host 192.0.2.1 key canary1
tacacs-server key canary1
radius-server 1 auth-server 1 192.0.2.1 key canary1
 wan-ip 1 mode pppoe username u1 password canary1 vlan-profile v host 1
 ssid auth wpa wifi_0/1 key canary1
 tr069-mgmt 1 acs http://192.0.2.1 validate basic username u password canary1
 onu 1 type ZTE-F660 pw canary1 vport-mode gemport
""",
    "zte_zxros": """\
snmp-server community encrypted canary1 view AllView ro
snmp-server community canary1 view AllView ro
username zte password canary1 privilege 15
enable secret canary1
 authentication-key canary1
radius-server host 192.0.2.1 key canary1
""",
    "nokia_isam": """\
configure system security snmp community canary1 context nt
configure system security operator isadmin password plain:canary1
configure system security snmp user u auth-password plain:canary1 priv-password plain:canary2
configure equipment ont interface 1/1/1/1/5 sernum ALCL:FE12FC43 subslocid canary1 fec-up disable
configure system security radius auth-server s shared-secret plain:canary1
""",
    "nokia_sros": """\
            community "canary1" hash2 r version v2c
            community canary1 r version v2c
                password "canary1"
            secret "canary1" hash2
                message-digest-key 1 md5 "canary1" hash2
            authentication-key "canary1" hash2
                server 1 address 192.0.2.1 secret "canary1" hash2
                    pre-shared-key "canary1" hash2
                hello-authentication-key "canary1" hash2
""",
    "nokia_srlinux": """\
      "password": "canary1"
      "secret-key": "canary1"
      "community": "canary1"
      "srl_nokia-snmp:authentication-key": "canary1"
set / system aaa authentication admin-user password canary1
set / system snmp access-group g security-level no-auth-no-priv community-entry RO community canary1
""",
    "cisco_ios": """\
snmp-server community canary1 RO 10
snmp-server host 192.0.2.7 version 2c canary1
snmp-server host 192.0.2.7 vrf Mgmt version 2c canary1 envmon
snmp-server host 192.0.2.7 canary1
snmp-server user u g v3 auth sha canary1 priv aes 128 canary2
enable secret 5 canary1
enable password canary1
username netd privilege 15 secret 9 canary1
username netd password 0 canary1
username netd privilege 15 password 7 canary1
 password 7 canary1
 key 7 canary1
 key canary1
tacacs-server key 7 canary1
tacacs-server host 192.0.2.1 key canary1
radius-server host 192.0.2.1 auth-port 1812 acct-port 1813 key 7 canary1
 server-key canary1
crypto isakmp key canary1 address 192.0.2.1
crypto isakmp key 6 canary1 address 192.0.2.1
 pre-shared-key local canary1
  key-string 7 canary1
 ip ospf message-digest-key 1 md5 7 canary1
 ip ospf authentication-key 7 canary1
 neighbor 192.0.2.1 password 7 canary1
 ppp chap password 0 canary1
 ppp pap sent-username u password 0 canary1
 wpa-psk ascii 0 canary1
 standby 1 authentication md5 key-string canary1
 ntp authentication-key 1 md5 canary1 7
 isis password canary1
 ip nhrp authentication canary1
""",
    "generic_frr": """\
password canary1
enable password 8 canary1
 neighbor 192.0.2.1 password canary1
 ip ospf message-digest-key 1 md5 canary1
 ip ospf authentication-key canary1
 area-password md5 canary1
 isis password clear canary1
  key-string canary1
 ip rip authentication string canary1
""",
}
OPEN = {
    "mikrotik_routeros": "/interface bridge add name=lan\n/system identity set name=edge1\n/ip address add address=192.0.2.1/24 interface=ether1",
    "huawei_smartax": 'interface gpon 0/1\n ont add 3 5 sn-auth 485754430B086EA9 omci ont-lineprofile-id 100 ont-srvprofile-id 100 desc "x"\nvlan 100 smart',
    "huawei_vrp": "sysname NE1\ninterface GigabitEthernet0/1/0\n description core\n ip address 192.0.2.1 255.255.255.0",
    "zte_zxan": "hostname ZXAN\ninterface gpon-onu_1/1/1:1\n tcont 1 profile UP-100M\n onu 1 type ZTE-F660 sn ZTEGDC79F447",
    "zte_zxros": "hostname P1\ninterface xgei-1/1/0/1\n description core",
    "nokia_isam": "configure equipment ont interface 1/1/1/1/5 sernum ALCL:FE12FC43 subslocid WILDCARD fec-up disable",
    "nokia_sros": '        name "pe1"\n            interface "to-p1"\n                address 192.0.2.1/30',
    "nokia_srlinux": '      "name": "ethernet-1/1",\n      "admin-state": "enable"',
    "cisco_ios": "hostname edge\ninterface Gi0/0\n description core\nkey chain ospf\n key 1\nservice password-encryption\nip http secure-server",
    "generic_frr": "hostname vm\ninterface lo\n ip address 192.0.2.1/32\nip route 198.51.100.0/24 192.0.2.9",
}


@pytest.mark.parametrize("platform", SECRETS)
def test_no_secret_is_shown(platform: str, extensions: Extensions) -> None:
    driver = extensions.platforms[platform].driver
    for line in SECRETS[platform].splitlines():
        shown = driver.masked(line)  # type: ignore[attr-defined]
        assert not re.search(r"canary", shown), shown
        assert "<secret>" in shown
        assert driver.masked(shown) == shown  # type: ignore[attr-defined]


SHOWN = {
    "mikrotik_routeros": """\
 0 * name="canary1" addresses=::/0 security=none read-access=yes write-access=no
 0 * name=canary1 addresses=::/0 security=none
 0   name="u1" service=any password="canary1" profile=default
 0   name="u1" service=any password="canary1 and no end of it
           secret: canary1
   trap-community: canary1
/snmp set enabled=yes trap-community=canary1
""",
    "cisco_ios": """\
Community name: canary1
user: canary1 security model: v2c
    key 1 -- text "canary1"
""",
    "huawei_vrp": """\
   Community name:canary1
   Shared-secret-key : canary1
   Securityname: canary1
""",
    "huawei_smartax": """\
  Password                : 0x63616e617279 (canary1)
  Loid                    : canary1
  Community name: canary1
""",
}


@pytest.mark.parametrize("platform", SHOWN)
def test_no_secret_is_shown_by_a_command(platform: str, extensions: Extensions) -> None:
    """What devices say of themselves is in other words than their configuration."""
    driver = extensions.platforms[platform].driver
    for line in SHOWN[platform].splitlines():
        shown = driver.masked(line)  # type: ignore[attr-defined]
        assert "canary" not in shown and "<secret>" in shown, shown
        assert driver.masked(shown) == shown  # type: ignore[attr-defined]


@pytest.mark.parametrize("platform", OPEN)
def test_what_is_no_secret_stays(platform: str, extensions: Extensions) -> None:
    assert extensions.platforms[platform].driver.masked(OPEN[platform]) == OPEN[platform]  # type: ignore[attr-defined]


def test_every_platform_with_a_configuration_has_lines_here(extensions: Extensions) -> None:
    with_one = {name for name, item in extensions.platforms.items() if hasattr(item.driver, "configuration") and not item.platform.settings}
    assert with_one == set(SECRETS) == set(OPEN)
