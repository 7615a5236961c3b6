"""Passwords of users: argon2id, beside the loop, a few at a time; and what a password must be like.

Not for subscribers, whose passwords RADIUS needs in the clear.
"""

import asyncio
import unicodedata
from typing import Annotated, Final

import argon2
from argon2.low_level import Type
from msgspec import Meta

from netd.errors import TooOften

LEAST_CHARACTERS: Final = 12
AT_ONCE: Final = 2
MOST_WAITING: Final = 32
"""Hashes that wait for their turn; more are refused, so that a flood of log-ins takes neither the machine's memory nor RADIUS's time."""

Password = Annotated[str, Meta(min_length=1, max_length=256)]

_HASHER: Final = argon2.PasswordHasher(time_cost=3, memory_cost=32 * 1024, parallelism=1, type=Type.ID)
_NOBODYS: Final = _HASHER.hash("the password of nobody")
"""Checked where there is no user, so that the answer takes as long."""


class _Turns:
    """Hands out the turns to hash. Belongs to the loop that first asks."""

    def __init__(self) -> None:
        self.waiting = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._free = asyncio.Semaphore(AT_ONCE)

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # a semaphore waits in one loop only
            self._loop, self._free, self.waiting = loop, asyncio.Semaphore(AT_ONCE), 0
        if self.waiting >= MOST_WAITING:
            raise TooOften("too many log-ins at a time; again in a few seconds", 5)
        self.waiting += 1
        try:
            await self._free.acquire()
        except BaseException:
            self.waiting -= 1
            raise

    async def __aexit__(self, *_: object) -> None:
        self.waiting -= 1
        self._free.release()


_turns = _Turns()


def normal(password: str) -> bytes:
    """The octets that are hashed: the same for all ways in which keyboards compose a character (NFKC, as NIST SP 800-63B 5.1.1.2 advises)."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


async def hashed(password: str) -> str:
    """The PHC string of a password. Raises TooOften."""
    async with _turns:
        return await asyncio.to_thread(_HASHER.hash, normal(password))


async def matches(stored: str | None, password: str) -> bool:
    """Whether it is the password; takes as long where there is none (``stored`` None). Raises TooOften."""
    async with _turns:
        good = await asyncio.to_thread(_verified, stored or _NOBODYS, normal(password))
    return good and stored is not None


def _verified(stored: str, password: bytes) -> bool:
    try:
        return _HASHER.verify(stored, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


def outdated(stored: str) -> bool:
    """Whether the hash was made with other parameters than are used now."""
    return _HASHER.check_needs_rehash(stored)


def fault(password: str, *names: str | None) -> str:
    """What is wrong with a new password of a person with these names; empty: nothing."""
    folded = unicodedata.normalize("NFKC", password).casefold()
    if len(folded) < LEAST_CHARACTERS:
        return f"has less than {LEAST_CHARACTERS} characters"
    if len(set(folded)) < 5:
        return "repeats less than 5 different characters"
    for name in names:
        part = (name or "").casefold().partition("@")[0]
        if part and (folded in part or (len(part) >= 4 and part in folded)):
            return "holds the user's name"
    return ""
