"""FreeRADIUS as the system that asks: its own ``update disconnect`` and ``update coa``, through its own client."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pyrad import packet as pyrad

from tests.ports import free_port
from tests.radius.test_relay import SECRET, let_in, relay_of
from tests.radius.world import TestNas, eventually

_CONFIGURATION = """
name = asks
prefix = /usr
raddbdir = {folder}
logdir = {folder}
run_dir = {folder}
libdir = {library}
pidfile = {folder}/pid
log {{
    destination = files
    file = {folder}/radius.log
}}
security {{
    max_attributes = 200
    status_server = no
}}
modules {{
    always ok {{
        rcode = ok
    }}
}}
proxy server {{
    default_fallback = no
}}
home_server netd {{
    type = coa
    ipaddr = 127.0.0.1
    port = {netd}
    secret = "{secret}"
    coa {{
        irt = 1
        mrt = 5
        mrc = 3
        mrd = 10
    }}
}}
home_server_pool netd {{
    type = fail-over
    home_server = netd
    virtual_server = originate
}}
client lab {{
    ipaddr = 127.0.0.1
    secret = testing123
    coa_server = netd
}}
server default {{
    listen {{
        type = auth
        ipaddr = 127.0.0.1
        port = {port}
    }}
    authorize {{
        update control {{
            Auth-Type := Accept
        }}
        if (&Filter-Id) {{
            update coa {{
                &User-Name := "%{{User-Name}}"
                &Filter-Id := "%{{Filter-Id}}"
                &Home-Server-Pool := "netd"
            }}
        }}
        else {{
            update disconnect {{
                &User-Name := "%{{User-Name}}"
                &Acct-Session-Id := "%{{Acct-Session-Id}}"
                &Home-Server-Pool := "netd"
            }}
        }}
    }}
}}
server originate {{
    pre-proxy {{
        update proxy-request {{
            &Event-Timestamp := "%l"
            &Message-Authenticator := 0x00
        }}
    }}
    post-proxy {{
        ok
        Post-Proxy-Type Fail-CoA {{
            ok
        }}
        Post-Proxy-Type Fail-Disconnect {{
            ok
        }}
    }}
}}
"""


@pytest.fixture
async def freeradius(bras: TestNas, tmp_path: Path, require_peer: Callable[[str], str]) -> AsyncIterator[int]:
    """The port of a FreeRADIUS that has a session ended for every Access-Request, or changed where that has a Filter-Id."""
    program = require_peer("freeradius")
    library = next((str(place) for place in map(Path, ("/usr/lib/freeradius", "/usr/lib64/freeradius")) if place.is_dir()), "/usr/lib/freeradius")
    port = free_port()
    (tmp_path / "dictionary").write_text("")
    text = _CONFIGURATION.format(folder=tmp_path, library=library, port=port, netd=bras.world.running.coa_port, secret=SECRET.decode())
    (tmp_path / "radiusd.conf").write_text(text)
    process = await asyncio.create_subprocess_exec(
        program, "-fxx", "-l", str(tmp_path / "output"), "-d", str(tmp_path), "-n", "radiusd", cwd=tmp_path,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip

    def said() -> str:
        return (tmp_path / "output").read_text(errors="replace") if (tmp_path / "output").exists() else ""

    try:
        await eventually(lambda: process.returncode is not None or "Ready to process requests" in said(), 60.0)
        assert process.returncode is None, said()[-2000:]
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 60)
        sys.stdout.write(said()[-6000:])  # shown where the test fails


async def trigger(port: int, program: str, attributes: str) -> None:
    line = [program, "-r", "1", "-t", "3", f"127.0.0.1:{port}", "auth", "testing123"]
    await asyncio.to_thread(subprocess.run, line, input=attributes + "\n", capture_output=True, text=True, timeout=60, check=False)


async def test_freeradius_ends_and_changes_sessions(bras: TestNas, freeradius: int, require_peer: Callable[[str], str]) -> None:
    await let_in(bras.world, "127.0.0.1", "freeradius", may_change=True, may_override=True)
    await bras.online()
    radclient = require_peer("radclient")
    await trigger(freeradius, radclient, 'User-Name = "alice", Acct-Session-Id = "s1", User-Password = "x"')
    await eventually(lambda: bras.told)
    assert bras.told[0].code == pyrad.DisconnectRequest
    await trigger(freeradius, radclient, 'User-Name = "alice", Filter-Id = "night", User-Password = "x"')
    await eventually(lambda: len(bras.told) > 1)
    assert (bras.told[1].code, bras.told[1]["Filter-Id"]) == (pyrad.CoARequest, ["night"])
    results: dict[Any, int] = next(iter(relay_of(bras.world).clients.by_id.values())).results
    await eventually(lambda: results == {("disconnect", "ack"): 1, ("coa", "ack"): 1})
