"""Read folders, zip files and tar files alike, without unpacking them."""

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePath

from dkp_plugin.host.errors import ImageError, UserError

_ARCHIVE_ERRORS = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError)


def walk(source: Path) -> Iterator[tuple[PurePath, Callable[[], bytes]]]:
    """Go through the files of a folder or an archive.

    Args:
        source: A folder, or a zip or tar file, the latter with any compression.

    Yields:
        The path of a file, which starts with that of the source, and a function that reads it, to be called before the
        next file is asked for.

    Raises:
        UserError: if there is no such folder or archive, or if the archive is damaged.
    """
    source = source.expanduser().absolute()
    try:
        if source.is_dir():
            for path in sorted(source.rglob('*')):
                if path.is_file():
                    yield path, path.read_bytes
        elif not source.exists():
            raise UserError(f'{source}: there is no such folder or file')
        elif zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                for info in archive.infolist():
                    if not info.is_dir():
                        yield source / info.filename, partial(archive.read, info)
        elif tarfile.is_tarfile(source):
            with tarfile.open(source) as archive:
                for member in archive:
                    if member.isfile():
                        yield source / member.name, partial(_read_member, archive, member)
        else:
            raise UserError(f'{source}: neither a folder nor a zip or tar file')
    except _ARCHIVE_ERRORS as error:
        raise UserError(f'{source}: not a readable archive ({error})') from None


def read_content(path: PurePath, read: Callable[[], bytes]) -> bytes:
    """Read a file that :func:`walk` found.

    Raises:
        ImageError: naming the file, if it is damaged or encrypted.
    """
    try:
        return read()
    except (*_ARCHIVE_ERRORS, RuntimeError) as error:  # zipfile raises a RuntimeError for a missing password
        raise ImageError(f'{path}: cannot be read ({error})') from None


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    with archive.extractfile(member) as file:
        return file.read()
