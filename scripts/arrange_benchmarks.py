"""``dkp data benchmarks``, from a copy of the repository: python scripts/arrange_benchmarks.py SOURCE..."""

import sys
from functools import partial

from dkp_command import run

main = partial(run, 'data benchmarks')

if __name__ == '__main__':
    sys.exit(main())
