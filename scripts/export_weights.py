"""Convert a checkpoint of BasicSR's train pipeline to a weight file that the package ships.

python scripts/export_weights.py compact experiments/train_CompactPrior/models/net_g_latest.pth --steps 23000 \
    --data 'BSDS500 train and test, 400 photographs'
python scripts/export_weights.py one_pass_x4 experiments/train_OnePass_x4/models/net_g_latest.pth --steps 9000 \
    --data 'BSDS500 train and test, and 1,073 other photographs'
"""

import argparse
import hashlib
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from dkp_plugin.archs.compact_prior_arch import CompactPrior
from dkp_plugin.archs.priors import COMPACT_WEIGHTS
from dkp_plugin.archs.unfolded_arch import UnfoldedPrior
from dkp_plugin.archs.unfolded_weights import UNFOLDED_WEIGHTS
from dkp_plugin.archs.unpaired_arch import UnpairedSR
from dkp_plugin.archs.unpaired_weights import PACKAGE_WEIGHTS
from dkp_plugin.io.weight_files import read_weights, write_safetensors

FILES = {'compact': COMPACT_WEIGHTS, 'unfolded': UNFOLDED_WEIGHTS} | {
    f'{name}_x{scale}': path for name, files in PACKAGE_WEIGHTS.items() for scale, (path, _) in files.items()
}


def check_weights(name: str, weights: Mapping[str, Tensor]) -> str:
    """Return the name of the network; an error for weights of another one."""
    if name == 'compact':
        CompactPrior().load_state_dict(weights)
        return 'CompactPrior'
    if name == 'unfolded':
        UnfoldedPrior.from_weights(weights)
        return 'UnfoldedPrior'
    UnpairedSR.from_weights(weights)
    return 'UnpairedSR'


def main() -> None:
    """Write the averaged weights in half precision; print the checksum, which the module that reads them holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', choices=FILES)
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('--steps', type=int, required=True, help='total training steps, stored in the file')
    parser.add_argument('--data', required=True, help='the photographs, in words')
    parser.add_argument('--out', type=Path, help='default: the file of the package')
    arguments = parser.parse_args()
    weights = read_weights(arguments.checkpoint)[0]['params_ema']
    metadata = {'network': check_weights(arguments.name, weights), 'license': 'Apache-2.0'}
    metadata |= {'data': arguments.data, 'steps': str(arguments.steps)}
    half = {name: weight.half() if weight.is_floating_point() else weight for name, weight in weights.items()}
    out = arguments.out or FILES[arguments.name]
    write_safetensors(out, half, metadata)
    content = out.read_bytes()
    print(f'{out}: {len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}')


if __name__ == '__main__':
    main()
