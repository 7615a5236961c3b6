"""The demonstration's own data folder: marked before anything is in it, so that nobody takes what is there for real; and never a real installation's."""

import contextlib
import fcntl
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from netd.config import default_data_dir
from netd.daemon import DEMO
from netd.errors import ConfigError

WHERE: Final = "netd demo"
LOCK: Final = "demo.lock"
NEW: Final = f"{DEMO}.new"
"""What stands there alone where the first start was killed while it wrote."""

SEED: Final = 1


class State(msgspec.Struct, kw_only=True):
    """What a demonstration must know again: ``demo.json``. ``furnished`` once all of it is known to netd."""

    simulated: str = "all that is in this folder was made by netd demo; nothing of it is real"
    seed: int = SEED
    nas_secret: str = msgspec.field(default_factory=lambda: secrets.token_hex(16))
    coa_ports: dict[str, int] = {}
    furnished: bool = False


def default_folder(environ: Mapping[str, str]) -> Path:
    """Beside where the real installation would have its data."""
    return default_data_dir({name: value for name, value in environ.items() if name != "STATE_DIRECTORY"}).with_name("netd-demo")


def enter(folder: Path, seed: int | None) -> State:
    """Make the folder, or go on with it; ``seed`` None: as before. Raises ConfigError for a folder that holds something else, or with another seed."""
    file = folder / DEMO
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stranger = next((each.name for each in sorted(folder.iterdir()) if each.name != NEW), None)
        if file.exists():
            state = msgspec.json.decode(file.read_bytes(), type=State)
        elif stranger is not None:
            raise ConfigError(WHERE, "--data-dir", f"{folder} is not a demonstration's, it holds {stranger}: name a new folder")
        else:
            state = State(seed=SEED if seed is None else seed)
            keep(folder, state)
    except OSError as error:
        raise ConfigError(WHERE, "--data-dir", f"{folder} cannot be used: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise ConfigError(WHERE, "--data-dir", f"{file} is damaged: {error}") from None
    if seed is not None and seed != state.seed:
        raise ConfigError(WHERE, "--seed", f"the demonstration in {folder} has the seed {state.seed}; name another folder for another one")
    return state


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only demonstration in the folder. Raises ConfigError if another one runs there."""
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(WHERE, "--data-dir", f"a demonstration runs in {folder} already") from None
        yield


def keep(folder: Path, state: State) -> None:
    """Write it down, whole or not at all."""
    new = folder / NEW
    new.touch(mode=0o600)
    new.write_bytes(msgspec.json.format(msgspec.json.encode(state)) + b"\n")
    new.replace(folder / DEMO)
