"""Convert a checkpoint of BasicSR's train pipeline to the weight file that the package ships.

python scripts/export_prior.py experiments/train_CompactPrior/models/net_g_latest.pth --steps 23000
"""

import argparse
import hashlib
from pathlib import Path

from dkp_plugin.archs.compact_prior_arch import CompactPrior
from dkp_plugin.archs.priors import COMPACT_WEIGHTS
from dkp_plugin.io.weight_files import read_weights, write_safetensors


def main() -> None:
    """Write the averaged weights in half precision, and print the checksum for ``priors.py``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('--steps', type=int, required=True, help='total training steps, stored in the file')
    parser.add_argument('--data', default='BSDS500 train and test, 400 photographs')
    parser.add_argument('--out', type=Path, default=COMPACT_WEIGHTS)
    arguments = parser.parse_args()
    weights = read_weights(arguments.checkpoint)[0]['params_ema']
    CompactPrior().load_state_dict(weights)  # raises an error for another network
    metadata = {'network': 'CompactPrior', 'data': arguments.data, 'steps': str(arguments.steps)}
    metadata['license'] = 'Apache-2.0'
    write_safetensors(arguments.out, {name: weight.half() for name, weight in weights.items()}, metadata)
    content = arguments.out.read_bytes()
    print(f'{arguments.out}: {len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}')


if __name__ == '__main__':
    main()
