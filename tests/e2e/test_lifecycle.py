"""Starting and stopping: what the exit code says, what the service manager is told, and that nothing is left behind or lost."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.daemon import NETD, STOP_SECONDS, Daemon, eventually, furnish, one_line
from tests.e2e.device import device, silence
from tests.e2e.load import Accountant, Logins, check_books
from tests.ports import free_port


def serve(data_dir: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A start that fails, without any setting but those given (the environment would overrule the file)."""
    environment = {"PATH": os.environ["PATH"], "NETD_DATA_DIR": str(data_dir), "NETD_COMPILED": os.environ.get("NETD_COMPILED", "auto"), **settings}
    return subprocess.run([NETD, "serve", *arguments], capture_output=True, text=True, env=environment, cwd="/", timeout=240, check=False)


PATIENT = """import sys
from netd import cli
from netd.radius import service

service.COA_GRACE_SECONDS = 600.0
sys.exit(cli.main(["serve"]))
"""


def gone(daemon: Daemon) -> bool:
    """Whether nothing of the embedded database runs any more, and it ended in order."""
    return not daemon.postgres() and not (daemon.cluster / "data" / "postmaster.pid").exists()


def test_sigterm_under_load(fresh: Daemon) -> None:
    fresh.start()
    furnish(fresh)
    with Accountant("stop") as nas, Logins(fresh.auth_port):
        for number in range(150):
            nas.add(number)
        for record in nas.records[:300]:
            nas.send(record, fresh.acct_port)
        read = "netd_radius_accounting_responses_total", "netd_radius_accounting_queue"
        eventually(lambda: sum(fresh.metric(name) for name in read) >= 300)
        fresh.signal(signal.SIGTERM)
        for record in nas.records[300:]:
            nas.send(record, fresh.acct_port)
        assert fresh.wait() == 0
        assert gone(fresh)
        while nas.receive(0.1):
            continue
    assert len(nas.acknowledged) >= 300, "what was read before the end is finished"
    assert fresh.manager is not None
    told = fresh.manager.told
    assert told.index("READY=1") < told.index("STOPPING=1")
    assert told.count("STOPPING=1") == 1
    assert "WATCHDOG=1" in told
    assert not [line for line in fresh.log() if line["level"] in ("error", "critical")]
    fresh.start()
    check_books(fresh, nas)
    assert fresh.stop() == 0


def test_a_second_sigterm_ends_at_once(fresh: Daemon) -> None:
    """The first one waits for a NAS that says nothing, here longer than any machine may need to come to the second."""
    fresh.settings |= {"NETD_COA__TIMEOUT_SECONDS": "60"}
    fresh.program = [sys.executable, "-P", "-c", PATIENT]
    fresh.start()
    furnish(fresh)
    with device("127.0.5.1", say=silence) as nas, Accountant("second") as accountant:
        fresh.make("radius/nas", name="dead", address=nas.address, secret="testing123", vendor="mikrotik", coa_port=nas.port)
        accountant.add(1, (1,))
        accountant.insist(fresh.acct_port)
        fresh.netd("subscriber", "suspend", "alice")
        eventually(lambda: nas.told)
        fresh.signal(signal.SIGTERM)
        eventually(lambda: fresh.manager is not None and fresh.manager.count("STOPPING=1"))
        time.sleep(0.5)
        assert fresh.process is not None
        assert fresh.process.poll() is None, "it gives the NAS a moment"
        fresh.signal(signal.SIGTERM)
        assert fresh.wait() == 1, "0, had it gone on waiting"
        eventually(lambda: gone(fresh), STOP_SECONDS)
    fresh.program = [NETD, "serve"]
    fresh.start()
    check_books(fresh, accountant)
    assert fresh.stop() == 0


@pytest.mark.parametrize("when", ["its database starts", "its database is made", "it loads"])
def test_sigterm_during_the_start(data_dir: Path, ready_data_dir: Path, when: str) -> None:
    daemon = Daemon(data_dir)
    if when == "its database is made":
        subprocess.run(["rm", "-rf", daemon.cluster], check=True)
    try:
        daemon.launch()
        match when:
            case "its database is made":
                eventually(lambda: (daemon.cluster / "data.new").exists() or (daemon.cluster / "data").exists(), step=0.002)  # it is not there for long
            case "its database starts":
                eventually(daemon.postmaster, step=0.002)
            case _:
                eventually(lambda: any("applied migration" in line["message"] for line in daemon.log()), step=0.002)
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        assert gone(daemon)
        assert daemon.manager is not None
        assert daemon.manager.told.count("READY=1") <= 1
        assert not [line for line in daemon.log() if line["level"] in ("error", "critical")]
        if when == "its database is made":
            daemon.start()
            assert daemon.stop() == 0
    finally:
        daemon.close()


def test_sigterm_while_waiting_for_the_database(data_dir: Path) -> None:
    port = free_port()
    daemon = Daemon(data_dir, NETD_DATABASE__URL=f"postgresql://netd:secret@127.0.0.1:{port}/netd")
    try:
        daemon.launch()
        eventually(lambda: any("waiting for the database" in line["message"] for line in daemon.log()))
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        assert "secret" not in daemon.stderr
    finally:
        daemon.close()


