"""From the file and the environment to a :class:`~netd.config.tables.Config`: what is not a key, or does not fit, is named with its source."""

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from ipaddress import ip_address, ip_network
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import inspect

from netd.config.tables import Config, Secret
from netd.errors import ConfigError

DEFAULT_FILE = Path("/etc/netd/netd.toml")


class Setting(NamedTuple):
    """A value as somebody wrote it; ``source`` is the file, or the environment variable."""

    source: str
    value: object


TABLES: dict[str, type[msgspec.Struct]] = {field.name: field.type for field in msgspec.structs.fields(Config) if field.name != "data_dir"}

KEYS: dict[str, Any] = {"data_dir": str} | {f"{table}.{field.name}": field.type for table, struct in TABLES.items() for field in msgspec.structs.fields(struct)}
"""Dotted key -> type."""

VARIABLES: dict[str, str] = {"NETD_" + key.upper().replace(".", "__"): key for key in KEYS}
"""Environment variable -> dotted key."""

INTEGRATION_VARIABLES: dict[str, str] = {
    "NETBOX_URL": "netbox.url", "NETBOX_API_TOKEN": "netbox.token", "AWX_URL": "awx.url", "AWX_TOKEN": "awx.token", "AWX_USERNAME": "awx.username",
    "AWX_PASSWORD": "awx.password", "GENIEACS_URL": "genieacs.url", "GENIEACS_USERNAME": "genieacs.username", "GENIEACS_PASSWORD": "genieacs.password",
    "VOLTHA_URL": "voltha.url", "VAULT_ADDR": "vault.url", "VAULT_TOKEN": "vault.token",
}  # fmt: skip
"""The names under which integrations are known elsewhere -> dotted key. They win over the file, and NETD_<TABLE>__<KEY> over them."""

# Read by the command line client, by load() and by the test suite.
NOT_KEYS = frozenset({"NETD_URL", "NETD_TOKEN", "NETD_COMPILED", "NETD_CONFIG", "NETD_IMPORT_PASSWORD", "NETD_REQUIRE_PEERS", "NETD_TEST_DATABASE_URL"})

# Kubernetes and Docker links put these there by themselves for a service that is called netd.
SERVICE_LINK = re.compile(r"NETD_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?)")


def load(path: Path | None, environ: Mapping[str, str], default_file: Path = DEFAULT_FILE) -> Config:
    """Read the configuration, or raise ConfigError for the first thing wrong with it.

    The file is ``path``, else what ``NETD_CONFIG`` names, else ``default_file`` if that exists.
    """
    named = path or (Path(environ["NETD_CONFIG"]) if environ.get("NETD_CONFIG") else None)
    settings = _read_file(named or default_file, missing_ok=named is None)
    settings |= _read_environment(environ)
    values = {key: _convert(key, setting) for key, setting in settings.items()}
    for key, value in values.items():
        _check(key, value, settings[key].source)
    tables = {
        table: struct(**{field: values[key] for field in struct.__struct_fields__ if (key := f"{table}.{field}") in values}) for table, struct in TABLES.items()
    }
    config = Config(data_dir=_data_dir(settings.get("data_dir"), environ), **tables)  # type: ignore[arg-type]
    _check_together(config, settings)
    return config


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """Return where the daemon keeps its data when nobody says otherwise."""
    state = environ.get("STATE_DIRECTORY", "").split(":")[0]  # systemd: StateDirectory=
    if state:
        return Path(state)
    if os.geteuid() == 0:
        return Path("/var/lib/netd")
    home = environ.get("HOME")
    share = environ.get("XDG_DATA_HOME") or (Path(home) if home else Path.home()) / ".local" / "share"
    return Path(share) / "netd"


