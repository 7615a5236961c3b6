"""What an ACS knows of a CPE: GenieACS, by its north-bound interface. netd itself never speaks to a CPE that has one."""

from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import quote

import msgspec
from msgspec import Meta

from netd.config import GenieacsConfig
from netd.device.http import Client
from netd.errors import PeerError, PeerUnreachable
from netd.model.device import Facts
from netd.work.integrations import basic

NAME: Final = "genieacs"
VERSIONS: Final = ("Device.DeviceInfo.SoftwareVersion", "InternetGatewayDevice.DeviceInfo.SoftwareVersion")
_Moment = Annotated[datetime, Meta(tz=True)]  # it is compared with netd's own
_WANTED: Final = ("_id", "_deviceId", "_lastInform", *VERSIONS)


class Informed(msgspec.Struct, frozen=True, kw_only=True):
    """A CPE as its ACS has it, and when that last heard from it."""

    id: str
    informed_at: datetime | None
    facts: Facts


class GenieAcs:
    """Asks it."""

    def __init__(self, client: Client, config: GenieacsConfig) -> None:
        self._client = client
        self._url = config.url.rstrip("/")
        self._headers = {"Authorization": basic(config.username, config.password.reveal())} if config.username else {}

    async def find(self, serial: str) -> Informed | None:
        """The CPE of this serial number: of several makers' that have it the one heard last. Raises PeerUnreachable; PeerError for what is no answer."""
        query = quote(msgspec.json.encode({"_deviceId._SerialNumber": serial}).decode(), safe="")
        reply = await self._client.call(NAME, "GET", f"{self._url}/devices/?query={query}&projection={','.join(_WANTED)}", headers=self._headers)
        if reply.status >= 500:
            raise PeerUnreachable(f"GenieACS answers {reply.status}", "protocol")
        if reply.status != 200:
            raise PeerError(f"GenieACS answers {reply.status}: are URL and credentials right?")
        try:
            found = [_informed(each) for each in msgspec.json.decode(reply.body, type=list[dict[str, Any]])]
        except (msgspec.MsgspecError, ValueError, TypeError, AttributeError):
            raise PeerError("GenieACS says of the device what netd cannot read") from None
        return max(found, key=lambda each: (each.informed_at is not None, each.informed_at), default=None)


class _Identity(msgspec.Struct):
    serial: str | None = msgspec.field(default=None, name="_SerialNumber")
    model: str | None = msgspec.field(default=None, name="_ProductClass")


def _informed(said: dict[str, Any]) -> Informed:
    identity, at = msgspec.convert(said.get("_deviceId") or {}, _Identity), msgspec.convert(said.get("_lastInform"), _Moment | None)
    version = next((text for path in VERSIONS if (text := _value(said, path))), None)
    facts = Facts(serial=identity.serial, model=identity.model, software_version=version)
    return Informed(id=str(said.get("_id", "")), informed_at=at, facts=facts)


def _value(said: dict[str, Any], path: str) -> str | None:
    found: Any = said
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    value = found.get("_value") if isinstance(found, dict) else None
    return value if isinstance(value, str) else None
