"""A real FreeRADIUS 3 on its own SQL schema, in PostgreSQL or MariaDB, with the modules of its default site that decide who is let in."""

import os
import pwd
import re
import secrets
import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from tests.e2e.freeradius_users import Table, Tables
from tests.ports import free_port

Dialect = Literal["postgresql", "mysql"]

SECRET = "moving-house"
_QUERIES = Path("/etc/freeradius/3.0/mods-config/sql/main")
_CONFIGURATION = """
name = moving
prefix = /usr
raddbdir = {folder}
logdir = {folder}
run_dir = {folder}
libdir = {library}
pidfile = {folder}/pid
max_request_time = 30
cleanup_delay = 0
max_requests = 16384
hostname_lookups = no
log {{
    destination = files
    file = {folder}/radius.log
    auth = no
}}
security {{
    max_attributes = 200
    reject_delay = 0
    status_server = yes
}}
thread pool {{
    start_servers = 4
    max_servers = 8
    min_spare_servers = 1
    max_spare_servers = 8
    max_requests_per_server = 0
}}
modules {{
    pap {{
    }}
    chap {{
    }}
    mschap {{
    }}
    expiration {{
    }}
    logintime {{
    }}
    expr {{
    }}
    attr_filter attr_filter.access_reject {{
        key = "%{{User-Name}}"
        filename = {folder}/access_reject
    }}
    sql {{
        dialect = "{dialect}"
        driver = "rlm_sql_{dialect}"
        server = "127.0.0.1"
        port = {database_port}
        login = "{login}"
        password = "{password}"
        radius_db = "{database}"
        acct_table1 = "radacct"
        acct_table2 = "radacct"
        postauth_table = "radpostauth"
        authcheck_table = "radcheck"
        groupcheck_table = "radgroupcheck"
        authreply_table = "radreply"
        groupreply_table = "radgroupreply"
        usergroup_table = "radusergroup"
        read_clients = yes
        client_table = "nas"
        group_attribute = "SQL-Group"
        pool {{
            start = 4
            min = 1
            max = 8
            spare = 4
            uses = 0
            lifetime = 0
            idle_timeout = 60
        }}
        $INCLUDE {queries}
    }}
}}
instantiate {{
    expr
}}
server default {{
    listen {{
        type = auth
        ipaddr = 127.0.0.1
        port = {port}
    }}
    authorize {{
        chap
        mschap
        sql
        expiration
        logintime
        pap
    }}
    authenticate {{
        Auth-Type PAP {{
            pap
        }}
        Auth-Type CHAP {{
            chap
        }}
        Auth-Type MS-CHAP {{
            mschap
        }}
    }}
    session {{
        sql
    }}
    post-auth {{
        Post-Auth-Type REJECT {{
            attr_filter.access_reject
        }}
    }}
}}
"""


def queries(dialect: Dialect) -> Path | None:
    """Its queries, None where they are not installed, or not for this user's eyes."""
    found = _QUERIES / dialect / "queries.conf"
    return found if os.access(found, os.R_OK) else None


def schema(dialect: Dialect) -> str:
    """Its schema."""
    return (_QUERIES / dialect / "schema.sql").read_text()


def fill_postgresql(url: str, tables: Tables) -> str:
    """Make a database with FreeRADIUS's schema and these rows on the server of ``url``; the URL of it."""
    import asyncio

    import asyncpg

    name = f"radius_{secrets.token_hex(4)}"
    made = urlsplit(url)._replace(path=f"/{name}").geturl()

    async def fill() -> None:
        admin = await asyncpg.connect(url)
        await admin.execute(f"create database {name}")
        await admin.close()
        connection = await asyncpg.connect(made)
        await connection.execute(schema("postgresql"))
        for table, columns, rows in tables.each():
            await connection.copy_records_to_table(table, columns=columns, records=rows)
        await connection.execute("analyze")
        await connection.close()

    asyncio.run(fill())
    return made


