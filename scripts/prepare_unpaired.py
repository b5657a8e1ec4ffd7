"""``dkp data unpaired``, from a copy of the repository: python scripts/prepare_unpaired.py PHOTOS --out DIR"""

import sys
from functools import partial

from dkp_command import run

main = partial(run, 'data unpaired')

if __name__ == '__main__':
    sys.exit(main())
