"""The simulated agent by itself; gufo and the drivers speak to it in tests/device/test_simulated_agents.py."""

import pytest

from netd.simulate.agent import Agent, Object, objects

TABLE = objects("1.3.6.1.2.1.1.3.0|67|4294967290\n1.3.6.1.2.1.1.5.0|4|lab\n1.3.6.1.2.1.31.1.1.1.6.1|70|18446744073709551615\n1.3.6.1.2.1.31.1.1.1.6.2|70|5\n")
COLUMN = (1, 3, 6, 1, 2, 1, 31, 1, 1, 1, 6)


def test_time_passes_and_counters_wrap() -> None:
    agent = Agent(TABLE, "public", {(*COLUMN, 1): 2.0})
    agent.elapse(1)
    found = agent._table
    assert found[(1, 3, 6, 1, 2, 1, 1, 3, 0)].value == 94
    assert found[(*COLUMN, 1)].value == 1 and found[(*COLUMN, 2)].value == 5
    agent.put((*COLUMN, 0), Object(70, 9))
    assert agent._names.index((*COLUMN, 0)) + 1 == agent._names.index((*COLUMN, 1))


@pytest.mark.parametrize("datagram", [b"", b"\x30", b"\x30\x05\x02\x01\x01", b"\x30\x84\xff\xff\xff\xff", b"nonsense" * 30])
def test_nonsense_is_not_answered(datagram: bytes) -> None:
    assert Agent(TABLE, "public").answer(datagram) is None


def test_a_recording_of_another_type() -> None:
    with pytest.raises(KeyError):
        objects("1.3|99|x")
