import copy
import pickle
import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from netd.config import INTEGRATION_VARIABLES, KEYS, TABLES, VARIABLES, Config, Secret, default_data_dir, load
from netd.errors import ConfigError

NOWHERE = Path("/nonexistent/netd.toml")
EXAMPLE = Path(__file__).parents[1] / "config" / "netd.toml"


def from_text(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> Config:
    file = tmp_path / "netd.toml"
    file.write_text(text, encoding="utf-8")
    return load(file, environ or {"HOME": "/home/op"}, NOWHERE)


def from_environment(**environ: str) -> Config:
    return load(None, {"HOME": "/home/op", **environ}, NOWHERE)


def fault(call, *args, **kwargs) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        call(*args, **kwargs)
    return caught.value


def test_defaults_need_no_file():
    config = from_environment()
    assert config.radius.addresses == ("0.0.0.0", "::")
    assert (config.radius.auth_port, config.radius.acct_port, config.web.port) == (1812, 1813, 8080)
    assert not config.database.url
    assert config.coa.timeout_seconds == 2.0
    assert config.key_file == config.data_dir / "secret.key"


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("NETD_WEB__PUBLIC_URL", "http://netd.example.net", "web.public_url"),
        ("NETD_WEB__PUBLIC_URL", "https://netd.example.net/netd", "web.public_url"),
        ("NETD_WEB__PUBLIC_URL", "https://user@netd.example.net", "web.public_url"),
        ("NETD_WEB__TRUSTED_PROXIES", "127.0.0.1, proxy", "web.trusted_proxies"),
        ("NETD_OIDC__ISSUER", "http://id.example.net", "oidc.issuer"),
        ("NETD_OIDC__ISSUER", "https://id.example.net", "oidc.client_id"),
        ("NETD_OIDC__GROUPS", "noc", "oidc.groups"),
        ("NETD_OIDC__GROUPS", "noc=admin@place:x", "oidc.groups"),
        ("NETD_OIDC__SCOPES", "profile", "oidc.scopes"),
        ("NETD_LOGIN__USER_FAILURES", "1", "login.user_failures"),
    ],
)
def test_settings_of_log_ins_that_cannot_be(name, value, key):
    assert fault(from_environment, **{name: value}).key == key


def test_settings_of_log_ins():
    config = from_environment(
        NETD_WEB__PUBLIC_URL="http://localhost:8080", NETD_WEB__TRUSTED_PROXIES="127.0.0.1, 2001:db8::/64", NETD_OIDC__ISSUER="https://id.example.net/realms/x",
        NETD_OIDC__CLIENT_ID="netd", NETD_OIDC__CLIENT_SECRET="hunter2", NETD_OIDC__GROUPS="a=b=admin, /noc=noc_engineer@site:Oslo 1",
    )  # fmt: skip
    assert (config.oidc.groups, config.web.trusted_proxies) == (("a=b=admin", "/noc=noc_engineer@site:Oslo 1"), ("127.0.0.1", "2001:db8::/64"))
    assert "hunter2" not in repr(config)


def test_file_sets_every_kind_of_value(tmp_path):
    config = from_text(
        tmp_path,
        """
        data_dir = "/srv/netd"
        [log]
        level = "debug"
        [database]
        url = "postgresql://netd:hunter2@db/netd"
        [radius]
        addresses = ["192.0.2.1", "2001:db8::1"]
        auth_port = 0
        acct_port = 0
        reject_delay_seconds = 0
        log_accepts = false
        [secrets]
        key_file = "/run/credentials/netd.key"
        """,
    )
    assert config.data_dir == Path("/srv/netd")
    assert config.log.level == "debug"
    assert config.database.url.reveal() == "postgresql://netd:hunter2@db/netd"
    assert config.radius.addresses == ("192.0.2.1", "2001:db8::1")
    assert config.radius.auth_port == config.radius.acct_port == 0
    assert config.radius.reject_delay_seconds == 0.0
    assert config.radius.log_accepts is False
    assert config.key_file == Path("/run/credentials/netd.key")
    assert config.web == Config(data_dir=Path("/")).web