def _read_file(file: Path, *, missing_ok: bool) -> dict[str, Setting]:
    source = str(file)
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        if missing_ok:
            return {}
        raise ConfigError(source, "", "does not exist") from error
    except OSError as error:
        raise ConfigError(source, "", f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(source, "", f"is not TOML: {error}") from error
    settings: dict[str, Setting] = {}
    for name, value in document.items():
        if name in TABLES and isinstance(value, dict):
            settings |= {f"{name}.{key}": Setting(source, inner) for key, inner in value.items()}
        elif name in TABLES:
            raise ConfigError(source, name, f"expected a table [{name}], not a value")
        elif isinstance(value, dict):
            raise ConfigError(source, name, "there is no such table" + _hint(name, TABLES, "tables are " + ", ".join(TABLES)))
        else:
            settings[name] = Setting(source, value)
    for key in [key for key in settings if key not in KEYS]:
        table = key.partition(".")[0]
        known = [name for name in KEYS if name.startswith(f"{table}.")] or ["data_dir"]
        expected = _expected_keys(table) if table in TABLES else "all keys but data_dir stand in a table: " + ", ".join(TABLES)
        raise ConfigError(source, key, "there is no such key" + _hint(key, known, expected))
    return settings


def _read_environment(environ: Mapping[str, str]) -> dict[str, Setting]:
    settings = {key: Setting(name, environ[name]) for name, key in INTEGRATION_VARIABLES.items() if environ.get(name)}
    for name in sorted(environ):
        if name in VARIABLES:
            settings[VARIABLES[name]] = Setting(name, environ[name])
        elif name.startswith("NETD_") and name not in NOT_KEYS and not SERVICE_LINK.fullmatch(name):
            table, _, key = name.removeprefix("NETD_").lower().partition("__")
            expected = _expected_keys(table) if key and table in TABLES else "variables are NETD_DATA_DIR and NETD_<TABLE>__<KEY>"
            raise ConfigError(
                name, f"{table}.{key}" if key else "", "there is no such variable" + _hint(name, [*VARIABLES, *NOT_KEYS], expected, prefix="NETD_")
            )
    return settings


def _hint(wrong: str, known: Iterable[str], otherwise: str, *, prefix: str = "") -> str:
    """Name the nearest of ``known``; the ``prefix`` that all of them have says nothing about nearness."""
    close = get_close_matches(wrong.removeprefix(prefix), [name.removeprefix(prefix) for name in known], n=1, cutoff=0.7)
    return f"; did you mean {prefix}{close[0]}?" if close else f"; {otherwise}"


def _expected_keys(table: str) -> str:
    return f"keys of [{table}] are " + ", ".join(TABLES[table].__struct_fields__)


def _convert(key: str, setting: Setting) -> object:
    """Return the value in the type of its key. Text from the environment is read leniently: there is no other way to write a number there."""
    kind, value = KEYS[key], setting.value
    from_environment = setting.source in VARIABLES or setting.source in INTEGRATION_VARIABLES
    if kind is Secret:
        if not isinstance(value, str):
            raise ConfigError(setting.source, key, "expected a string")
        return Secret(value)
    if from_environment and isinstance(value, str):
        if kind is bool:
            value = value.lower()
        elif isinstance(inspect.type_info(kind), inspect.VarTupleType):
            value = [item.strip() for item in value.split(",") if item.strip()]
    try:
        return msgspec.convert(value, kind, strict=not from_environment)
    except msgspec.ValidationError as error:
        raise ConfigError(setting.source, key, f"expected {_expected(inspect.type_info(kind))}, not {setting.value!r}") from error


def _expected(kind: inspect.Type) -> str:
    match kind:
        case inspect.IntType(ge=low, le=high):
            return f"a whole number from {low} to {high}"
        case inspect.FloatType(ge=low, le=high):
            return f"a number from {low:g} to {high:g}"
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType(values=values):
            return "one of " + ", ".join(str(value) for value in values)
        case inspect.VarTupleType():
            return "a list of strings"
        case inspect.StrType(min_length=low, max_length=high) if high is not None:
            return f"a string of {low} to {high} characters"
        case _:
            return "a string"


def _ip_address(value: str) -> str | None:
    try:
        ip_address(value)
    except ValueError:
        return f"{value!r} is not an IP address"
    return None


def _ip_addresses(values: tuple[str, ...]) -> str | None:
    if not values:
        return "expected at least one IP address"
    if len(set(values)) < len(values):
        return "names an address twice"
    return next((fault for value in values if (fault := _ip_address(value))), None)


def _http_url(value: str) -> str | None:
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # an impossible port or IPv6 literal
        good = False
    return None if good and value.isprintable() and " " not in value else f"{value!r} is not an http or https URL"


def _host_and_port(value: str) -> str | None:
    try:
        parts = urlsplit(f"//{value}")
        good = bool(parts.hostname) and bool(parts.port) and parts.netloc == value and parts.username is None
    except ValueError:
        good = False
    return None if good and value.isprintable() and " " not in value else f"{value!r} is not a host and a port (netd1.example.net:8080, [2001:db8::1]:8080)"


def _integration_url(value: str) -> str | None:
    """Nothing, or where an integration is. What stands in it may be a password, so the message tells nothing of it."""
    if not value:
        return None
    if _http_url(value) is not None:
        return "is not an http or https URL such as https://netbox.example.net"
    parts = urlsplit(value)
    if parts.query or parts.fragment or "@" in parts.netloc:
        return "must be scheme, host, port and path only: credentials have keys of their own"
    return None


def _header_text(value: Secret | str) -> str | None:
    text = value.reveal() if isinstance(value, Secret) else value
    return None if text.isprintable() and text.isascii() and " " not in text else "has a blank, a control character or one outside ASCII in it"


HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")


def _boot_host(value: str) -> str | None:
    """A name or address that devices behind relays can reach; brackets are put around it where they belong."""
    try:
        address = ip_address(value)
    except ValueError:
        return None if not value or HOST_NAME.fullmatch(value) else f"{value!r} is neither a name nor an IP address"
    return f"{value} is good on one link only: devices behind a relay do not reach it" if address.is_link_local or "%" in value else None


def _boot_host6(value: str) -> str | None:
    fault = _boot_host(value)
    return fault or (f"{value} is an IPv4 address: that is for boot.host" if value.replace(".", "").isdecimal() else None)


LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))
"""Hosts that a browser takes to be secure without TLS."""


