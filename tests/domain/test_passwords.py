"""Hashing beside the loop, and the rules."""

import asyncio

import pytest

from netd.domain import passwords
from netd.errors import TooOften


async def test_hash_and_match():
    stored = await passwords.hashed("Grüße aus Köln")
    assert stored.startswith("$argon2id$")
    assert await passwords.matches(stored, "Gru\u0308ße aus Ko\u0308ln")  # the same characters, composed another way
    assert not await passwords.matches(stored, "Grüße aus Koln")
    assert not await passwords.matches(None, "the password of nobody")
    assert not await passwords.matches("$argon2id$broken", "x")
    assert not passwords.outdated(stored)
    assert passwords.outdated("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$8gO1VOFMmOBjNMKDn0BPXA")


async def test_the_loop_goes_on_and_a_flood_is_refused():
    stored = await passwords.hashed("correct horse battery")
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    counting = asyncio.create_task(count())
    results = await asyncio.gather(*(passwords.matches(stored, "wrong") for _ in range(passwords.MOST_WAITING + 5)), return_exceptions=True)
    counting.cancel()
    refused = [each for each in results if isinstance(each, TooOften)]
    assert (len(refused), results.count(False)) == (5, passwords.MOST_WAITING)
    assert turns > 10
    assert await passwords.matches(stored, "correct horse battery")


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("short", "less than 12"),
        ("aaaaaaaaaaaaaaaa", "different characters"),
        ("ann.smith-2026!", "user's name"),
        ("ANN.SMITH-2026!", "user's name"),
        ("correct horse battery", ""),
        ("пароль достаточно длинный", ""),
    ],
)
def test_rules(password, fault):
    found = passwords.fault(password, "ann.smith@example.net", None)
    assert fault in found
    assert bool(fault) == bool(found)
