"""Devices that nobody here wrote, in network namespaces: net-snmp's agent, OpenSSH, FRRouting's zebra with vtysh as the log-in shell, lldpd. Needs root."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import asyncssh

from tests.e2e.daemon import eventually
from tests.ztp.conftest import within
from tests.ztp.links import Namespace, namespaces, short_folder, wire

ROUTER, HOST = "10.98.0.2", "10.98.1.2"
COMMUNITY = "c0mmunity"
V3 = ("-v3", "-lauthPriv", "-unetd", "-aSHA", "-Aauthsecret", "-xAES", "-Xprivsecret")
V2C = ("-v2c", f"-c{COMMUNITY}")
SYS_UP_TIME = ".1.3.6.1.2.1.1.3.0"
IF_NAME = ".1.3.6.1.2.1.31.1.1.1.1"
IF_HC_IN_OCTETS = ".1.3.6.1.2.1.31.1.1.1.6"


class Box:
    """A device. ``folder`` holds all that its programs read and write."""

    def __init__(self, space: Namespace, folder: Path, name: str, key: asyncssh.SSHKey) -> None:
        self.space = space
        self.folder = folder / name
        self.name = name
        self.folder.mkdir()
        self.folder.chmod(0o755)
        key.write_public_key(self.folder / "authorized")
        host = asyncssh.generate_private_key("ssh-ed25519")
        host.write_private_key(self.folder / "host")
        host.write_public_key(self.folder / "host.pub")
        (self.folder / "host").chmod(0o600)

    def start_sshd(self, program: str, forced: str) -> None:
        """OpenSSH on port 22; ``forced`` is what whoever logs in gets."""
        config = self.folder / "sshd_config"
        config.write_text("\n".join((
            "Port 22", "ListenAddress 0.0.0.0", f"HostKey {self.folder / 'host'}", f"AuthorizedKeysFile {self.folder / 'authorized'}", "PidFile none",
            "StrictModes no", "UsePAM no", "PasswordAuthentication no", "PermitRootLogin yes", "PrintMotd no", f"ForceCommand {forced}", "",
        )))  # fmt: skip
        self.space.start(program, "-D", "-f", str(config), log=self.folder / "sshd.log")

    def start_snmpd(self, program: str, *lines: str) -> None:
        """net-snmp's agent on port 161; ``lines`` say who may ask."""
        config = self.folder / "snmpd.conf"
        shared = ("master agentx", f"agentXSocket {self.agentx}", "agentXPerms 0777 0777")
        config.write_text("\n".join(("agentaddress udp:161", f"sysName {self.name}", *shared, *lines, "")))
        self.space.start(
            "env", f"SNMP_PERSISTENT_DIR={self.folder / 'kept'}", "MIBS=", program, "-f", "-Ln", "-C", "-c", str(config), "-I", "-smux",
            "-p", str(self.folder / "snmpd.pid"), log=self.folder / "snmpd.log",
        )  # fmt: skip

    def start_lldpd(self, program: str) -> None:
        """lldpd, which tells its neighbours the device's name, and net-snmp's agent whom it hears. It begins once its own client has read the configuration."""
        config, log = self.folder / "lldpd.conf", self.folder / "lldpd.log"
        config.write_text(f"configure system hostname {self.name}\n")
        started = self.space.start(program, "-d", "-x", "-X", self.agentx, "-u", self.lldp_socket, "-O", str(config), log=log)
        eventually(lambda: "resume operations" in log.read_text() or started.poll() is not None)
        assert started.poll() is None, log.read_text()

    @property
    def agentx(self) -> str:
        return str(self.folder / "agentx")

    @property
    def lldp_socket(self) -> str:
        return str(self.folder / "lldp")

    def lldp(self, *command: str) -> str:
        """What ``lldpcli`` prints."""
        return self.space.run("lldpcli", "-u", self.lldp_socket, *command)

    def mac(self, interface: str) -> str:
        return self.space.run("cat", f"/sys/class/net/{interface}/address").strip()


