"""Read BasicSR's lmdb: a folder with lmdb's own files and ``meta_info.txt``, one line for each entry."""

from pathlib import Path, PurePosixPath

import lmdb

from dkp_plugin.host.errors import ImageError, OptionError

META_FILE = 'meta_info.txt'


def list_lmdb(root: Path, key: str) -> list[str]:
    """Names of an lmdb's entries, in the order of its list, with their folders but without suffix.

    Args:
        root: The lmdb's folder.
        key: The option that names it, for the error message.

    Raises:
        OptionError: if there is no such folder, no list in it, or nothing in the list, or if two entries would share
            their results, or the results would lie outside their folder.
    """
    if not root.is_dir():
        raise OptionError(f'{key}: {root} is not a folder')
    meta = root / META_FILE
    if not meta.is_file():
        raise OptionError(f'{key}: {root} has no {META_FILE}, so it is no BasicSR lmdb')
    # A line is 'name.png (height,width,channels) level'; the name may hold spaces.
    lines = [line.rsplit(' (', 1)[0] for line in meta.read_text(encoding='utf-8').splitlines() if line.strip()]
    if not lines:
        raise OptionError(f'{key}: {meta} is empty')
    entries: dict[str, str] = {}
    for line in lines:
        path = PurePosixPath(line)
        if path.is_absolute() or '..' in path.parts or not path.name:
            raise OptionError(f'{key}: {meta} has the name {line!r}, which leads out of the folder of results')
        name = str(path.with_suffix(''))
        if name in entries:
            raise OptionError(f'{key}: {meta}: {entries[name]} and {line} would share their results')
        entries[name] = line
    return list(entries)


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
