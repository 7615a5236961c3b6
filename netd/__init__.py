"""netd: one asyncio daemon that runs an Internet provider's access network."""

from netd import compiled

__version__ = "0.1.0"

compiled.install()
