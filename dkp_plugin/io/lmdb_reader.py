"""Read BasicSR's lmdb: a folder with lmdb's own files and ``meta_info.txt``, one line for each entry."""

from pathlib import Path

import lmdb

from dkp_plugin.host.errors import ImageError, OptionError

META_FILE = 'meta_info.txt'


def list_lmdb(root: Path, key: str) -> list[str]:
    """Names of an lmdb's entries, in the order of its list.

    Args:
        root: The lmdb's folder.
        key: The option that names it, for the error message.

    Raises:
        OptionError: if there is no such folder, no list in it, or nothing in the list.
    """
    if not root.is_dir():
        raise OptionError(f'{key}: {root} is not a folder')
    meta = root / META_FILE
    if not meta.is_file():
        raise OptionError(f'{key}: {root} has no {META_FILE}, so it is no BasicSR lmdb')
    # A line is 'name.png (height,width,channels) level'; the name may hold spaces.
    names = [Path(line.rsplit(' (', 1)[0]).stem for line in meta.read_text(encoding='utf-8').splitlines()]
    if not names:
        raise OptionError(f'{key}: {meta} is empty')
    return names


def read_lmdb(root: Path, name: str) -> bytes:
    """Read an entry.

    The lmdb is opened and closed by each call, which takes about 50 microseconds. BasicSR's client keeps it open, and
    since lmdb refuses to open a folder twice in a process, two datasets could not share their HR images.

    Args:
        root: The lmdb's folder.
        name: A name that :func:`list_lmdb` gives.

    Raises:
        ImageError: if the lmdb cannot be read or has no such entry.
    """
    try:
        with (
            lmdb.open(str(root), readonly=True, lock=False, create=False) as environment,
            environment.begin() as transaction,
        ):
            content = transaction.get(name.encode())
    except lmdb.Error as error:
        raise ImageError(f'{root}: not a readable lmdb ({error})') from None
    if content is None:
        raise ImageError(f'{root}: {META_FILE} names {name}, but the lmdb does not hold it')
    return content
