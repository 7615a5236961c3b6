"""What an Access-Request would be answered now, for an operator who asks."""

import time
from typing import Final

from netd.domain.ports import Verdict
from netd.errors import NotFound
from netd.radius.access import Access
from netd.radius.directory import GENERIC, Directory
from netd.radius.nas import NasRecord
from netd.sdk import Value
from netd.wire.attributes import decode, to_text
from netd.wire.dictionary import Dictionary

_HIDDEN: Final = frozenset(("ms-mppe-send-key", "ms-mppe-recv-key", "ms-chap-mppe-keys", "tunnel-password", "user-password"))


class Probe:
    """netd.domain.ports.AccessProbe over the engine."""

    def __init__(self, directory: Directory, access: Access) -> None:
        self._directory = directory
        self._access = access

    def decide(self, tenant_id: int, username: str, password: str | None, nas_id: int | None = None) -> Verdict:
        """AccessProbe. Raises NotFound for another tenant's NAS."""
        nas = self._nas(tenant_id, nas_id)
        verdict = self._access.probe(tenant_id, username, password, nas, GENERIC, time.monotonic(), time.time())
        dictionary = self._directory.dictionary
        shown = tuple(
            (item.name, _text(dictionary, item.name, item.value)) for item in decode(dictionary, verdict.attributes) if item.name.lower() not in _HIDDEN
        )
        return Verdict(accept=verdict.accept, reason=verdict.reason, detail=verdict.detail, attributes=shown)

    def _nas(self, tenant_id: int, nas_id: int | None) -> NasRecord | None:
        """The one that is asked for, else the tenant's first."""
        nas = self._directory.nas.get(nas_id) if nas_id is not None else None
        if nas is None:
            return next((nas for nas in self._directory.nas.values() if nas.tenant_id == tenant_id), None)
        if nas.tenant_id != tenant_id:
            raise NotFound("nas", nas_id)
        return nas


def _text(dictionary: Dictionary, name: str, value: Value) -> str:
    try:
        return to_text(dictionary.attribute(name), value)
    except LookupError:
        return "0x" + value.hex() if isinstance(value, bytes) else str(value)