def test_a_database_that_never_comes(data_dir: Path) -> None:
    port = free_port()
    daemon = Daemon(data_dir, NETD_DATABASE__URL=f"postgresql://netd:secret@127.0.0.1:{port}/netd", NETD_DATABASE__START_TIMEOUT_SECONDS="1")
    try:
        daemon.launch()
        assert daemon.wait() == 1
        assert daemon.manager is not None
        assert "READY=1" not in daemon.manager.told
        assert "secret" not in daemon.stderr
        assert daemon.log()[-1]["level"] == "critical"
    finally:
        daemon.close()


# -- what is refused, and how it is told -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("toml", "parts"),
    [
        ("[radius]\nauth_prot = 1812\n", ("radius.auth_prot", "auth_port")),
        ("[radius]\nauth_port = 70000\n", ("radius.auth_port", "65535")),
        ('[radius]\naddresses = ["nowhere"]\n', ("radius.addresses", "nowhere")),
        ("[radius\n", ("TOML",)),
    ],
)
def test_a_wrong_configuration_is_told_in_one_line(data_dir: Path, toml: str, parts: tuple[str, ...]) -> None:
    file = data_dir / "netd.toml"
    file.write_text(toml)
    done = serve(data_dir, "--config", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    line = one_line(done.stderr)
    assert line.startswith(f"netd: {file}: ")
    assert all(part in line for part in parts), line
    assert not (data_dir / "postgres").exists(), "nothing was begun"


def test_a_wrong_environment_is_told_in_one_line(data_dir: Path) -> None:
    for name, value in (("NETD_RADIUS__AUTH_PRT", "1812"), ("NETD_RADIUS__AUTH_PORT", "many")):
        done = serve(data_dir, **{name: value})
        assert (done.returncode, done.stdout) == (2, "")
        assert one_line(done.stderr).startswith(f"netd: {name}: "), done.stderr


def test_a_missing_configuration_file(data_dir: Path) -> None:
    done = serve(data_dir, "--config", str(data_dir / "none.toml"))
    assert done.returncode == 2
    assert one_line(done.stderr) == f"netd: {data_dir / 'none.toml'}: does not exist"


def test_a_taken_radius_port(data_dir: Path) -> None:
    key = "radius.acct_port"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        done = Daemon(data_dir, **{"NETD_" + key.upper().replace(".", "__"): str(port)}).command("serve")
    assert (done.returncode, done.stdout) == (2, "")
    assert one_line(done.stderr) == f"netd: configuration: {key}: cannot listen on 127.0.0.1 port {port}/udp: Address already in use"
    assert not (data_dir / "postgres").exists()


def test_a_taken_api_port_stops_the_database_again(fresh: Daemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        fresh.settings["NETD_WEB__PORT"] = str(port)
        fresh.launch()
        assert fresh.wait() == 2
    last = fresh.stderr.splitlines()[-1]
    assert last == f"netd: configuration: web.port: cannot listen on 127.0.0.1 port {port}/tcp: Address already in use"
    assert gone(fresh)
    assert fresh.manager is not None
    assert "READY=1" not in fresh.manager.told


def test_two_daemons_on_one_folder(fresh: Daemon) -> None:
    fresh.start()
    done = Daemon(fresh.data_dir).command("serve")
    assert done.returncode == 1
    assert f"in use by another netd (process {fresh.pid})" in done.stderr
    assert fresh.json("nas", "list")["items"] == [], "the first one was not disturbed"
    fresh.signal(signal.SIGINT)
    assert fresh.wait() == 0, "SIGINT is SIGTERM"
    assert gone(fresh)


# -- as a new user would ---------------------------------------------------------------------------------------------


def test_the_printed_commands_put_a_first_subscriber_online(fresh: Daemon, radclient_program: str) -> None:
    fresh.launch(managed=False)
    printed = eventually(lambda: fresh.stdout if "session list" in fresh.stdout else "")
    token = re.search(r"admin token +(\S+)", printed)
    assert token is not None
    assert Path(token[1]).stat().st_mode & 0o777 == 0o600
    commands = [line.strip() for line in printed.splitlines() if line.startswith("  ") and ("netd " in line or "radclient" in line or "export" in line)]
    commands = [line for line in commands if not line.startswith("A first")]
    assert len(commands) == 7, commands
    script = "set -e\n" + "\n".join(f"echo '--- {number}'\n{line}" for number, line in enumerate(commands))
    environment = {"PATH": f"{Path(radclient_program).parent}:/usr/bin:/bin", "HOME": "/nonexistent"}
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env=environment, cwd="/", timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = re.split(r"^--- \d+\n", done.stdout, flags=re.MULTILINE)
    assert "Received Access-Accept" in parts[5]
    assert 'Mikrotik-Rate-Limit = "20M/100M"' in parts[5]
    assert "Received Accounting-Response" in parts[6]
    assert "alice" in parts[7]
    assert shlex.split(commands[1])[0] == str(NETD)
    fresh.manager = None
    assert fresh.stop() == 0