class Router(Box):
    """FRRouting: zebra in the namespace, and its vtysh as everybody's shell."""

    def start_zebra(self, program: str) -> None:
        (self.folder / "zebra.conf").write_text(f"hostname {self.name}\ninterface eth1\n description to leaf1\n")
        (self.folder / "vtysh.conf").write_text("no service integrated-vtysh-config\n")
        for path in (self.folder, self.folder / "zebra.conf"):
            shutil.chown(path, "frr", "frr")
        folder = self.folder
        started = self.space.start(
            program, "-f", str(folder / "zebra.conf"), "-z", str(folder / "zserv.api"), "-i", str(folder / "pid"), "--vty_socket", str(folder), "-P", "0",
            log=folder / "zebra.log",
        )  # fmt: skip
        eventually(lambda: (folder / "zebra.vty").exists() or started.poll() is not None)
        assert started.poll() is None, (folder / "zebra.log").read_text()

    @property
    def shell(self) -> str:
        return f"/usr/bin/vtysh --vty_socket {self.folder} --config_dir {self.folder}"

    def vtysh(self, *lines: str) -> str:
        """What vtysh prints; nothing of netd is in between."""
        typed = [word for line in lines for word in ("-c", line)]
        return subprocess.run([*self.shell.split(), *typed], capture_output=True, text=True, check=True, timeout=120).stdout


class Street:
    """netd's namespace, a router and a host; ``eth1`` of both is one cable."""

    def __init__(self, netd: Namespace, router: Router, host: Box, folder: Path, private_key: Path) -> None:
        self.netd = netd
        self.router = router
        self.host = host
        self.folder = folder
        self.private_key = private_key

    def snmpget(self, address: str, login: tuple[str, ...], oid: str, program: str = "snmpget") -> dict[str, str]:
        """What net-snmp's own tool prints, by OID."""
        printed = self.netd.run(program, *login, "-OnQUt", "-m", "", address, oid)
        return dict(line.strip().split(" = ", 1) for line in printed.splitlines() if " = " in line)

    def stands(self) -> bool:
        """Whether every agent and SSH server answers."""
        for address, login in ((ROUTER, V3), (HOST, V2C)):
            try:
                self.snmpget(address, (*login, "-t0.3", "-r0"), SYS_UP_TIME)
                within(self.netd, partial(socket.create_connection, (address, 22), 1)).close()
            except (AssertionError, OSError):
                return False
        return True

    def send(self, datagrams: int, octets: int) -> None:
        """Known traffic into the router's eth1."""

        def go() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                for number in range(datagrams):
                    with contextlib.suppress(ConnectionRefusedError):  # nobody listens there, and the router says so
                        sock.sendto(bytes(octets), ("10.98.2.1", 9))
                    if number % 20 == 0:
                        time.sleep(0.002)

        within(self.host.space, go)


@contextlib.contextmanager
def street(require_peer: Callable[[str], str]) -> Iterator[Street]:
    """All of it, running."""
    sshd, snmpd, lldpd, zebra = (require_peer(name) for name in ("/usr/sbin/sshd", "/usr/sbin/snmpd", "/usr/sbin/lldpd", "/usr/lib/frr/zebra"))
    for name in ("vtysh", "lldpcli", "lldpctl", "snmpget", "snmpwalk"):
        require_peer(name)
    Path("/run/sshd").mkdir(exist_ok=True)
    with namespaces("netd", "router", "host") as (netd, router_space, host_space), short_folder() as folder:
        folder.chmod(0o755)
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(folder / "key")
        router, host = Router(router_space, folder, "router1", key), Box(host_space, folder, "leaf1", key)
        wire(netd, "up0", router_space, "eth0")
        wire(netd, "up1", host_space, "eth0")
        wire(router_space, "eth1", host_space, "eth1")
        for space, name, address in (
            (netd, "up0", "10.98.0.1"), (netd, "up1", "10.98.1.1"), (router_space, "eth0", ROUTER), (host_space, "eth0", HOST),
            (router_space, "eth1", "10.98.2.1"), (host_space, "eth1", "10.98.2.2"),
        ):  # fmt: skip
            space.run("ip", "addr", "add", f"{address}/24", "dev", name)
        tools = folder / "tools"
        tools.mkdir()
        (tools / "lldpctl").write_text(f'#!/bin/sh\nexec {shutil.which("lldpctl")} -u {host.lldp_socket} "$@"\n')
        (tools / "lldpctl").chmod(0o755)
        router.start_zebra(zebra)
        router.start_sshd(sshd, router.shell)
        router.start_snmpd(snmpd, "createUser netd SHA authsecret AES privsecret", "rouser netd priv")
        host.start_sshd(sshd, f'PATH={tools}:$PATH exec sh -c "${{SSH_ORIGINAL_COMMAND:-sh -i}}"')
        host.start_snmpd(snmpd, f"rocommunity {COMMUNITY}")
        for box in (router, host):
            box.start_lldpd(lldpd)
        try:
            made = Street(netd, router, host, folder, folder / "key")
            eventually(made.stands)
            yield made
        finally:
            for box in (router, host):  # lldpd's other half ends with the first only if that is told to end
                for process in box.space.processes:
                    process.terminate()
                for process in box.space.processes:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(20)
