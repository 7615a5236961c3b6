"""Telnet's negotiations, cut anywhere."""

import pytest

from netd.errors import WireError
from netd.wire.telnet import BINARY, DO, DONT, ECHO, IAC, NAWS, SB, SE, SGA, TERMINAL_TYPE, WILL, WONT, Telnet


def receive(telnet: Telnet, data: bytes, size: int = 0) -> tuple[bytes, bytes]:
    text = answer = b""
    for at in range(0, len(data), size or len(data)):
        more = telnet.receive(data[at : at + (size or len(data))])
        text, answer = text + more[0], answer + more[1]
    return text, answer


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_text_and_commands(size: int) -> None:
    telnet = Telnet()
    data = bytes((IAC, WILL, ECHO)) + b"a\xff\xffb\r\0c\r\n" + bytes((IAC, 241, IAC, DO, 39)) + b"d"
    assert receive(telnet, data, size) == (b"a\xffb\rc\r\nd", bytes((IAC, DO, ECHO, IAC, WONT, 39)))
    assert telnet.theirs == {ECHO}


@pytest.mark.parametrize("size", [0, 1, 5])
def test_window_and_terminal(size: int) -> None:
    telnet = Telnet(columns=511, rows=255, terminal_type="vt100")
    data = bytes((IAC, DO, NAWS, IAC, DO, TERMINAL_TYPE, IAC, SB, TERMINAL_TYPE, 1, IAC, SE))
    _, answer = receive(telnet, data, size)
    assert answer == bytes(
        (IAC, WILL, NAWS, IAC, SB, NAWS, 1, 255, 255, 0, 255, 255, IAC, SE, IAC, WILL, TERMINAL_TYPE, IAC, SB, TERMINAL_TYPE, 0)
    ) + b"vt100" + bytes((IAC, SE))


def test_agreement_is_not_answered() -> None:
    telnet = Telnet()
    assert telnet.opening() == bytes((IAC, DO, ECHO, IAC, DO, SGA, IAC, WILL, SGA, IAC, WILL, NAWS))
    assert receive(telnet, bytes((IAC, WILL, ECHO, IAC, WILL, SGA, IAC, DO, SGA)))[1] == b""
    assert receive(telnet, bytes((IAC, WONT, ECHO)))[1] == bytes((IAC, DONT, ECHO))
    assert receive(telnet, bytes((IAC, WONT, ECHO, IAC, DONT, 39)))[1] == b""


def test_what_is_typed() -> None:
    telnet = Telnet()
    assert telnet.encode(b"a\xffb\r\nc\rd\n\r") == b"a\xff\xffb\r\nc\r\0d\n\r\0"
    receive(telnet, bytes((IAC, DO, BINARY)))
    assert telnet.encode(b"a\rb") == b"a\rb"


def test_a_peer_that_goes_on_and_on() -> None:
    with pytest.raises(WireError, match="telnet"):
        receive(Telnet(), bytes((IAC, SB, TERMINAL_TYPE)) + b"x" * 5000, 100)
    with pytest.raises(WireError, match="telnet"):
        receive(Telnet(), bytes((IAC, DO, 39)) * 5000)