class MariaDb:
    """A server of ours, on TCP with a password, as an unprivileged process in a folder."""

    def __init__(self, stack: ExitStack, folder: Path, program: str, installer: str) -> None:
        user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        prefix = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"] if os.geteuid() == 0 else ["setpriv"]
        data = folder / "mariadb"
        data.mkdir()
        if os.geteuid() == 0:
            os.chown(data, user.pw_uid, user.pw_gid)
        subprocess.run(
            [*prefix, installer, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", env={**os.environ, "HOME": str(folder)},
        )  # fmt: skip
        self.port = free_port()
        self.password = secrets.token_hex(8)
        setup = data / "setup.sql"
        setup.write_text(
            f"create database radius;\ncreate user radius@127.0.0.1 identified by '{self.password}';\ngrant all on radius.* to radius@127.0.0.1;\n"
        )
        setup.chmod(0o644)
        line = [
            *prefix, "--pdeathsig=TERM", program, "--no-defaults", f"--datadir={data}", "--bind-address=127.0.0.1", f"--port={self.port}",
            f"--socket={data}/socket", f"--pid-file={data}/pid", "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0", f"--init-file={setup}",
        ]  # fmt: skip
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=(folder / "mariadb.log").open("wb"), cwd="/")
        stack.callback(process.wait, 120)
        stack.callback(process.terminate)
        self.url = f"mysql://radius:{self.password}@127.0.0.1:{self.port}/radius"
        self._wait(process, folder / "mariadb.log")

    def connect(self) -> Any:
        """A connection."""
        import pymysql

        return pymysql.connect(host="127.0.0.1", port=self.port, user="radius", password=self.password, database="radius", charset="utf8mb4")

    def _wait(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        import pymysql

        deadline = time.monotonic() + 180
        while True:
            try:
                self.connect().close()
                return
            except pymysql.err.MySQLError:
                assert process.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < deadline
                time.sleep(0.1)

    def fill(self, tables: Tables) -> None:
        """FreeRADIUS's schema and these rows."""
        connection = self.connect()
        with connection.cursor() as cursor:
            text = re.sub(r"^\s*(#|--).*$", "", schema("mysql"), flags=re.MULTILINE)
            for statement in text.split(";"):
                if statement.strip():
                    cursor.execute(statement)
            for table, columns, rows in tables.each():
                places = ", ".join(["%s"] * len(columns))
                cursor.executemany(f"insert into {table} ({', '.join(columns)}) values ({places})", rows)
        connection.commit()
        connection.close()


class FreeRadius:
    """The running server."""

    def __init__(self, stack: ExitStack, folder: Path, program: str, dialect: Dialect, url: str) -> None:
        raddb = folder / "raddb"
        raddb.mkdir()
        self.log = folder / "freeradius.log"
        library = next((str(place) for place in map(Path, ("/usr/lib/freeradius", "/usr/lib64/freeradius")) if place.is_dir()), "/usr/lib/freeradius")
        where = urlsplit(url)
        self.port = free_port()
        own = raddb / "queries.conf"
        found = queries(dialect)
        assert found is not None
        shutil.copy(found, own)
        (raddb / "access_reject").write_text("DEFAULT\n\tEAP-Message =* ANY,\n\tState =* ANY,\n\tReply-Message =* ANY,\n\tMS-CHAP-Error =* ANY\n")
        (raddb / "dictionary").write_text("")
        (raddb / "radiusd.conf").write_text(
            _CONFIGURATION.format(
                folder=raddb,
                library=library,
                port=self.port,
                dialect=dialect,
                queries=own,
                database_port=where.port,
                login=where.username,
                password=where.password,
                database=where.path.strip("/"),
            )
        )
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [program, "-f", "-d", str(raddb), "-n", "radiusd"], stdout=output, stderr=output, cwd=folder, env={**os.environ, "TZ": "UTC"}
            )
        stack.callback(self.process.wait, 120)
        stack.callback(self.process.terminate)
        deadline = time.monotonic() + 180
        wanted = f":{self.port:04X} "
        while not any(wanted in line for line in Path("/proc/net/udp").read_text().splitlines()):
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.05)

    def said(self) -> str:
        """The end of its log."""
        log = self.log.parent / "raddb" / "radius.log"
        return self.log.read_text()[-3000:] + (log.read_text()[-3000:] if log.exists() else "")


__all__ = ["SECRET", "Dialect", "FreeRadius", "MariaDb", "Table", "fill_postgresql", "queries"]
