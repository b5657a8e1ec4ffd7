"""``dkp data crops``, from a copy of the repository: python scripts/prepare_crops.py BENCHMARK BLURRED --out DIR"""

import sys
from functools import partial

from dkp_command import run

main = partial(run, 'data crops')

if __name__ == '__main__':
    sys.exit(main())
