"""The HTTP side of netd: the control API, health and metrics. Nothing else uses aiohttp's server."""
