"""Where the option files of the package are; the module needs the standard library alone."""

from pathlib import Path


def options_folder() -> Path:
    """The folder with ``test``, ``train`` and ``suites``: in an installed package inside it, otherwise beside it."""
    package = Path(__file__).parents[1]
    return package / 'options' if (package / 'options').is_dir() else package.parent / 'options'


def find_shipped(name: str, kind: str) -> list[Path]:
    """Option files of the package.

    Args:
        name: ``NAME``, ``NAME.yml`` or ``options/KIND/NAME.yml``; it may be a pattern.
        kind: ``test``, ``train`` or ``suites``.

    Returns:
        The files in alphabetical order; none if ``name`` names another place or nothing that exists.
    """
    path = Path(name)
    if path.parent not in (Path(), Path('options', kind)):
        return []
    return sorted((options_folder() / kind).glob(f'{path.name.removesuffix(".yml")}.yml'))
