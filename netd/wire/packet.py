"""A parsed RADIUS packet. Apart from ``netd.wire.radius``, which may be compiled, for mypyc does not know msgspec's class keywords."""

import msgspec


class Packet(msgspec.Struct, gc=False):
    """A parsed packet. ``attributes`` holds the first value of each type, ``repeated`` the further ones in order.

    ``ma_at`` is the offset of the Message-Authenticator's value in ``data``, 0 if there is none. ``data`` ends where the
    header's length says; octets after that are padding (RFC 2865 section 3).
    """

    data: bytes
    code: int
    identifier: int
    authenticator: bytes
    attributes: dict[int, bytes]
    repeated: list[tuple[int, bytes]]
    ma_at: int

    def values(self, kind: int) -> list[bytes]:
        """All values of one attribute type, in the packet's order."""
        first = self.attributes.get(kind)
        if first is None:
            return []
        return [first, *(value for other, value in self.repeated if other == kind)]
