"""What devices say of themselves over their HTTP API: tried before the command line, where a driver and a credential are there for it."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from netd.device.rest import Rest
from netd.errors import PeerError, PeerUnreachable
from netd.sdk.device import Records

log = logging.getLogger(__name__)

Say = Callable[[str], Awaitable[None]]


async def read(session: Rest, driver: Records, say: Say) -> dict[str, Any]:
    """All that it says. A menu that a model or release does not have says nothing; what none of its menus says is left out, and told."""
    found: dict[str, Any] = {}
    for what, menus in driver.menus().items():
        records, failure = [], None
        for menu in menus:
            try:
                records += await session.all(menu)
            except PeerError as error:
                failure = error
                if isinstance(error, PeerUnreachable):
                    await say(f"it does not say its {what} over HTTP: {error}")
                    return found
        if failure is not None and not records:
            await say(f"it does not say its {what} over HTTP: {failure}")
            continue
        try:
            found[what] = driver.recorded(what, records)
        except Exception as error:  # barrier: what a driver makes of records that nobody foresaw is no reason to lose the rest
            log.exception("a driver does not understand a device's records", extra={"device": session.target.key, "what": what})
            await say(f"it does not say its {what} over HTTP: its driver does not understand it: {type(error).__name__}")
    return found
