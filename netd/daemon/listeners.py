"""The daemon's sockets. They are bound before anything else is begun: a port that is taken is noticed first."""

import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from netd.config import Config
from netd.errors import ConfigError
from netd.radius import sockets
from netd.radius.sockets import Socket
from netd.ztp import tftp
from netd.ztp.sockets import Sockets4, Sockets6, bind4, bind6


@dataclass(frozen=True, kw_only=True, slots=True)
class Listeners:
    """Bound sockets; empty or None where what they are for is not enabled."""

    auth: Sequence[Socket]
    acct: Sequence[Socket]
    coa: Sequence[Socket]
    dhcp4: Sockets4 | None
    dhcp6: Sockets6 | None
    tftp: Sequence[socket.socket]
    api: socket.socket

    @property
    def coa_port(self) -> int | None:
        """Where CoA- and Disconnect-Requests are listened for; None: nowhere."""
        return self.coa[0].port if self.coa else None


def bind(config: Config, stack: ExitStack) -> Listeners:
    """Bind all, to be closed with ``stack``. Raises ConfigError that names the key."""
    radius, dhcp, boot = config.radius, config.dhcp, config.boot
    auth = _kept(stack, sockets.bind(radius.addresses, radius.auth_port, "radius.auth_port", 0))
    acct = _kept(stack, sockets.bind(radius.addresses, radius.acct_port, "radius.acct_port", len(auth)))
    coa = _kept(stack, sockets.bind(radius.addresses, config.relay.port, "relay.port", len(auth) + len(acct)) if config.relay.enabled else [])
    dhcp4 = bind4(dhcp.addresses, dhcp.port, dhcp.interfaces) if dhcp.enabled else None
    if dhcp4 is not None:
        stack.callback(dhcp4.close)
    dhcp6 = bind6(dhcp.addresses, dhcp.port6, dhcp.interfaces) if dhcp.enabled else None
    if dhcp6 is not None:
        stack.callback(dhcp6.close)
    boots = tftp.bind(boot.addresses, boot.tftp_port) if boot.enabled else []
    for each in boots:
        stack.callback(each.close)
    api = stack.enter_context(_tcp(config.web.address, config.web.port))
    return Listeners(auth=auth, acct=acct, coa=coa, dhcp4=dhcp4, dhcp6=dhcp6, tftp=boots, api=api)


def _kept(stack: ExitStack, bound: list[Socket]) -> list[Socket]:
    for each in bound:
        stack.callback(each.close)
    return bound


def _tcp(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family)
    except OSError as error:
        raise ConfigError("configuration", "web.port", f"cannot listen on {address} port {port}/tcp: {os.strerror(error.errno or 0)}") from error