def test_environment_wins_over_the_file(tmp_path):
    text = "[radius]\nauth_port = 1000\nacct_port = 1001\n"
    environ = {
        "NETD_RADIUS__AUTH_PORT": "2000",
        "NETD_RADIUS__ADDRESSES": "192.0.2.1, 2001:db8::1",
        "NETD_RADIUS__LOG_ACCEPTS": "False",
        "NETD_COA__TIMEOUT_SECONDS": "0.5",
        "NETD_EXTENSIONS__DISABLED": "",
        "NETD_DATABASE__URL": "postgres://db/netd",
        "NETD_DATA_DIR": "/srv/netd",
    }
    config = from_text(tmp_path, text, environ)
    assert (config.radius.auth_port, config.radius.acct_port) == (2000, 1001)
    assert config.radius.addresses == ("192.0.2.1", "2001:db8::1")
    assert config.radius.log_accepts is False
    assert config.coa.timeout_seconds == 0.5
    assert config.extensions.disabled == ()
    assert config.database.url.reveal() == "postgres://db/netd"
    assert config.data_dir == Path("/srv/netd")


def test_which_file(tmp_path):
    named, default = tmp_path / "named.toml", tmp_path / "default.toml"
    option = tmp_path / "option.toml"
    for file, port in ((named, 1), (default, 2), (option, 3)):
        file.write_text(f"[web]\nport = {port}\n")
    assert load(option, {"NETD_CONFIG": str(named)}, default).web.port == 3
    assert load(None, {"NETD_CONFIG": str(named)}, default).web.port == 1
    assert load(None, {"NETD_CONFIG": ""}, default).web.port == 2
    assert load(None, {}, NOWHERE).web.port == 8080
    for error in (fault(load, NOWHERE, {}), fault(load, None, {"NETD_CONFIG": str(NOWHERE)})):
        assert (error.source, error.key, error.reason) == (str(NOWHERE), "", "does not exist")
    assert fault(load, tmp_path, {}).reason == "cannot be read: Is a directory"


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("[radios]\n", "radios", "there is no such table; did you mean radius?"),
        (
            "[zzz]\n",
            "zzz",
            "there is no such table; tables are log, database, radius, coa, enforcement, relay, addresses, dhcp, boot, "
            "retention, poll, web, login, oidc, webhooks, jobs, commands, configurations, netbox, awx, genieacs, voltha, vault, secrets, extensions",
        ),
        ("[radius]\nauth_prot = 1\n", "radius.auth_prot", "there is no such key; did you mean radius.auth_port?"),
        ("[secrets]\nfoo = 1\n", "secrets.foo", "there is no such key; keys of [secrets] are key_file"),
        ("datadir = '/x'\n", "datadir", "there is no such key; did you mean data_dir?"),
        ("radius = 1\n", "radius", "expected a table [radius], not a value"),
        ("[web]\nport = '8080'\n", "web.port", "expected a whole number from 0 to 65535, not '8080'"),
        ("[web]\nport = 65536\n", "web.port", "expected a whole number from 0 to 65535, not 65536"),
        ("[web]\nport = true\n", "web.port", "expected a whole number from 0 to 65535, not True"),
        ("[web.port]\nx = 1\n", "web.port", "expected a whole number from 0 to 65535, not {'x': 1}"),
        ("[coa]\ntimeout_seconds = nan\n", "coa.timeout_seconds", "expected a number from 0.05 to 60, not nan"),
        ("[coa]\ntimeout_seconds = inf\n", "coa.timeout_seconds", "expected a number from 0.05 to 60, not inf"),
        ("[log]\nlevel = 'loud'\n", "log.level", "expected one of debug, error, info, warning, not 'loud'"),
        ("[radius]\nlog_accepts = 1\n", "radius.log_accepts", "expected true or false, not 1"),
        ("[radius]\naddresses = '::'\n", "radius.addresses", "expected a list of strings, not '::'"),
        ("[radius]\naddresses = ['::', 'any']\n", "radius.addresses", "'any' is not an IP address"),
        ("[radius]\naddresses = ['::', '::']\n", "radius.addresses", "names an address twice"),
        ("[radius]\naddresses = []\n", "radius.addresses", "expected at least one IP address"),
        ("[radius]\nwall = ''\n", "radius.wall", "expected a string of 1 to 128 characters, not ''"),
        ("[radius]\nwall_url = 'ftp://x/'\n", "radius.wall_url", "'ftp://x/' is not an http or https URL"),
        ("[radius]\nwall_url = 'https://'\n", "radius.wall_url", "'https://' is not an http or https URL"),
        ("[radius]\nwall_url = 'http://x:99999/'\n", "radius.wall_url", "'http://x:99999/' is not an http or https URL"),
        ("[radius]\nauth_port = 1813\n", "radius.auth_port", "radius.auth_port and radius.acct_port are both 1813"),
        ("[relay]\nport = 1812\n", "relay.port", "radius.auth_port and relay.port are both 1812"),
        ("[enforcement]\nhold_share = 1.5\n", "enforcement.hold_share", "expected a number from 0 to 1, not 1.5"),
        ("[coa]\nsource_address = 'eth0'\n", "coa.source_address", "'eth0' is not an IP address"),
        ("[boot]\nhost = 'http://x'\n", "boot.host", "'http://x' is neither a name nor an IP address"),
        ("[boot]\nhost = '[2001:db8::1]'\n", "boot.host", "'[2001:db8::1]' is neither a name nor an IP address"),
        ("[boot]\nhost6 = 'fe80::1'\n", "boot.host6", "fe80::1 is good on one link only: devices behind a relay do not reach it"),
        ("[boot]\nhost6 = '192.0.2.1'\n", "boot.host6", "192.0.2.1 is an IPv4 address: that is for boot.host"),
        ("[boot]\nenabled = true\nhost = '192.0.2.5'\nhttp_port = 8080\n", "boot.http_port", "boot.http_port and web.port are both 8080"),
        ("[web]\nport = 8443\n[boot]\nenabled = true\nhost = 'x'\ncertificate = '/c'\nkey = '/k'\n", "web.port", "boot.https_port and web.port are both 8443"),
        ("[web]\naddress = ''\n", "web.address", "'' is not an IP address"),
        ("[extensions]\nfolders = ['x']\n", "extensions.folders", "'x' is not an absolute path"),
        ("data_dir = 'x'\n", "data_dir", "'x' is not an absolute path"),
        ("data_dir = 1\n", "data_dir", "expected a string, not 1"),
    ],
)
def test_a_wrong_file_names_file_key_and_reason(tmp_path, text, key, reason):
    error = fault(from_text, tmp_path, text)
    assert (error.source, error.key, error.reason) == (str(tmp_path / "netd.toml"), key, reason)
    assert str(error) == f"{tmp_path / 'netd.toml'}: {key}: {reason}"


