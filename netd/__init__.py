"""netd: one asyncio daemon that runs an Internet provider's access network."""

__version__ = "0.1.0"