def _secure_url(value: str) -> str | None:
    """An https URL without query; http for this machine's own names only."""
    if fault := _http_url(value):
        return fault
    parts = urlsplit(value)
    if parts.query or parts.fragment or parts.username is not None:
        return f"{value!r} must be scheme, host, port and path only"
    if parts.scheme != "https" and parts.hostname not in LOOPBACK_NAMES:
        return f"{value!r} must begin with https://"
    return None


def _origin(value: str) -> str | None:
    fault = _secure_url(value)
    return fault or (f"{value!r} has a path: netd answers at the root of its host" if urlsplit(value).path.strip("/") else None)


def _prefixes(values: tuple[str, ...]) -> str | None:
    for value in values:
        try:
            ip_network(value)
        except ValueError:
            return f"{value!r} is neither an IP address nor a prefix"
    return None


GROUP = re.compile(r"(?P<group>.+?)=(?P<role>[a-z][a-z0-9_]{0,62})(?:@(?P<kind>site|organization):(?P<name>.{1,64}))?")


def _groups(values: tuple[str, ...]) -> str | None:
    return next((f"{value!r} is not GROUP=ROLE, GROUP=ROLE@site:NAME or GROUP=ROLE@organization:NAME" for value in values if not GROUP.fullmatch(value)), None)


def _time_zone(value: str) -> str | None:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return f"{value!r} is not a time zone that this machine knows (is its time zone data installed?)"
    return None


def _database_url(value: Secret) -> str | None:
    # The value itself may carry a password, so it must not be in the message.
    if value and not value.reveal().startswith(("postgresql://", "postgres://")):
        return "expected postgresql://user:password@host:port/database, or nothing for the embedded server"
    return None


def _absolute(value: str) -> str | None:
    return None if Path(value).is_absolute() else f"{value!r} is not an absolute path"


def _absolutes(values: tuple[str, ...]) -> str | None:
    return next((fault for value in values if (fault := _absolute(value))), None)


CHECKS: dict[str, Callable[[Any], str | None]] = {
    "database.url": _database_url,
    "database.bin_dir": lambda value: _absolute(value) if value else None,
    "radius.addresses": _ip_addresses,
    "radius.wall": lambda value: None if value.isprintable() else "contains a control character",
    "radius.wall_url": lambda value: _http_url(value) if value else None,
    "radius.time_zone": _time_zone,
    "coa.source_address": lambda value: _ip_address(value) if value else None,
    "boot.addresses": _ip_addresses,
    "boot.host": _boot_host,
    "boot.host6": _boot_host6,
    "dhcp.addresses": _ip_addresses,
    "dhcp.relays": _prefixes,
    "dhcp.lightweight_relays": _prefixes,
    "dhcp.lease_query_from": _prefixes,
    "web.address": _ip_address,
    "web.public_url": lambda value: _origin(value) if value else None,
    "web.trusted_proxies": _prefixes,
    "poll.export_url": lambda value: _http_url(value) if value else None,
    "oidc.issuer": lambda value: _secure_url(value) if value else None,
    "oidc.scopes": lambda values: None if "openid" in values else "must have openid among them",
    "oidc.groups": _groups,
    "webhooks.allowed_networks": _prefixes,
    **{f"{name}.url": _integration_url for name in ("netbox", "awx", "genieacs", "voltha", "vault")},
    "poll.scrape_address": lambda value: _host_and_port(value) if value else None,
    **{f"{name}.token": _header_text for name in ("netbox", "awx", "vault")},
    "poll.export_token": _header_text,
    "extensions.folders": _absolutes,
}
"""Dotted key -> what is wrong with a value of the right type, or None."""


def _check(key: str, value: object, source: str) -> None:
    check = CHECKS.get(key)
    fault = check(value) if check else None
    if fault:
        raise ConfigError(source, key, fault)


