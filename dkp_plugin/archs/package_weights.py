"""The weights of the package, which results depend on beside options, input and version."""

from functools import cache
from pathlib import Path

from dkp_plugin.io.fingerprint import fingerprint

FOLDER = Path(__file__).parent / 'weights'


@cache
def package_weights_digest(folder: Path = FOLDER) -> str:
    """SHA-256 over the names and bytes of all weights below a folder, 64 hexadecimal digits.

    It covers all of them, because which ones a result depends on is known only to the method.
    """
    files = sorted(folder.rglob('*.safetensors'))
    return fingerprint([path.relative_to(folder).as_posix() for path in files], *files)
