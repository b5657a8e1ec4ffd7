"""Copy a folder of images or kernel files to an lmdb in BasicSR's layout.

    python scripts/create_lmdb.py datasets/Set5/HR datasets/Set5/HR.lmdb
    python scripts/create_lmdb.py datasets/Set5/gaussian_x4/kernels datasets/Set5/gaussian_x4/kernels.lmdb

An option file then reads it with ``dataroot_gt: datasets/Set5/HR.lmdb`` and ``io_backend: {type: lmdb}``.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dkp_plugin.data.lmdb_writer import create_lmdb
from dkp_plugin.host.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 0, or 2 after a mistake of the user."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('input', type=Path, metavar='INPUT_FOLDER', help='images, or .mat or .npy kernel files')
    parser.add_argument('output', type=Path, metavar='OUTPUT.lmdb')
    parser.add_argument('--overwrite', action='store_true', help='replace an existing lmdb')
    arguments = parser.parse_args(argv)
    try:
        count = create_lmdb(arguments.input, arguments.output, arguments.overwrite)
    except (UserError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print(f'{arguments.output}: {count} entries')
    return 0


if __name__ == '__main__':
    sys.exit(main())