def test_every_service_has_a_port_of_its_own(tmp_path):
    config = from_text(tmp_path, "[dhcp]\nenabled = true\n[boot]\nenabled = true\nhost = '192.0.2.5'\n")
    tcp = (config.web.port, config.boot.http_port, config.boot.https_port)
    udp = (config.radius.auth_port, config.radius.acct_port, config.relay.port, config.boot.tftp_port)
    assert len({*tcp}) == len(tcp) and len({*udp}) == len(udp)
    apart = "[web]\naddress = '127.0.0.1'\n[boot]\nenabled = true\nhost = 'x'\nhttp_port = 8080\naddresses = ['192.0.2.5']\n"
    assert from_text(tmp_path, apart).boot.http_port == 8080
    assert from_text(tmp_path, "[web]\nport = 8443\n[boot]\nenabled = true\nhost = 'x'\n").web.port == 8443, "no HTTPS without a certificate"


def test_not_toml(tmp_path):
    assert fault(from_text, tmp_path, "[web\n").reason.startswith("is not TOML: ")
    file = tmp_path / "latin.toml"
    file.write_bytes(b"# \xff\n")
    assert fault(load, file, {}).reason.startswith("is not TOML: ")


@pytest.mark.parametrize(
    ("name", "value", "key", "reason"),
    [
        ("NETD_RADIUS__AUTH_PROT", "1", "radius.auth_prot", "there is no such variable; did you mean NETD_RADIUS__AUTH_PORT?"),
        ("NETD_RADIUS_AUTH_PORT", "1", "", "there is no such variable; did you mean NETD_RADIUS__AUTH_PORT?"),
        ("NETD_DATADIR", "/x", "", "there is no such variable; did you mean NETD_DATA_DIR?"),
        ("NETD_TOKENS", "x", "", "there is no such variable; did you mean NETD_TOKEN?"),
        (
            "NETD_COA__XXXXXXXX",
            "x",
            "coa.xxxxxxxx",
            "there is no such variable; keys of [coa] are source_address, attempts, timeout_seconds, window, retry_seconds",
        ),
        ("NETD_Q", "x", "", "there is no such variable; variables are NETD_DATA_DIR and NETD_<TABLE>__<KEY>"),
        ("NETD_WEB__PORT", "", "web.port", "expected a whole number from 0 to 65535, not ''"),
        ("NETD_WEB__PORT", "70000", "web.port", "expected a whole number from 0 to 65535, not '70000'"),
        ("NETD_RADIUS__LOG_ACCEPTS", "yes", "radius.log_accepts", "expected true or false, not 'yes'"),
        ("NETD_RADIUS__ACCT_PORT", "1812", "radius.acct_port", "radius.auth_port and radius.acct_port are both 1812"),
        ("NETD_DATA_DIR", "", "data_dir", "expected a folder"),
    ],
)
def test_a_wrong_variable_names_itself(name, value, key, reason):
    error = fault(from_environment, **{name: value})
    assert (error.source, error.key, error.reason) == (name, key, reason)


