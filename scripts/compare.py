"""``dkp compare``, from a copy of the repository: python scripts/compare.py FILE... --out DIR"""

import sys
from functools import partial

from dkp_command import run

main = partial(run, 'compare')

if __name__ == '__main__':
    sys.exit(main())
