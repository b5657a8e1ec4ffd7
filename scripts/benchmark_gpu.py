"""The figures of benchmark_unpaired.py on a GPU, in batches and in half precision; takes less than ten minutes.

python scripts/benchmark_gpu.py [--device cuda] [--size 252] [--batches 1,8,32]
"""

import argparse
import sys
import time
from collections.abc import Sequence

import torch
from benchmark_diffusion import median_seconds
from benchmark_unpaired import Case, describe, measure_parts, restorations

from dkp_plugin.archs.priors import load_prior
from dkp_plugin.archs.unpaired_weights import load_unpaired
from dkp_plugin.engine.tiles import is_out_of_memory
from dkp_plugin.host.devices import choose_device
from dkp_plugin.host.errors import UserError

DTYPES = {'float32': torch.float32, 'float16': torch.float16, 'bf16': torch.bfloat16}
TIME_LIMIT = 480.0  # seconds; what has not begun by then is left out


def measure_batch(device: torch.device, size: int, batch: int, dtype: torch.dtype, repeats: int) -> list[str]:
    """Measure the parts of the network and one denoising of the diffusion prior on a batch."""
    case, net = Case.make(size, batch, device), load_unpaired('one_pass').to(device)
    net.adopt(case.degradation)
    lines = describe(measure_parts(net, case, dtype, repeats))
    prior = load_prior('compact').to(device)
    x, sigma = torch.rand(batch, 3, size, size, device=device), torch.full((batch,), 0.3, device=device)
    with torch.no_grad():
        seconds = median_seconds(lambda: prior.denoise(x, sigma, dtype), repeats)
    lines.append(f'{"denoising":24s} {seconds:9.4f}   {batch / seconds:.1f} images per second')
    if device.type == 'cuda':
        lines.append(f'{"peak memory":24s} {torch.cuda.max_memory_allocated(device) / 2**20:9.0f} MiB')
        torch.cuda.reset_peak_memory_stats(device)
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cuda', help='default: cuda')
    parser.add_argument('--size', type=int, default=252, help='side of the results, a multiple of 4')
    parser.add_argument('--batches', default='1,8,32', help='sizes of the batches; default: 1,8,32')
    parser.add_argument('--dtypes', default='float32,float16,bf16', help='default: float32,float16,bf16')
    parser.add_argument('--repeats', type=int, default=10)
    arguments = parser.parse_args(argv)
    try:
        device = choose_device(arguments.device)
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    start = time.monotonic()
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else str(device)
    print(f'{name}, torch {torch.__version__}, {arguments.size}x{arguments.size} pixels')
    whole = restorations(Case.make(arguments.size, 1, device), 'one_pass')
    for part, restore in whole.items():
        print(f'{part:24s} {median_seconds(restore, 1):9.4f} s per image', flush=True)
    for batch in map(int, arguments.batches.split(',')):
        for dtype in arguments.dtypes.split(','):
            if time.monotonic() - start > TIME_LIMIT:
                print(f'\nbatch of {batch}, {dtype}: left out for lack of time')
                continue
            print(f'\nbatch of {batch}, {dtype}')
            try:
                lines = measure_batch(device, arguments.size, batch, DTYPES[dtype], arguments.repeats)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                lines = ['out of memory']
            print('\n'.join(lines), flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
