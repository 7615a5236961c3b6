"""From what asyncpg raises to netd's own errors: what is gone, what conflicts, what is broken."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

import asyncpg

from netd.errors import Conflict, NetdError, OutsideScope, StoreError, StoreUnavailable


class Rule(NamedTuple):
    """What breaking a constraint means to the person who sent the value."""

    field: str
    detail: str


# Constraint or unique index -> the API's field and a sentence. What is not listed is told by the constraint's own name.
RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "tenants_name_key": Rule("name", "a tenant with this name exists"),
        "tenants_name_check": Rule("name", "a tenant's name is lower-case letters, digits and hyphens, at most 63"),
        "plans_name": Rule("name", "a plan with this name exists"),
        "plan_quotas_tenant_id_plan_id_fkey": Rule("quotas", "the plan still has quotas: remove them first"),
        "plan_quotas_name": Rule("name", "the plan has a quota of this name"),
        "subscribers_tenant_id_username_key_key": Rule("username", "a subscriber with this username exists"),
        "subscribers_tenant_id_plan_id_fkey": Rule("plan", "this plan does not exist, or subscribers still have it"),
        "subscribers_ipv4": Rule("ipv4", "another subscriber has this address"),
        "subscribers_delegated": Rule("delegated_ipv6_prefix", "another subscriber has this prefix"),
        "subscribers_ipv4_check": Rule("ipv4", "must be one IPv4 address"),
        "subscribers_ipv6_prefix_check": Rule("ipv6_prefix", "must be an IPv6 prefix"),
        "subscribers_delegated_ipv6_prefix_check": Rule("delegated_ipv6_prefix", "must be an IPv6 prefix"),
        "access_locks_one_per_reason": Rule("reason", "the subscriber has a lock for this reason already"),
        "access_locks_tenant_id_subscriber_id_fkey": Rule("subscriber", "this subscriber does not exist"),
        "radcheck_tenant_id_subscriber_id_fkey": Rule("subscriber", "this subscriber does not exist"),
        "radreply_tenant_id_subscriber_id_fkey": Rule("subscriber", "this subscriber does not exist"),
        "subscriber_identities_pkey": Rule("mac_addresses", "another subscriber's device logs in by one of these (MAC address or circuit id)"),
        "subscriber_lines_tenant_id_nas_id_fkey": Rule("nas", "lines of subscribers name this NAS, or there is no such NAS"),
        "nas_nasname_key": Rule("address", "another NAS has this address"),
        "nas_shortname": Rule("name", "a NAS with this name exists"),
        "nas_shortname_check": Rule("name", "a NAS's name has 1 to 64 characters"),
        "coa_clients_address_key": Rule("address", "another CoA client has this address"),
        "coa_clients_name": Rule("name", "a CoA client with this name exists"),
        "coa_clients_name_check": Rule("name", "a CoA client's name has 1 to 64 characters"),
        "dhcp_subnets_name": Rule("name", "a subnet with this name exists"),
        "dhcp_subnets_overlap4": Rule("prefix", "overlaps another subnet"),
        "dhcp_subnets_overlap6": Rule("prefix", "overlaps another subnet"),
        "dhcp_reservations_address": Rule("address", "is reserved already"),
        "dhcp_reservations_value": Rule("value", "this client has a reservation in this subnet"),
        "dhcp_subnets_pool": Rule("pool", "a DHCP subnet is served from this pool"),
        "leases_fixed_address": Rule("address", "a subscriber has this address"),
        "pools_name": Rule("name", "a pool with this name exists"),
        "pool_ranges_overlap": Rule("ranges", "overlaps a range of this or another pool in the same VRF"),
        "pool_rules_condition": Rule("pool", "a rule with these conditions exists for this kind of pool"),
        "leases_tenant_id_pool_id_kind_fkey": Rule("pool", "something is still leased from this pool"),
        "leases_overlap": Rule("prefix", "this address is leased already"),
        "leases_fixed_ipv4": Rule("ipv4", "this address is leased to another subscriber"),
        "leases_fixed_ipv6_prefix": Rule("ipv6_prefix", "this prefix, or a part of it, is leased to another subscriber"),
        "leases_fixed_delegated_ipv6_prefix": Rule("delegated_ipv6_prefix", "this prefix, or a part of it, is leased to another subscriber"),
        "leases_fixed_route": Rule("prefix", "this network, or a part of it, is leased to another subscriber"),
        "framed_routes_overlap": Rule("prefix", "overlaps the route of a subscriber"),
        "sessions_pkey": Rule("unique_id", "this session is open already"),
        "radacct_unique": Rule("unique_id", "this session is recorded already"),
        "api_tokens_public_id_key": Rule("token", "this token exists"),
        "api_tokens_role": Rule("role", "there is no such role, or tokens still have it"),
        "users_name": Rule("name", "a user with this name exists"),
        "users_oidc": Rule("oidc_subject", "another user is linked to this subject"),
        "user_grants_role": Rule("role", "there is no such role, or users still have it"),
        "user_grants_organization": Rule("organization", "this organization does not exist, or users have roles in it"),
        "user_grants_site": Rule("site", "this site does not exist, or users have roles at it"),
        "user_grants_once": Rule("role", "the user has this role there already"),
        "api_tokens_organization": Rule("organization", "this organization does not exist, or tokens are bound to it"),
        "api_tokens_site": Rule("site", "this site does not exist, or tokens are bound to it"),
        "api_tokens_subscriber": Rule("subscriber", "this subscriber does not exist"),
        "roles_name": Rule("name", "a role with this name exists"),
        "job_schedules_name": Rule("name", "a schedule with this name exists"),
        "jobs_unique_key": Rule("unique_key", "such a job is waiting or running already"),
        "jobs_idempotency_key": Rule("idempotency_key", "a job of this kind was made with this key"),
        "configuration_templates_name": Rule("name", "a template with this name exists"),
        "configuration_templates_role": Rule("role", "there is a template of this role (at this site)"),
        "configuration_templates_site": Rule("site", "this site does not exist, or templates are for it"),
        "template_variables_scope": Rule("role", "there are variables of this role and site"),
        "template_variables_site": Rule("site", "this site does not exist, or variables are for it"),
        "software_images_version": Rule("software_version", "the platform has an image of this version"),
        "software_targets_scope": Rule("model", "it is said already what this platform and model should run"),
        "webhooks_name": Rule("name", "a webhook with this name exists"),
        "billing_hooks_name": Rule("name", "a billing hook with this name exists"),
        "organizations_name": Rule("name", "an organization with this name exists"),
        "organizations_tenant_id_parent_id_fkey": Rule("parent", "this organization does not exist, or others are below it"),
        "organizations_check": Rule("parent", "an organization cannot be below itself"),
        "sites_name": Rule("name", "a site with this name exists"),
        "sites_tenant_id_organization_id_fkey": Rule("organization", "this organization does not exist, or sites still belong to it"),
        "subscribers_tenant_id_site_id_fkey": Rule("site", "this site does not exist, or subscribers are still at it"),
        "nas_site": Rule("site", "this site does not exist, or NASes are still at it"),
        "devices_hostname": Rule("hostname", "a device with this name exists"),
        "devices_tenant_id_credential_id_fkey": Rule("credential", "this credential does not exist, or devices name it"),
        "credentials_name": Rule("name", "a credential with this name exists"),
        "credentials_site": Rule("site", "this site does not exist, or credentials are for it"),
        "thresholds_name": Rule("name", "a threshold with this name exists"),
        "ztp_devices_hostname": Rule("hostname", "a device of this name is expected already"),
        "ztp_devices_serial": Rule("serial", "a device with this serial number is expected already"),
        "ztp_devices_mac": Rule("mac", "a device with this MAC address is expected already"),
        "ztp_devices_site": Rule("site", "this site does not exist, or devices are expected at it"),
        "ztp_rules_site": Rule("site", "this site does not exist, or rules for devices that boot are for it"),
        "dhcp_subnets_tenant_id_site_id_fkey": Rule("site", "this site does not exist, or subnets are at it"),
        "ztp_rules_name": Rule("name", "a rule with this name exists"),
        "device_groups_name": Rule("name", "a group of devices with this name exists"),
        "devices_tenant_id_site_id_fkey": Rule("site", "this site does not exist, or devices are still at it"),
        "api_tokens_token_hash_key": Rule("token", "this token exists"),
    }
)

# The server was there and left, is leaving or not yet ready (class 57P), or the network took it (class 08).
_GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleSessionTimeoutError,
    ConnectionError,
)
# It is there and said no this time; nothing was kept. The same call may well succeed later.
_REFUSED_FOR_NOW = (
    asyncpg.InsufficientResourcesError,  # disk full, out of memory, too many connections
    asyncpg.TransactionRollbackError,  # deadlock, serialization
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)
_CONFLICTS = (asyncpg.UniqueViolationError, asyncpg.ForeignKeyViolationError, asyncpg.CheckViolationError, asyncpg.ExclusionViolationError)


def is_gone(error: BaseException) -> bool:
    """Whether ``error`` says that the server or the connection to it is not there."""
    if isinstance(error, asyncpg.InterfaceError):
        # asyncpg has no type of its own for this; the pool takes a connection that was lost out of its user's hands.
        return not isinstance(error, asyncpg.DataError) and bool(re.search(r"is clos(ed|ing)|was closed|released back to the pool", str(error)))
    # A statement sent between the server's farewell and the end of the connection finds asyncpg in a state of its own.
    return isinstance(error, (*_GONE, asyncpg.InternalClientError))


# Classes of SQLSTATE that blame the statement, the schema, the rights or the server, and not the values that were sent.
_NOBODYS_VALUES = ("0A", "25", "28", "3D", "3F", "42", "58", "XX")


def is_statements_fault(error: BaseException) -> bool:
    """Whether ``error`` (a StoreError) would have come whatever the values were: then no other rows would fare better."""
    return str(getattr(error.__cause__, "sqlstate", None)).startswith(_NOBODYS_VALUES)


def unreachable(error: BaseException) -> StoreUnavailable:
    """What a failed attempt to connect is, whatever its cause: the operator reads why."""
    return StoreUnavailable(f"the database cannot be reached: {_text(error)}")


def translated(error: BaseException) -> NetdError | None:
    """netd's error for what a statement raised; None if the error is not the database's."""
    if isinstance(error, NetdError):
        return None
    if is_gone(error):
        return StoreUnavailable(f"the database went away: {_text(error)}")
    if isinstance(error, TimeoutError):
        return StoreUnavailable("the database did not answer in time")
    if isinstance(error, _REFUSED_FOR_NOW):
        return StoreUnavailable(f"the database refused for now: {_text(error)}")
    if isinstance(error, _CONFLICTS):
        return _conflict(error)
    if isinstance(error, asyncpg.InsufficientPrivilegeError) and "row-level security" in str(error):
        return OutsideScope("this reaches beyond where your permission holds")
    if isinstance(error, asyncpg.PostgresError):
        return StoreError(f"the database refused a statement: {_text(error)} ({error.sqlstate})")
    if isinstance(error, asyncpg.InterfaceError):
        return StoreError(f"a statement could not be sent: {_text(error)}")
    return None


def raise_known(error: BaseException) -> None:
    """Raise netd's own error for what the driver raised, if there is one."""
    known = translated(error)
    if known is None:
        return
    try:
        raise known from error
    finally:
        del known  # its traceback holds this frame: if the frame held it as well, only the garbage collector would free the two, and all frames above


@contextlib.contextmanager
def translating() -> Iterator[None]:
    """Raise netd's errors instead of asyncpg's in the block: for dedicated connections; a pool's do it by themselves."""
    try:
        yield
    except Exception as error:
        raise_known(error)
        raise


def _conflict(error: asyncpg.PostgresError) -> Conflict:
    name = error.constraint_name or ""
    if name in RULES:
        return Conflict(RULES[name].detail, RULES[name].field)
    table = error.table_name or ""
    if isinstance(error, asyncpg.CheckViolationError):
        field = re.sub(r"_check\d*$", "", name).removeprefix(f"{table}_")
        return Conflict(f"{field} is outside what {table} allows", field)
    if isinstance(error, asyncpg.ForeignKeyViolationError):
        return Conflict(f"{table}: a row that this refers to does not exist, or is still referred to ({name})")
    return Conflict(f"{table}: such a row exists already ({name})")


def _text(error: BaseException) -> str:
    # The first line: asyncpg appends DETAIL and HINT, which may quote whole rows. A DataError quotes the value after a colon.
    line = (str(error) or type(error).__name__).splitlines()[0]
    return line.partition(":")[0] if isinstance(error, asyncpg.DataError) else line
