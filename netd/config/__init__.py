"""``netd.toml`` and the environment, as frozen values.

Every key has a default, so the file may be missing. ``NETD_<TABLE>__<KEY>`` overrides the file (lists are comma separated), and
``NETD_DATA_DIR`` the one key that stands outside any table. What is not a key is refused, in the file and in the environment.
"""

from netd.config.loading import GROUP, INTEGRATION_VARIABLES, KEYS, LOOPBACK_NAMES, TABLES, VARIABLES, default_data_dir, load
from netd.config.tables import (
    BootConfig,
    CoaConfig,
    CommandsConfig,
    Config,
    ConfigurationsConfig,
    DhcpConfig,
    EnforcementConfig,
    GenieacsConfig,
    LogConfig,
    LoginConfig,
    OidcConfig,
    PollConfig,
    RadiusConfig,
    RelayConfig,
    RetentionConfig,
    Secret,
)

__all__ = [
    "GROUP",
    "INTEGRATION_VARIABLES",
    "KEYS",
    "LOOPBACK_NAMES",
    "TABLES",
    "VARIABLES",
    "BootConfig",
    "CoaConfig",
    "CommandsConfig",
    "Config",
    "ConfigurationsConfig",
    "DhcpConfig",
    "EnforcementConfig",
    "GenieacsConfig",
    "LogConfig",
    "LoginConfig",
    "OidcConfig",
    "PollConfig",
    "RadiusConfig",
    "RelayConfig",
    "RetentionConfig",
    "Secret",
    "default_data_dir",
    "load",
]