def test_integrations_have_names_of_their_own_in_the_environment(tmp_path):
    config = from_environment(NETBOX_URL="https://netbox.example", NETBOX_API_TOKEN="hunter2", AWX_URL="", UNRELATED="x")
    assert (config.netbox.url, config.netbox.token.reveal(), config.awx.url) == ("https://netbox.example", "hunter2", "")
    text = "[netbox]\nurl = 'https://file'\ntoken = 'file'\n"
    assert from_text(tmp_path, text, {"HOME": "/", "NETBOX_URL": "https://named"}).netbox.url == "https://named"
    assert from_environment(NETBOX_URL="https://named", NETBOX_API_TOKEN="x", NETD_NETBOX__URL="https://own").netbox.url == "https://own"
    assert from_environment(VAULT_TOKEN="of-my-shell").vault.url == ""


@pytest.mark.parametrize(
    ("environ", "source", "reason"),
    [
        ({"NETBOX_URL": "https://n"}, "NETBOX_URL", "is set, so netbox.token (NETBOX_API_TOKEN) must be, too"),
        ({"NETBOX_API_TOKEN": "hunter2"}, "NETBOX_API_TOKEN", "is set, so netbox.url (NETBOX_URL) must be, too"),
        ({"AWX_URL": "http://a", "AWX_USERNAME": "u"}, "AWX_URL", "is set, so awx.token (AWX_TOKEN), or awx.username and awx.password, must be, too"),
        ({"AWX_PASSWORD": "hunter2"}, "AWX_PASSWORD", "is set, so awx.url (AWX_URL) must be, too"),
        ({"GENIEACS_URL": "acs:7557"}, "GENIEACS_URL", "is not an http or https URL such as https://netbox.example.net"),
        ({"VOLTHA_URL": "http://u:hunter2@voltha"}, "VOLTHA_URL", "must be scheme, host, port and path only: credentials have keys of their own"),
        ({"NETBOX_URL": "https://n", "NETBOX_API_TOKEN": "hun\nter2"}, "NETBOX_API_TOKEN", "has a blank, a control character or one outside ASCII in it"),
        ({"NETD_VAULT__TOKEN": "hunter2"}, "NETD_VAULT__TOKEN", "is set, so vault.url (VAULT_ADDR) must be, too"),
        ({"NETD_WEBHOOKS__ALLOWED_NETWORKS": "10.0.0.1/8"}, "NETD_WEBHOOKS__ALLOWED_NETWORKS", "'10.0.0.1/8' is neither an IP address nor a prefix"),
    ],
)
def test_half_an_integration_is_told_at_the_start(environ, source, reason):
    error = fault(from_environment, **environ)
    assert (error.source, error.reason) == (source, reason)
    assert "hunter2" not in str(error)


