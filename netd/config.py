"""``netd.toml`` and the environment, as frozen values.

Every key has a default, so the file may be missing. ``NETD_<TABLE>__<KEY>`` overrides the file (lists are comma separated), and
``NETD_DATA_DIR`` the one key that stands outside any table. What is not a key is refused, in the file and in the environment.
"""

import hmac
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from ipaddress import ip_address, ip_network
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NoReturn
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import inspect

from netd.errors import ConfigError

DEFAULT_FILE = Path("/etc/netd/netd.toml")

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
"""0 lets the kernel choose; the daemon then says which one it got."""
Positive = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Days = Annotated[int, msgspec.Meta(ge=1, le=36_500)]
BitsPerSecond = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000_000)]


class Secret:
    """Text that must not be seen: it prints as ``***``, no encoder takes it, and comparing takes the same time wherever it differs."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself; only for handing it to whom it is meant for."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not to be serialised")


class LogConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[log]``"""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe records that are written."""
    format: Literal["auto", "console", "json"] = "auto"
    """``auto``: text on a terminal and in the journal, else one JSON object a line."""


class DatabaseConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[database]``"""

    url: Secret = Secret()
    """``postgresql://…`` of an external server (>= 15; several hosts allowed); empty: netd runs its own."""
    bin_dir: str = ""
    """Folder with ``postgres`` and ``initdb`` for the embedded server; empty: found by itself."""
    pool_size: Annotated[int, msgspec.Meta(ge=2, le=500)] = 10
    """Connections kept open."""
    start_timeout_seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 60
    """How long the database may take to answer at start (crash recovery included)."""


class RadiusConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[radius]``"""

    addresses: tuple[str, ...] = ("0.0.0.0", "::")
    """IP addresses to listen on, each on both ports."""
    auth_port: Port = 1812
    """UDP port for authentication."""
    acct_port: Port = 1813
    """UDP port for accounting."""
    reject_delay_seconds: Annotated[float, msgspec.Meta(ge=0, le=10)] = 1.0
    """How long an Access-Reject is held back, against guessing; 0 sends it at once."""
    user_failures_per_minute: Positive = 10
    """Failures of one user name in a minute after which it is refused without looking."""
    source_failures_per_minute: Positive = 30
    """The same for one source: what the subscriber calls from, not the NAS."""
    duplicate_seconds: Annotated[int, msgspec.Meta(ge=1, le=300)] = 10
    """How long a reply is kept for retransmitted requests (RFC 5080)."""
    grant_hold_seconds: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 60
    """How long an Access-Accept counts as a session while its Accounting-Start has not come."""
    stale_after_intervals: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    """Interim intervals without a sign of life after which a session is closed."""
    log_accepts: bool = True
    """Keep a ``radpostauth`` row of every accept too; rejects are always kept."""
    batch_delay_ms: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 5
    """Milliseconds that an accounting record waits for others to be committed with."""
    batch_records: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 500
    """Accounting records committed at once, at most (twice as many while many wait)."""
    journal_after_ms: Annotated[int, msgspec.Meta(ge=50, le=60_000)] = 1000
    """Milliseconds that the database may take to commit accounting before it goes to the journal on local disk instead."""
    journal_max_mb: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1024
    """Megabytes that the journal may take; beyond that accounting is not acknowledged while the database is away."""
    wall: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] = "walled-garden"
    """Filter, address list or profile on the NAS that makes the walled garden."""
    wall_url: str = ""
    """Page to which a NAS that can redirect sends subscribers in the walled garden (http or https); empty: none."""
    wall_down_bps: BitsPerSecond = 1_000_000
    """Rate towards a subscriber in the walled garden, bit/s."""
    wall_up_bps: BitsPerSecond = 1_000_000
    """Rate from a subscriber in the walled garden, bit/s."""
    time_zone: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] = "UTC"
    """IANA name of the time zone of access hours that name none."""


class CoaConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[coa]``: CoA- and Disconnect-Requests (RFC 5176)."""

    source_address: str = ""
    """IP address to send from, where a NAS accepts only that; empty: the kernel chooses."""
    attempts: Annotated[int, msgspec.Meta(ge=1, le=20)] = 3
    """Transmissions of one request before it counts as unanswered."""
    timeout_seconds: Annotated[float, msgspec.Meta(ge=0.05, le=60)] = 2.0
    """Wait after the first transmission; doubles with each further one."""
    window: Annotated[int, msgspec.Meta(ge=1, le=255)] = 8
    """Requests under way to one NAS at a time, at the most; fewer while it loses packets."""
    retry_seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 30
    """Pause before a change that a NAS did not apply is tried again, and before a NAS that does not answer at all is."""


class EnforcementConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[enforcement]``: how many live sessions may be disconnected or walled at once without an operator's confirmation."""

    hold_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.2
    """Share of a tenant's live sessions beyond which a wave is held; 1 holds none."""
    hold_sessions: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 100
    """Sessions up to which no wave is held, whatever their share."""
    hold_window_seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 300
    """Time within which sessions count as one wave."""


class RelayConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[relay]``: CoA- and Disconnect-Requests from portals, billing systems and other RADIUS servers (``netd coa-client``)."""

    enabled: bool = True
    """Listen for them."""
    port: Port = 3799
    """UDP port, on the addresses of ``[radius]``."""
    window_seconds: Annotated[int, msgspec.Meta(ge=5, le=86_400)] = 300
    """How far Event-Timestamp may be from netd's clock (RFC 5176 6.3)."""


class AddressesConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[addresses]``: pools that netd gives addresses from."""

    warn_percent: Annotated[int, msgspec.Meta(ge=1, le=100)] = 90
    """Share of a pool in use, in percent, from which on health says degraded and names it."""


class DhcpConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[dhcp]``: answers devices that boot, and clients of the subnets that are served (``netd dhcp-subnet``)."""

    enabled: bool = False
    """Answer DHCP at all."""
    addresses: tuple[str, ...] = ("0.0.0.0", "::")
    """IP addresses that relays send to; the answers leave from there."""
    port: Port = 67
    """UDP port for DHCPv4. Relays are answered on 67 in any case."""
    port6: Port = 547
    """UDP port for DHCPv6."""
    interfaces: tuple[str, ...] = ()
    """Network interfaces whose clients are attached directly (needs CAP_NET_RAW); none: relays only."""
    relays: tuple[str, ...] = ()
    """Addresses and prefixes that relays send from; what comes from others is dropped. Empty: from anywhere, so that whoever reaches the port may claim to be
    any line of any relay."""
    option82_interfaces: tuple[str, ...] = ()
    """Of ``interfaces`` those whose clients stand behind switches that put in option 82 without being relays (DHCP snooping): elsewhere it is believed of
    relays only."""
    lightweight_relays: tuple[str, ...] = ()
    """IPv6 prefixes of subnets before whose relays stand lightweight relay agents (RFC 6221): what these say of the line is believed."""
    authoritative: bool = False
    """Tell clients whose address netd knows nothing of that it is wrong. Only if no other server answers on these links."""
    offer_seconds: Annotated[int, msgspec.Meta(ge=5, le=3600)] = 60
    """How long an offered address is kept for a client that does not take it."""
    decline_seconds: Annotated[int, msgspec.Meta(ge=60, le=31_536_000)] = 86_400
    """How long nobody gets an address that a client, or a probe, found in use."""
    probe_milliseconds: Annotated[int, msgspec.Meta(ge=0, le=2000)] = 0
    """Wait for an answer to a ping of an address before a new client is offered it (needs CAP_NET_RAW or net.ipv4.ping_group_range); 0: no ping."""
    line_clients: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 32
    """Clients of one line (subnet, option 82's circuit and remote id) at a time; 0: no limit, for relays whose circuit id names a whole network."""
    relay_new_per_second: Annotated[float, msgspec.Meta(ge=0, le=1_000_000)] = 100.0
    """New clients a second from a relay that tells no lines apart, or an interface; twice as many at once. 0: no limit."""
    relay_packets_per_second: Annotated[float, msgspec.Meta(ge=0, le=1_000_000)] = 0.0
    """Packets a second of one relay that are looked at. 0: no limit."""
    lease_query_from: tuple[str, ...] = ()
    """Addresses and prefixes of relays that may ask who has an address (RFC 4388)."""


class BootConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[boot]``: the files that expected devices fetch, by HTTP and TFTP (``netd ztp``)."""

    enabled: bool = False
    """Serve boot files at all."""
    host: str = ""
    """Name or address that devices reach this node by: it stands in the URLs that DHCP tells them."""
    addresses: tuple[str, ...] = ("0.0.0.0", "::")
    """IP addresses to serve on."""
    http_port: Port = 8080
    """TCP port for HTTP."""
    https_port: Port = 8443
    """TCP port for HTTPS, where certificate and key are given."""
    tftp_port: Port = 69
    """UDP port for TFTP."""
    certificate: str = ""
    """File with the certificate and its chain (PEM) for HTTPS."""
    key: str = ""
    """File with the certificate's private key (PEM)."""
    token_seconds: Annotated[int, msgspec.Meta(ge=60, le=86_400)] = 3600
    """How long the URL that a device was told is good."""
    retry_seconds: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 600
    """How long a file that was fetched whole may be fetched again: devices try twice."""
    window_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 30
    """Days within which an expected device must come, where nobody says otherwise."""
    requests_per_second: Annotated[float, msgspec.Meta(ge=0, le=100_000)] = 20.0
    """Requests a second from one address, or one IPv6 /64; ten times as many at once. 0: no limit."""
    connections: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 500
    """HTTP connections at a time on each port; one without a request is closed after ten seconds."""
    connections_of_source: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 64
    """HTTP connections of one address, or one IPv6 /64 with all its devices, at a time."""
    transfers: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 200
    """TFTP transfers at a time."""
    block_octets: Annotated[int, msgspec.Meta(ge=512, le=65_464)] = 1428
    """The largest TFTP block: larger ones than the path's MTU are sent in fragments."""
    block_rolls_to: Literal[0, 1] = 0
    """What a TFTP block number goes on with after 65535; a few old loaders want 1."""
    login_retry_seconds: Annotated[int, msgspec.Meta(ge=1, le=600)] = 15
    """How long a device that restarts with what it fetched is left alone between two attempts to log in; longer after forty of them."""
    login_patience_seconds: Annotated[int, msgspec.Meta(ge=10, le=86_400)] = 600
    """How long it is tried, from the last file on that it fetched whole; then it goes into quarantine."""
    upgrade_patience_seconds: Annotated[int, msgspec.Meta(ge=10, le=86_400)] = 3600
    """The same for a device that is told an image: it loads and installs that first."""
    certificate_days: Annotated[int, msgspec.Meta(ge=2, le=3650)] = 365
    """How long certificates of devices are good."""
    certificate_renew_days: Annotated[int, msgspec.Meta(ge=1, le=365)] = 30
    """How long before their end they are renewed."""
    rule_line_devices: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 8
    """Devices that a rule adopts on one line (subnet and circuit id). 0: any number, for relays whose circuit id names a whole network."""
    candidates: Annotated[int, msgspec.Meta(ge=100, le=1_000_000)] = 10_000
    """Unexpected devices that are remembered per tenant; the oldest give way."""


class RetentionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[retention]``"""

    radacct_months: Annotated[int, msgspec.Meta(ge=1, le=1200)] = 24
    """Months for which closed sessions are kept."""
    radpostauth_days: Days = 90
    """Days for which authentication results are kept."""
    usage_days: Days = 800
    """Days for which usage per subscriber and day is kept."""
    events_days: Days = 30
    """Days for which events are kept: who was away for longer cannot go on where it was."""
    seen_days: Days = 90
    """Days for which neighbours and MAC and IP addresses are kept that are seen no more."""
    device_facts_days: Days = 800
    """Days for which it is kept what changed of devices, and interfaces that are gone."""
    jobs_days: Days = 90
    """Days for which ended jobs and their logs are kept."""


class PollConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[poll]``: looking at the inventory's devices."""

    enabled: bool = True
    """Whether this node polls. Several nodes share the devices among them."""
    reach_seconds: Annotated[int, msgspec.Meta(ge=5, le=3600)] = 60
    """How often it is asked whether a device is there (ping, or SNMP)."""
    system_seconds: Annotated[int, msgspec.Meta(ge=10, le=86_400)] = 60
    """How often CPU, memory, temperature and the like are read, at the most."""
    interfaces_seconds: Annotated[int, msgspec.Meta(ge=10, le=86_400)] = 60
    """How often interfaces are read, at the most."""
    optics_seconds: Annotated[int, msgspec.Meta(ge=60, le=86_400)] = 3600
    """How often optics are read of devices whose poll_groups name them: an OLT asks each of its ONUs for it."""
    identity_seconds: Annotated[int, msgspec.Meta(ge=60, le=604_800)] = 21_600
    """How often a device is asked what it is: model, serial number, software."""
    deadline_seconds: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 50
    """A look at a device that takes longer is given up."""
    in_flight: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 256
    """Devices that are looked at at the same time."""
    down_seconds: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 150
    """A device that does not answer for so long raises an alarm."""
    buffer_rows: Annotated[int, msgspec.Meta(ge=1000, le=10_000_000)] = 200_000
    """Samples that wait in memory while the database is away; beyond that the oldest are dropped."""
    raw_days: Annotated[int, msgspec.Meta(ge=2, le=3650)] = 7
    """Days for which every sample is kept."""
    optics_days: Annotated[int, msgspec.Meta(ge=2, le=3650)] = 90
    """Days for which samples of optics are kept."""
    five_minute_days: Annotated[int, msgspec.Meta(ge=3, le=3650)] = 45
    """Days for which sums of five minutes are kept."""
    hourly_days: Annotated[int, msgspec.Meta(ge=31, le=36_500)] = 400
    """Days for which sums of an hour are kept."""
    daily_days: Annotated[int, msgspec.Meta(ge=31, le=36_500)] = 3650
    """Days for which sums of a day are kept."""
    alarm_days: Days = 400
    """Days for which alarms are kept that are over."""
    export_url: str = ""
    """Where devices' values are sent in Prometheus' text format, too (https://vm.example.net/api/v1/import/prometheus); empty: nowhere."""
    export_token: Secret = Secret()
    """Bearer token for that."""

    def kept_days(self) -> dict[str, int]:
        """For how many days samples (raw, optics) and sums (5m, 1h, 1d) are kept."""
        return {"raw": self.raw_days, "optics": self.optics_days, "5m": self.five_minute_days, "1h": self.hourly_days, "1d": self.daily_days}


class WebConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[web]``: the control API."""

    address: str = "127.0.0.1"
    """IP address to listen on."""
    port: Port = 8080
    """TCP port."""
    requests_per_second: Annotated[float, msgspec.Meta(ge=0, le=100_000)] = 100.0
    """Requests of one token that are answered for long; more are told to wait (429). 0: no limit."""
    requests_burst: Positive = 400
    """Requests of one token that are answered at once after a pause."""
    own_requests_per_second: Annotated[float, msgspec.Meta(ge=0, le=100_000)] = 5.0
    """The same for one subscriber, with all tokens of its own account. 0: no limit."""
    own_requests_burst: Positive = 60
    """Requests of one subscriber that are answered at once after a pause."""
    public_url: str = ""
    """Where browsers reach netd (https://netd.example.net); empty: nobody logs in but from this machine."""
    trusted_proxies: tuple[str, ...] = ()
    """IP addresses and prefixes of reverse proxies whose X-Forwarded-For is believed."""


class LoginConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[login]``: users and their sessions."""

    idle_minutes: Annotated[int, msgspec.Meta(ge=1, le=10_080)] = 60
    """A session that is not used for so long ends."""
    session_hours: Annotated[int, msgspec.Meta(ge=1, le=720)] = 12
    """A session ends after so long, however much it is used."""
    user_failures: Annotated[int, msgspec.Meta(ge=2, le=1000)] = 10
    """Failed log-ins after which a user name is locked out, but for addresses that it is known to log in from."""
    address_failures: Annotated[int, msgspec.Meta(ge=2, le=10_000)] = 30
    """The same for one address (of IPv6 its /64), whatever the names."""
    lock_minutes: Annotated[int, msgspec.Meta(ge=1, le=1440)] = 15
    """How long a lock-out lasts; also the pause after which failures are counted anew."""
    totp_roles: tuple[str, ...] = ()
    """Roles for which the second factor is needed: until it is set up, such a user may do nothing else."""


class OidcConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[oidc]``: log-in through an OpenID provider, to the tenant ``default``."""

    issuer: str = ""
    """The provider's issuer URL, exactly as it says itself; empty: none."""
    client_id: str = ""
    """netd's client id there; its redirect URI is ``<web.public_url>/api/v1/login/oidc/callback``."""
    client_secret: Secret = Secret()
    """The client's secret; empty: a public client."""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    """What is asked for."""
    group_claim: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] = "groups"
    """Claim of the ID token that lists the user's groups."""
    groups: tuple[str, ...] = ()
    """What groups may: GROUP=ROLE, GROUP=ROLE@site:NAME or GROUP=ROLE@organization:NAME."""
    create_users: bool = False
    """Make a user at the first log-in of somebody who is in one of these groups."""


class WebhooksConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[webhooks]``"""

    allowed_networks: tuple[str, ...] = ()
    """Addresses and prefixes that are not public but that webhooks may reach, by plain http, too."""


class JobsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[jobs]``"""

    at_once: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    """Jobs that this node works on at the same time; each kind has a limit of its own besides."""


class CommandsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[commands]``"""

    show_allow: tuple[str, ...] = ()
    """Regular expressions for the beginning of commands that only show something, besides those that netd knows (show, display, ping, … print)."""
    show_deny: tuple[str, ...] = ()
    """Regular expressions for what such a command must not have in it, besides redirections, substitutions and the like."""


class ConfigurationsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[configurations]``"""

    export: Literal["off", "masked", "secrets"] = "off"
    """Commit what devices run into a git repository in the data folder (configurations.git) after each backup: without secrets, or with them."""
    export_remote: str = ""
    """Where that repository is pushed to, as git takes it: git@git.example.net:configs.git."""


class NetboxConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[netbox]``"""

    url: str = ""
    """Where NetBox is; empty: not used. Also NETBOX_URL."""
    token: Secret = Secret()
    """Its API token. Also NETBOX_API_TOKEN."""


class AwxConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[awx]``: the token, or user name and password."""

    url: str = ""
    """Where AWX is; empty: not used. Also AWX_URL."""
    token: Secret = Secret()
    """An OAuth 2 token of AWX. Also AWX_TOKEN."""
    username: str = ""
    """Also AWX_USERNAME."""
    password: Secret = Secret()
    """Also AWX_PASSWORD."""


class GenieacsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[genieacs]``: its north-bound interface."""

    url: str = ""
    """Where it is; empty: not used. Also GENIEACS_URL."""
    username: str = ""
    """Where a proxy in front of it asks for one. Also GENIEACS_USERNAME."""
    password: Secret = Secret()
    """Also GENIEACS_PASSWORD."""


class VolthaConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[voltha]``"""

    url: str = ""
    """Where VOLTHA is; empty: not used. Also VOLTHA_URL."""


class VaultConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[vault]``: HashiCorp Vault."""

    url: str = ""
    """Where Vault is; empty: not used. Also VAULT_ADDR."""
    token: Secret = Secret()
    """Also VAULT_TOKEN."""


class SecretsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[secrets]``"""

    key_file: str = ""
    """File with the keys that encrypt secrets at rest, made if missing; empty: ``secret.key`` in the data folder."""


class ExtensionsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[extensions]``"""

    folders: tuple[str, ...] = ("/etc/netd/vendors", "/etc/netd/plugins")
    """Folders whose subfolders are vendors and plugins; a later one hides a bundled one of the same name."""
    disabled: tuple[str, ...] = ()
    """Names of vendors and plugins that are not to be loaded."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be configured."""

    data_dir: Path
    """Folder for the embedded database, keys and tokens. Default: /var/lib/netd as root, under systemd its state folder, else ~/.local/share/netd."""
    log: LogConfig = LogConfig()
    database: DatabaseConfig = DatabaseConfig()
    radius: RadiusConfig = RadiusConfig()
    coa: CoaConfig = CoaConfig()
    enforcement: EnforcementConfig = EnforcementConfig()
    relay: RelayConfig = RelayConfig()
    addresses: AddressesConfig = AddressesConfig()
    dhcp: DhcpConfig = DhcpConfig()
    boot: BootConfig = BootConfig()
    retention: RetentionConfig = RetentionConfig()
    poll: PollConfig = PollConfig()
    web: WebConfig = WebConfig()
    login: LoginConfig = LoginConfig()
    oidc: OidcConfig = OidcConfig()
    webhooks: WebhooksConfig = WebhooksConfig()
    jobs: JobsConfig = JobsConfig()
    commands: CommandsConfig = CommandsConfig()
    configurations: ConfigurationsConfig = ConfigurationsConfig()
    netbox: NetboxConfig = NetboxConfig()
    awx: AwxConfig = AwxConfig()
    genieacs: GenieacsConfig = GenieacsConfig()
    voltha: VolthaConfig = VolthaConfig()
    vault: VaultConfig = VaultConfig()
    secrets: SecretsConfig = SecretsConfig()
    extensions: ExtensionsConfig = ExtensionsConfig()

    @property
    def key_file(self) -> Path:
        """Where the keys for secrets at rest are; a relative ``secrets.key_file`` lies in the data folder."""
        return self.data_dir / (self.secrets.key_file or "secret.key")


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
    **{f"{name}.token": _header_text for name in ("netbox", "awx", "vault")},
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
    _check_boot(config.boot, settings)
    _check_integrations(config, settings)


def _check_boot(boot: BootConfig, settings: Mapping[str, Setting]) -> None:
    """What stands in URLs must be known before anything listens."""
    if not boot.enabled:
        return
    if not boot.host:
        raise ConfigError(settings["boot.enabled"].source, "boot.host", "is needed with boot.enabled: devices are told to fetch their files from there")
    for name in ("http_port", "https_port", "tftp_port"):
        if not getattr(boot, name):
            raise ConfigError(settings[f"boot.{name}"].source, f"boot.{name}", "must be a port of its own: it stands in the URLs that devices are told")
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
