"""The values that the UconDB client takes and returns. Sends no request."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class BlobVersion:
    """One version of a run's blob, as UconDB describes it.

    id: number of the version; every override makes a new one. data_key: key of its content, as text.
    adler32: of the content, unsigned. size: bytes. tr: time of storing, seconds since 1970 UTC.
    """

    run: int
    id: int
    data_key: str
    adler32: int
    size: int
    tr: float

    def describes(self, blob: bytes) -> bool:
        """Whether size and checksum are those of `blob`."""
        return self.size == len(blob) and self.adler32 == zlib.adler32(blob)


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """Outcome of a put.

    already: the server had this blob before. content: the server's blob, as read back; if `already`, it may differ from
    the given blob where `blob.same` ignores it.
    """

    version: BlobVersion
    already: bool
    content: bytes = field(repr=False)
