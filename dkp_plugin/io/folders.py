"""List the files of a data folder."""

import logging
from pathlib import Path

from dkp_plugin.host.errors import OptionError
from dkp_plugin.io.formats import IMAGE_SUFFIXES, describe_unreadable


def list_folder(root: Path, key: str, suffixes: tuple[str, ...]) -> list[Path]:
    """Find the files of a folder that a dataset reads, in the order of their names.

    Images of kinds that are not read are named in one line of BasicSR's log.

    Args:
        root: The folder.
        key: The option that names it, for the error message.
        suffixes: In lower case; other files and hidden ones are passed over.

    Returns:
        The paths, at least one, no two with the same stem.

    Raises:
        OptionError: if there is no such folder or no such file, or if two files would share their results.
    """
    if not root.is_dir():
        raise OptionError(f'{key}: {root} is not a folder')
    visible = sorted(path for path in root.iterdir() if not path.name.startswith('.'))
    paths = [path for path in visible if path.suffix.lower() in suffixes]
    unreadable = describe_unreadable(visible) if suffixes == IMAGE_SUFFIXES else ''
    if not paths:
        reason = f'; {unreadable}' if unreadable else ''
        raise OptionError(f'{key}: {root} has no file that ends in {", ".join(suffixes)}{reason}')
    if unreadable:
        logging.getLogger('basicsr').warning(f'{key}: {root}: {unreadable}')
    seen: dict[str, Path] = {}
    for path in paths:
        if path.stem in seen:
            raise OptionError(f'{key}: {seen[path.stem]} and {path} would share their results')
        seen[path.stem] = path
    return paths
