"""Command lines over SSH: OpenSSH with a plain shell, and FRRouting's vtysh as a router that nobody here wrote."""

import pytest

from netd.device.cli import CliTransport
from netd.model.device import Outcome
from netd.sdk.dialogue import say
from netd.sdk.terminal import ErrorText, Refused, Terminal
from tests.device.conftest import SH, Peer, Shell, target

VTYSH = Terminal(
    prompt=r"^[\w.-]+(?:\([\w-]+\))?[>#] ?",
    pager=r"^--More--|^\(END\)|^:",
    pager_answer="q",
    errors=(ErrorText(r"^% (?:Unknown|Ambiguous|Command incomplete)", Outcome.SYNTAX),),
)


async def test_a_shell(bourne: Peer) -> None:
    transport = CliTransport()
    async with transport.session(target((bourne.login(), bourne.port)), Shell(SH)) as session:
        assert session.credential is not None and session.credential.name == "c1" and session.protocol == "ssh" and session.host_key == bourne.host_key
        assert await session.run(say("echo one; echo two")) == "one\ntwo"
        assert await session.run(say("true")) == ""
        long = "echo " + "x" * 3000
        assert await session.run(say(long)) == "x" * 3000
        assert len(await session.run(say("seq 1 200000"))) == 1288894
    assert transport.commands == {"ok": 4 + 1} and transport.sessions == {("ssh", "ok"): 1}


async def test_vtysh(frr: Peer) -> None:
    async with CliTransport().session(target((frr.login(), frr.port)), Shell(VTYSH, ("terminal length 0",))) as session:
        assert "FRRouting" in await session.run(say("show version"))
        await session.run(say("configure terminal"))
        await session.run(say("hostname edge"))
        with pytest.raises(Refused) as refused:
            await session.run(say("no such thing"))
        assert refused.value.outcome is Outcome.SYNTAX and refused.value.said == "% Unknown command: no such thing"
        await session.run(say("end"))
        assert "hostname edge" in await session.run(say("show running-config"))
