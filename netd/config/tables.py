"""The configuration as frozen values: a struct for each table of ``netd.toml``, whose members are its keys, with what each may be and means."""

import hmac
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import msgspec

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
    """``[dhcp]``: answers devices that boot, and clients of the subnets that are served (``netd dhcp serve``)."""

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
    host6: str = ""
    """The same for who is told by DHCPv6; empty: ``host``, if that is no IPv4 address."""
    addresses: tuple[str, ...] = ("0.0.0.0", "::")
    """IP addresses to serve on."""
    http_port: Port = 8081
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
    scrape_address: str = ""
    """Where Prometheus reaches this node (netd1.example.net:8080): devices that it polls are scraped there. Empty: wherever it asks for targets."""
    export_url: str = ""
    """Where devices' values are sent in Prometheus' text format, too (https://vm.example.net/api/v1/import/prometheus); empty: nowhere."""
    export_token: Secret = Secret()
    """Bearer token for that."""
    export_buffer_octets: Annotated[int, msgspec.Meta(ge=1 << 20, le=1 << 34)] = 64 << 20
    """Values, packed, that wait in memory while that is away; beyond that the oldest are dropped."""

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
