"""The pool: errors, codecs, outages."""

from ipaddress import IPv4Address, IPv4Network, IPv6Network

import pytest

from netd.errors import Conflict
from netd.store.database import Database


async def test_codecs(database: Database) -> None:
    async with database.acquire() as connection:
        row = await connection.fetchrow(
            "select '10.0.0.1'::inet a, '10.0.0.0/24'::cidr b, '10.0.0.3/32'::cidr c, '2001:db8::/56'::cidr d, $1::jsonb e, now() f", {"k": [1, None, "é"]})
        assert (row["a"], row["b"], row["c"], row["d"]) == (
            IPv4Address("10.0.0.1"), IPv4Network("10.0.0.0/24"), IPv4Network("10.0.0.3/32"), IPv6Network("2001:db8::/56"))
        assert row["e"] == {"k": [1, None, "é"]}
        assert row["f"].utcoffset().total_seconds() == 0


async def test_rollback_and_conflict(database: Database) -> None:
    with pytest.raises(Conflict) as caught:
        async with database.transaction() as connection:
            await connection.execute("insert into plans (tenant_id, name, down_bps, up_bps) values (1, 'a', 1, 1)")
            await connection.execute("insert into plans (tenant_id, name, down_bps, up_bps) values (1, 'A', 1, 1)")
    assert caught.value.field == "name"
    async with database.acquire() as connection:
        assert await connection.fetchval("select count(*) from plans") == 0
