"""The control API. A route (``route.py``) is the one source of its path, permission, validation and OpenAPI description."""
