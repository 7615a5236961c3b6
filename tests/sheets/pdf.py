"""What a PDF of ours says."""

import re
import zlib


def text_of(data: bytes) -> str:
    """All its streams, one behind the other. A stream's checksum is left out: its last octet may look like the line end before the mark."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL)
    return b"".join(zlib.decompressobj().decompress(stream) for stream in streams).decode("cp1252")
