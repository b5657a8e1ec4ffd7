"""Import methods of other packages: installed packages by entry point, other modules by option file."""

import importlib
import logging
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from dkp_plugin.host.errors import OptionError

GROUP = 'dkp_plugin.methods'
KEY = 'custom_imports'


def import_entry_points() -> None:
    """Import the modules of the entry-point group ``dkp_plugin.methods``, which register their methods.

    If a module fails, the logger ``dkp_plugin`` warns and names its distribution.
    """
    for point in metadata.entry_points(group=GROUP):
        try:
            importlib.import_module(point.module)
        except (Exception, SystemExit) as error:  # a broken package must not disable this one
            name = point.dist.name if point.dist else 'unknown'
            logging.getLogger('dkp_plugin').warning(
                'warning: %s: entry point %s = %s cannot be imported: %s', name, point.name, point.value, _reason(error)
            )


def import_custom(options: Mapping[str, Any]) -> None:
    """Import the modules that an option file lists under ``custom_imports``.

    The current folder is searched, as with ``python -m``. Modules that are already loaded are not reloaded.

    Args:
        options: Content of the option file.

    Raises:
        OptionError: if the value is not a list of module names, or a module cannot be imported.
    """
    names = options.get(KEY) or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise OptionError(f'{KEY}: {names!r} is not allowed: a list of names of modules is')
    if names and not {'', str(Path.cwd())} & set(sys.path):
        sys.path.insert(0, str(Path.cwd()))
    for index, name in enumerate(names):
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:
            raise OptionError(f'{KEY}:{index}: {name} cannot be imported: {_reason(error)}') from None


def _reason(error: BaseException) -> str:
    """Format the error in one line."""
    return f'{type(error).__name__}: {" ".join(str(error).split())}'
