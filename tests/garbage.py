"""What a piece of work leaves behind is to be freed by reference counting: in the daemon the garbage collector looks seldom."""

import contextlib
import gc
from collections.abc import Iterator


def _alive(kinds: tuple[type, ...]) -> dict[int, object]:
    return {id(each): each for each in gc.get_objects() if issubclass(type(each), kinds)}


@contextlib.contextmanager
def freed_at_once(*kinds: type) -> Iterator[None]:
    """Of these types nothing that was made in the block is there at its end."""
    before = _alive(kinds)
    gc.disable()
    try:
        yield
        left = [each for key, each in _alive(kinds).items() if key not in before]
        assert not left, f"{len(left)} are left: {left[:3]}"
    finally:
        gc.enable()
