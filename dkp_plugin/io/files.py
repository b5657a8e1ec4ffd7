"""Write files and records; nothing is ever left half-written."""

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

TEMPORARY = re.compile(r'\.(?P<name>.+)\.(?P<pid>\d+)\.tmp', re.DOTALL)  # of the file ``name`` while it is written


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one move: it is there as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')  # processes may write the same summary at once
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)  # left over by a failure only


def remove_leftovers(paths: Iterable[Path]) -> None:
    """Remove what killed processes left beside files that this process is about to write.

    Args:
        paths: The files. Only temporary files of :func:`write_bytes` for these are removed, and only if the process
            that wrote them has ended.
    """
    names = defaultdict(set)
    for path in paths:
        names[path.parent].add(path.name)
    for folder, wanted in names.items():
        with suppress(OSError):  # a missing folder, or one that cannot be read
            for entry in os.listdir(folder):
                found = TEMPORARY.fullmatch(entry)
                if found and found['name'] in wanted and not _is_running(int(found['pid'])):
                    (folder / entry).unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    if os.name == 'nt':  # where signal 0 is Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it belongs to someone else
        return True
    return True


def write_json(path: Path, content: Any) -> None:
    """Write JSON; numbers that are not finite become null, since JSON has none."""

    def finite(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: finite(entry) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [finite(entry) for entry in value]
        return None if isinstance(value, float) and not np.isfinite(value) else value

    write_bytes(path, json.dumps(finite(content), indent=2, allow_nan=False).encode())