def test_the_example_of_the_environment_names_every_integration():
    shown = re.findall(r"(?m)^([A-Z_]+)=", (EXAMPLE.parents[1] / ".env.example").read_text())
    assert shown == list(dict.fromkeys(shown)) and set(shown) == set(INTEGRATION_VARIABLES)


def test_variables_that_are_no_keys():
    from_environment(NETD_URL="http://[::1]:8080", NETD_TOKEN="x", NETD_CONFIG="", NETD_REQUIRE_PEERS="1", NETD_TEST_DATABASE_URL="x")
    from_environment(NETD_SERVICE_HOST="10.0.0.1", NETD_SERVICE_PORT_API="8080", NETD_PORT="tcp://10.0.0.1:8080", NETD_PORT_8080_TCP_ADDR="10.0.0.1")


def test_database_url_is_never_shown(tmp_path):
    for error in (
        fault(from_environment, NETD_DATABASE__URL="mysql://netd:hunter2@db/netd"),
        fault(from_text, tmp_path, "[database]\nurl = 'hunter2'\n"),
        fault(from_text, tmp_path, "[database]\nurl = ['hunter2']\n"),
    ):
        assert "hunter2" not in str(error) + repr(error)
    config = from_environment(NETD_DATABASE__URL="postgresql://netd:hunter2@db/netd")
    assert "hunter2" not in repr(config) + str(config.database) + f"{config.database.url:>40}"


def test_secret():
    secret = Secret("hunter2")
    assert (repr(secret), str(secret), f"{secret!s:>5}", "%s" % secret) == ("***", "***", "  ***", "***")  # noqa: UP031
    assert secret == Secret("hunter2") != Secret("hunter3")
    assert secret != "hunter2"
    assert hash(secret) == hash(Secret("hunter2"))
    assert secret and not Secret()
    for encode in (msgspec.json.encode, msgspec.msgpack.encode, msgspec.to_builtins, pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            encode(secret)


def test_data_dir(monkeypatch, tmp_path):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert default_data_dir({"HOME": "/root"}) == Path("/var/lib/netd")
    assert default_data_dir({"STATE_DIRECTORY": "/var/lib/netd-two:/x"}) == Path("/var/lib/netd-two")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert default_data_dir({"HOME": "/home/op"}) == Path("/home/op/.local/share/netd")
    assert default_data_dir({"HOME": "/home/op", "XDG_DATA_HOME": "/data"}) == Path("/data/netd")
    assert default_data_dir({}) == Path.home() / ".local/share/netd"
    monkeypatch.chdir(tmp_path)
    assert from_environment(NETD_DATA_DIR="data").data_dir == tmp_path / "data"


def test_example_file_shows_every_key_with_its_default(tmp_path):
    text = EXAMPLE.read_text(encoding="utf-8")
    shown = tomllib.loads(re.sub(r"(?m)^#(?=[a-z0-9_]+ = )", "", text))
    assert {f"{table}.{key}" for table in TABLES for key in shown[table]} | {"data_dir"} == set(KEYS)
    assert from_text(tmp_path, text) == from_environment()
    uncommented = from_text(tmp_path, re.sub(r"(?m)^#(?=[a-z0-9_]+ = )", "", text))
    assert uncommented == msgspec.structs.replace(from_environment(), data_dir=Path("/var/lib/netd"))


def test_every_key_has_a_variable():
    assert VARIABLES["NETD_RADIUS__AUTH_PORT"] == "radius.auth_port"
    assert sorted(VARIABLES.values()) == sorted(KEYS)
