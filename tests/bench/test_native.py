"""The compiled load generator against servers that do as they should, lose packets, or answer wrongly."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.bench import native, packets
from tests.bench.load import answer_fault

REQUESTS = packets.access_requests(600, 50, 1)


@contextmanager
def server(answers: Callable[[int, bytes], list[bytes]]) -> Iterator[int]:
    """A UDP server that sends what ``answers`` makes of the number and octets of each packet; the port is given."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(0.1)
    over = threading.Event()

    def work() -> None:
        number = 0
        while not over.is_set():
            try:
                data, source = sock.recvfrom(4096)
            except TimeoutError:
                continue
            for answer in answers(number, data):
                sock.sendto(answer, source)
            number += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield sock.getsockname()[1]
    finally:
        over.set()
        thread.join()
        sock.close()


@pytest.fixture
def rounds() -> Iterator[native.Rounds]:
    made = native.program()
    if made is None:
        pytest.skip("no C compiler")
    running = native.Rounds(made, REQUESTS)
    yield running
    running.close()


def flood(rounds: native.Rounds, port: int, **more: float) -> dict[str, float | str]:
    order = {"port": port, "ports": 3, "window": 64, "count": 600, "seconds": 60.0, "check_every": 1, "what": "echo", **more}
    return rounds.run(order, packets.ACCESS_REQUEST, lambda request, answer: answer_fault(request, answer, "echo"))


def test_every_request_is_answered_once_and_each_answer_looked_at(rounds: native.Rounds) -> None:
    heard: list[bytes] = []

    def echo(number: int, data: bytes) -> list[bytes]:
        heard.append(data)
        return [data]

    with server(echo) as port:
        result = flood(rounds, port)
        repeated = len(heard) - 600  # what this server was too busy to answer within a second
        paced = flood(rounds, port, rate=2_000.0, seconds=0.3)
    assert (result["sent"], result["answered"], result["checked"], result["repeated"], result["fault"]) == (600, 600, 600, repeated, "")
    assert int(result["strange"]) <= repeated
    assert (paced["sent"], paced["answered"], paced["fault"]) == (600, 600, "")
    assert 0.29 < float(paced["seconds"]) < 30.0


def test_what_is_lost_is_sent_again_and_a_second_answer_counts_for_nothing(rounds: native.Rounds) -> None:
    lost: list[bytes] = []
    everything: set[bytes] = set()
    heard: list[bytes] = []

    def lossy(number: int, data: bytes) -> list[bytes]:
        heard.append(data)
        if number == 20:
            lost.append(data)
            return []
        everything.add(data)
        return [data, data] if data in lost else [data]

    with server(lossy) as port:
        result = flood(rounds, port)
    assert (result["sent"], result["answered"], result["fault"]) == (600, 600, "")
    assert result["repeated"] == len(heard) - 600 >= 1, "that one, and what this server was too busy to answer within a second"
    assert 0 <= int(result["strange"]) <= int(result["repeated"]), "the second answer may come after the end"
    assert everything == set(REQUESTS), "an identifier that is not used any more keeps back no request"


def test_a_wrong_answer_is_found(rounds: native.Rounds) -> None:
    with server(lambda number, data: [data[:-1] + b"!"] if number == 300 else [data]) as port:
        assert flood(rounds, port)["fault"] == "no echo"
