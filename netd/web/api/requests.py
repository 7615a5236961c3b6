"""What the boundary finds out of a request, for all behind it."""

from aiohttp import web

REQUEST_ID = web.RequestKey("request_id", str)
ADDRESS = web.RequestKey("address", str)
"""The caller's address, also behind a proxy that is trusted; empty if there is none."""
