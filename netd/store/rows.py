"""Between rows and values: conditions, assignments and the few types that PostgreSQL and netd see differently."""

from collections.abc import Collection, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any, Literal

from netd.store.database import Connection

Inet = IPv4Address | IPv6Address | IPv4Interface | IPv6Interface


class Where:
    """Conditions joined by ``and``. The first is always the tenant, so that no query can forget it."""

    def __init__(self, tenant_id: int, column: str = "tenant_id") -> None:
        self.terms = [f"{column} = $1"]
        self.args: list[Any] = [tenant_id]

    def add(self, template: str, value: object) -> "Where":
        """Add a condition; ``{}`` in ``template`` becomes the placeholder of ``value``."""
        self.terms.append(template.format(self.place(value)))
        return self

    def place(self, value: object) -> str:
        """Pass one more argument; returns its placeholder."""
        self.args.append(value)
        return f"${len(self.args)}"

    def __str__(self) -> str:
        return " and ".join(self.terms)


def insertion(table: str, allowed: Collection[str], tenant_id: int, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """``insert into table …`` and its arguments; ``values`` are columns of ``allowed``."""
    names = _columns(allowed, values)
    places = ", ".join(f"${number}" for number in range(2, len(names) + 2))
    return f"insert into {table} (tenant_id, {', '.join(names)}) values ($1, {places})", [tenant_id, *values.values()]


def update(table: str, allowed: Collection[str], tenant_id: int, row_id: int, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """``update table …`` of one row, which counts its version up, and the arguments."""
    names = _columns(allowed, values)
    sets = "".join(f"{name} = ${number}, " for number, name in enumerate(names, 3))
    return f"update {table} set {sets}version = version + 1, updated_at = now() where tenant_id = $1 and id = $2", [tenant_id, row_id, *values.values()]


def _columns(allowed: Collection[str], values: Mapping[str, Any]) -> list[str]:
    # Column names become SQL text, so only names from the module's own list may pass.
    strange = [name for name in values if name not in allowed]
    if strange:
        raise ValueError(f"no such column: {', '.join(strange)}")
    return list(values)


def network(value: Inet | IPv4Network | IPv6Network | None) -> Any:
    """An inet or cidr as a network; an address without prefix length is a network of one."""
    if value is None or isinstance(value, IPv4Network | IPv6Network):
        return value
    if isinstance(value, IPv4Interface | IPv6Interface):
        return value.network
    return IPv4Network(value) if isinstance(value, IPv4Address) else IPv6Network(value)


def address(value: Inet | None) -> Any:
    """An inet as an address, whatever its prefix length."""
    return value.ip if isinstance(value, IPv4Interface | IPv6Interface) else value


def storable(text: str | None) -> str | None:
    """Text from the wire as PostgreSQL can hold it: NUL becomes U+FFFD, a lone surrogate a question mark."""
    if text is None:
        return None
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")


def storable_json(value: Any) -> Any:
    """The same for a value made of JSON's own types, and tuples."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(name): storable_json(each) for name, each in value.items()}
    return type(value)(storable_json(each) for each in value) if isinstance(value, list | tuple) else value


def prefix_pattern(text: str) -> str:
    """A ``like`` pattern for values that begin with ``text``."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"


def updated(status: str) -> int:
    """The number of rows in a command tag such as ``UPDATE 3``."""
    return int(status.rpartition(" ")[2])


HookTable = Literal["webhooks", "billing_hooks"]


async def sealed(conn: Connection, table: HookTable, after: int, limit: int) -> list[tuple[int, bytes]]:
    """(id, sealed secrets) of every tenant's hooks by id, for re-sealing; not confined to a tenant, for keys are not either."""
    records = await conn.fetch(f"select id, secrets from {table} where id > $1 order by id limit $2", after, limit)
    return [(record["id"], record["secrets"]) for record in records]


async def reseal(conn: Connection, table: HookTable, replacements: list[tuple[int, bytes, bytes]]) -> int:
    """Replace sealed secrets, (id, before, after), leaving out any that changed meanwhile; returns how many."""
    return updated(await conn.execute(
        f"""update {table} t set secrets = u.after from unnest($1::bigint[], $2::bytea[], $3::bytea[]) as u (id, before, after)
            where t.id = u.id and t.secrets = u.before""", *[list(part) for part in zip(*replacements, strict=True)],
    ))  # fmt: skip
