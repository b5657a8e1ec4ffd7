"""Folders that are there as a whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dkp_plugin.host.errors import UserError


@contextmanager
def staged_folder(folder: Path, overwrite: bool = False) -> Iterator[Path]:
    """Give an empty folder to fill, and put it in its place when the ``with`` block ends without an error.

    Args:
        folder: The place. Folders above it are made.
        overwrite: Whether an existing folder is replaced. It stays untouched until the new one is complete.

    Yields:
        A folder beside the place; it is gone if the block fails.

    Raises:
        UserError: if the folder exists and must not be replaced.
    """
    folder = Path(os.path.realpath(folder))  # of a link, what it points to is replaced, not the link
    if folder.exists() and not overwrite:
        raise UserError(f'{folder}: already exists; nothing was written')
    staging, replaced = (folder.with_name(f'.{folder.name}.{os.getpid()}.{state}') for state in ('new', 'old'))
    staging.mkdir(parents=True)
    try:
        yield staging
        if folder.exists():
            folder.rename(replaced)
        staging.rename(folder)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)  # left over by a failure only