def _check_together(config: Config, settings: Mapping[str, Setting]) -> None:
    """Check what depends on two keys; the fault is laid to the one that somebody set."""
    ports = {"radius.auth_port": config.radius.auth_port, "radius.acct_port": config.radius.acct_port}
    if config.relay.enabled:
        ports["relay.port"] = config.relay.port
    for one, other in combinations(ports, 2):
        if ports[one] == ports[other] != 0:
            key = other if other in settings else one
            raise ConfigError(settings[key].source, key, f"{one} and {other} are both {ports[one]}")
    if config.oidc.issuer and not config.oidc.client_id:
        raise ConfigError(settings["oidc.issuer"].source, "oidc.client_id", "is needed with oidc.issuer")
    for name in config.dhcp.option82_interfaces:
        if name not in config.dhcp.interfaces:
            key = "dhcp.option82_interfaces"
            raise ConfigError(settings[key].source, key, f"{name} is not among dhcp.interfaces")
    _check_boot(config, settings)
    _check_integrations(config, settings)


def _check_boot(config: Config, settings: Mapping[str, Setting]) -> None:
    """What stands in URLs must be known before anything listens."""
    boot = config.boot
    if not boot.enabled:
        return
    if not boot.host:
        raise ConfigError(settings["boot.enabled"].source, "boot.host", "is needed with boot.enabled: devices are told to fetch their files from there")
    for name in ("http_port", "https_port", "tftp_port"):
        if not getattr(boot, name):
            raise ConfigError(settings[f"boot.{name}"].source, f"boot.{name}", "must be a port of its own: it stands in the URLs that devices are told")
    own = config.web.address
    everywhere = "::" if ":" in own else "0.0.0.0"
    alike = {each for each in boot.addresses if (":" in each) == (":" in own)}  # both listen on their own family only
    if alike and (own == everywhere or not alike.isdisjoint((own, everywhere))):
        for name in ("http_port", *(("https_port",) if boot.certificate else ())):
            if getattr(boot, name) == config.web.port:
                key = "web.port" if "web.port" in settings else f"boot.{name}"
                raise ConfigError(settings.get(key, settings["boot.enabled"]).source, key, f"boot.{name} and web.port are both {config.web.port}")
    if bool(boot.certificate) != bool(boot.key):
        given, missing = ("certificate", "key") if boot.certificate else ("key", "certificate")
        raise ConfigError(settings[f"boot.{given}"].source, f"boot.{missing}", f"is needed with boot.{given}")
    if boot.certificate_renew_days >= boot.certificate_days:
        said = f"must be less than boot.certificate_days ({boot.certificate_days}): else each certificate would be due at once"
        raise ConfigError(settings["boot.enabled"].source, "boot.certificate_renew_days", said)


def _check_integrations(config: Config, settings: Mapping[str, Setting]) -> None:
    """An integration that is half configured would fail later, and far from here."""
    netbox, awx, acs = config.netbox, config.awx, config.genieacs
    wrong: list[tuple[bool, str, str]] = [
        (bool(netbox.url and not netbox.token), "netbox.url", "is set, so netbox.token (NETBOX_API_TOKEN) must be, too"),
        (bool(netbox.token and not netbox.url), "netbox.token", "is set, so netbox.url (NETBOX_URL) must be, too"),
        (bool(awx.url and not awx.token and not (awx.username and awx.password)), "awx.url",
         "is set, so awx.token (AWX_TOKEN), or awx.username and awx.password, must be, too"),
        (bool(awx.token and not awx.url), "awx.token", "is set, so awx.url (AWX_URL) must be, too"),
        (bool(awx.username and not awx.url), "awx.username", "is set, so awx.url (AWX_URL) must be, too"),
        (bool(awx.password and not awx.url), "awx.password", "is set, so awx.url (AWX_URL) must be, too"),
        (bool(acs.username and not acs.url), "genieacs.username", "is set, so genieacs.url (GENIEACS_URL) must be, too"),
        (bool(acs.password and not acs.username), "genieacs.password", "is set, so genieacs.username (GENIEACS_USERNAME) must be, too"),
        (bool(config.vault.token and not config.vault.url and settings["vault.token"].source != "VAULT_TOKEN"), "vault.token",
         "is set, so vault.url (VAULT_ADDR) must be, too"),  # VAULT_TOKEN stands in many an operator's shell
    ]  # fmt: skip
    for fault, key, reason in wrong:
        if fault:
            raise ConfigError(settings[key].source, key, reason)


def _data_dir(setting: Setting | None, environ: Mapping[str, str]) -> Path:
    if setting is None:
        return default_data_dir(environ)
    path = Path(str(setting.value))
    if not str(setting.value):
        raise ConfigError(setting.source, "data_dir", "expected a folder")
    if setting.source in VARIABLES:
        return path.absolute()
    if not path.is_absolute():
        raise ConfigError(setting.source, "data_dir", f"{setting.value!r} is not an absolute path")
    return path
