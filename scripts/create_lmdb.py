"""``dkp data lmdb``, from a copy of the repository: python scripts/create_lmdb.py INPUT_FOLDER OUTPUT.lmdb"""

import sys
from functools import partial

from dkp_command import run

main = partial(run, 'data lmdb')

if __name__ == '__main__':
    sys.exit(main())
