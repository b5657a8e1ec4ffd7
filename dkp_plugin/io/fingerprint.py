"""A name for a result by what it was made from, so that work is done again exactly where something has changed."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BLOCK = 2**20  # bytes of a file that are read at once

Part = str | bytes | Path | Mapping[str, Any] | Sequence[Any] | int | float | bool | None


def fingerprint(*parts: Part) -> str:
    """SHA-256 over any number of parts.

    Args:
        parts: Bytes; a path, which stands for the bytes of its file; or anything that JSON can hold, where neither the
            order of keys nor the difference between list and tuple matters. The order of the parts does matter, and
            so does where one ends and the next begins.

    Returns:
        64 hexadecimal digits: the digest of the parts' digests.

    Raises:
        OSError: for a path that cannot be read.
        TypeError: for a part that JSON cannot hold.
    """
    return hashlib.sha256(b''.join(map(_digest, parts))).hexdigest()


def _digest(part: Part) -> bytes:
    """Digest of one part, with its kind in front, so that a text never equals the bytes that spell it."""
    if isinstance(part, Path):
        content = hashlib.sha256(b'bytes:')
        with part.open('rb') as file:
            while block := file.read(BLOCK):
                content.update(block)
        return content.digest()
    if isinstance(part, bytes):
        return hashlib.sha256(b'bytes:' + part).digest()
    return hashlib.sha256(b'json:' + json.dumps(part, sort_keys=True).encode()).digest()
