"""The peer: FreeRADIUS 3, with a users file or with PostgreSQL, from a folder of its own and on loopback ports of its own.

Each is as small and as fast a configuration as its documentation gives: a minimal virtual server, no detail files, no log lines, threads that are all
there from the start, and for PostgreSQL its own schema, indexes and queries, a pool with a connection per thread, no group queries.
"""

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Final

from netd.store.database import Connection
from tests.bench import packets
from tests.bench.postgresql import PORT, PostgreSQL
from tests.ports import free_port

START_SECONDS: Final = 40.0
THREADS: Final = 16
"""Of 8, 16 and 32 the fastest, by a little, on two cores."""

SQL_FILES: Final = (Path("/etc/freeradius/3.0/mods-config/sql/main/postgresql"), Path("/etc/raddb/mods-config/sql/main/postgresql"))
_RATE, _INTERIM = "20M/100M", 300
_REPLY: Final = f'\tMikrotik-Rate-Limit := "{_RATE}",\n\tAcct-Interim-Interval := {_INTERIM}\n'
_CONFIGURATION: Final = """
name = bench
prefix = /usr
raddbdir = {folder}
logdir = {folder}
run_dir = {folder}
libdir = {library}
pidfile = {folder}/pid
max_request_time = 30
cleanup_delay = 5
max_requests = 65536
hostname_lookups = no
log {{
    destination = files
    file = {folder}/radius.log
    auth = no
}}
security {{
    max_attributes = 200
    reject_delay = 1
    status_server = yes
}}
thread pool {{
    start_servers = {threads}
    max_servers = {threads}
    min_spare_servers = 1
    max_spare_servers = {threads}
    max_queue_size = 65536
    max_requests_per_server = 0
}}
modules {{
    pap {{
        normalise = no
    }}
    {module}
}}
client bench {{
    ipaddr = 127.0.0.1
    secret = {secret}
    require_message_authenticator = yes
}}
server default {{
    listen {{
        type = auth
        ipaddr = 127.0.0.1
        port = {port}
    }}
    authorize {{
        {source}
        pap
    }}
    authenticate {{
        Auth-Type PAP {{
            pap
        }}
    }}
    post-auth {{
        update reply {{
            Message-Authenticator := 0x00
        }}
        {record}
    }}
    {accounting}
}}
"""
_FILES: Final = """files {{
        usersfile = {folder}/users
    }}"""
_SQL: Final = """expr {{
    }}
    sql {{
        driver = rlm_sql_postgresql
        dialect = postgresql
        radius_db = "host={socket} port={socket_port} dbname=radius user=bench"
        acct_table1 = radacct
        acct_table2 = radacct
        postauth_table = radpostauth
        authcheck_table = radcheck
        groupcheck_table = radgroupcheck
        authreply_table = radreply
        groupreply_table = radgroupreply
        usergroup_table = radusergroup
        client_table = nas
        group_attribute = SQL-Group
        read_groups = no
        read_profiles = no
        read_clients = no
        delete_stale_sessions = yes
        pool {{
            start = {threads}
            min = {threads}
            max = {threads}
            spare = 0
            uses = 0
            lifetime = 0
            idle_timeout = 0
            retry_delay = 1
        }}
        $INCLUDE {queries}
    }}"""
_ACCOUNTING: Final = """listen {{
        type = acct
        ipaddr = 127.0.0.1
        port = {acct_port}
    }}
    preacct {{
        update request {{
            &Acct-Unique-Session-Id := "%{{md5:%{{User-Name}},%{{Acct-Session-Id}},%{{NAS-IP-Address}},%{{NAS-Identifier}},%{{NAS-Port-Id}},%{{NAS-Port}}}}"
        }}
    }}
    accounting {{
        sql
    }}"""


def sql_files() -> Path | None:
    """The folder with its schema and queries for PostgreSQL, None if they are not installed."""
    return next((folder for folder in SQL_FILES if (folder / "schema.sql").exists()), None)


def prepare(server: PostgreSQL, files: Path, subscribers: int) -> None:
    """A database ``radius`` with its own schema and ``subscribers`` users, the reply attributes theirs."""
    server.execute("postgres", "create database radius")
    server.execute("radius", (files / "schema.sql").read_text())
    names = [packets.username(n) for n in range(subscribers)]
    columns = ("username", "attribute", "op", "value")

    async def fill(conn: Connection) -> None:
        checks = [(name, "Cleartext-Password", ":=", packets.password(n)) for n, name in enumerate(names)]
        await conn.copy_records_to_table("radcheck", records=checks, columns=columns)
        replies = [(name, *row) for name in names for row in (("Mikrotik-Rate-Limit", ":=", _RATE), ("Acct-Interim-Interval", ":=", str(_INTERIM)))]
        await conn.copy_records_to_table("radreply", records=replies, columns=columns)

    server.run("radius", fill)


def installed() -> str | None:
    """Its program, None if there is none."""
    return shutil.which("freeradius") or shutil.which("radiusd")


class FreeRadius:
    """A running FreeRADIUS that knows the same subscribers as the daemon, and answers with as many attributes but Class.

    Without ``database`` it reads a users file. ``record``: each log-in is written to radpostauth, as netd does.
    """

    def __init__(self, program: str, folder: Path, subscribers: int, database: PostgreSQL | None = None, *, record: bool = False) -> None:
        folder.mkdir()
        library = next((str(place) for place in map(Path, ("/usr/lib/freeradius", "/usr/lib64/freeradius")) if place.is_dir()), "/usr/lib/freeradius")
        self.port, self.acct_port = free_port(), free_port()
        self.version = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stdout.partition(",")[0].rpartition(" ")[2]
        values: dict[str, Any] = {"folder": folder, "library": library, "threads": THREADS, "port": self.port, "acct_port": self.acct_port}
        if database is None:
            users = (f'{packets.username(n)} Cleartext-Password := "{packets.password(n)}"\n{_REPLY}' for n in range(subscribers))
            (folder / "users").write_text("".join(users))
            parts = {"module": _FILES.format(**values), "source": "files", "record": "", "accounting": ""}
        else:
            files = sql_files()
            assert files is not None
            module = _SQL.format(socket=database.socket_folder, socket_port=PORT, queries=files / "queries.conf", **values)
            parts = {"module": module, "source": "sql", "record": "sql" if record else "", "accounting": _ACCOUNTING.format(**values)}
        (folder / "dictionary").write_text("")
        (folder / "radiusd.conf").write_text(_CONFIGURATION.format(secret=packets.SECRET.decode(), **values, **parts))
        self.log = folder / "output"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen([program, "-f", "-d", str(folder), "-n", "radiusd"], stdout=output, stderr=output, cwd=folder)
        self.pid = self.process.pid

    def wait(self) -> None:
        """Until it listens."""
        until = time.monotonic() + START_SECONDS
        wanted = f":{self.port:04X} "
        while not any(wanted in line.split(" 00000000:")[0] + " " for line in Path("/proc/net/udp").read_text().splitlines()):
            if time.monotonic() > until or self.process.poll() is not None:
                said = self.log.read_text() + (self.log.parent / "radius.log").read_text()
                raise RuntimeError(f"FreeRADIUS did not start: {said[-400:]}")
            time.sleep(0.1)
