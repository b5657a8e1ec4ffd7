"""Write files and records; nothing is ever left half-written."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one move: it is there as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')  # processes may write the same summary at once
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)  # left over by a failure only


def write_json(path: Path, content: Any) -> None:
    """Write JSON; numbers that are not finite become null, since JSON has none."""

    def finite(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: finite(entry) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [finite(entry) for entry in value]
        return None if isinstance(value, float) and not np.isfinite(value) else value

    write_bytes(path, json.dumps(finite(content), indent=2, allow_nan=False).encode())
