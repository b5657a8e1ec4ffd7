"""Seconds of a one-pass network beside Diff-DKP on a square image, as medians of one run.

python scripts/benchmark_unpaired.py [--size 252] [--weights one_pass]
"""

import argparse
import resource
from collections.abc import Callable

import torch
from benchmark_diffusion import median_seconds

from dkp_plugin.archs.unpaired_weights import load_unpaired
from dkp_plugin.engine.alternation import alternate
from dkp_plugin.estimators.evidence_dkp_estimator import EvidenceDKP
from dkp_plugin.estimators.unpaired_kernel_estimator import UnpairedKernel
from dkp_plugin.host.seeds import image_generator
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernel_families import build_family
from dkp_plugin.restorers.diffusion_restorer import Diffusion
from dkp_plugin.restorers.one_pass_restorer import OnePass


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, default=252, help='side of the result, a multiple of 4')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--weights', default='one_pass', help='unpaired, one_pass, or a file')
    arguments = parser.parse_args()
    generator, size = torch.Generator().manual_seed(0), arguments.size
    degradation = Degradation(4, 19)
    family = build_family('gaussian', 4, 19, degradation.centre)
    kernel = family.render(family.sample(1, generator))
    lq = degradation.A(torch.rand(1, 3, size, size, generator=generator), kernel)
    net = load_unpaired(arguments.weights)
    net.adopt(degradation)
    one_pass = UnpairedKernel(arguments.weights), OnePass(kernel_iters=1)
    with_dkp = EvidenceDKP(pke_weight=0.0), OnePass(kernel_iters=4)
    for _, restorer in (one_pass, with_dkp):
        restorer.load(arguments.weights)

    def restore(estimator: torch.nn.Module, restorer: torch.nn.Module) -> None:
        alternate(estimator, restorer, lq, degradation, image_generator(0, 'benchmark'), restorer.num_iter)

    def without_gradients(function: Callable[..., object], *inputs: object) -> None:
        with torch.no_grad():
            function(*inputs)

    with torch.no_grad():
        look = net.look(lq)
    parts = {
        'S, intermediate image': lambda: without_gradients(net.intermediate, lq),
        'N, kernel': lambda: without_gradients(net.estimate_kernel, lq),
        'R, refinement': lambda: without_gradients(net.finish, look, kernel),
        'network, one pass': lambda: without_gradients(net, lq),
        'one pass': lambda: restore(*one_pass),
        'with DKP': lambda: restore(*with_dkp),
        'Diff-DKP': lambda: restore(EvidenceDKP(), Diffusion(precision='float32')),
    }
    seconds = {name: median_seconds(part, arguments.repeats) for name, part in parts.items()}
    print(f'{size}x{size} pixels, {torch.get_num_threads()} threads, float32')
    for name, value in seconds.items():
        ratio = f'   Diff-DKP takes {seconds["Diff-DKP"] / value:.1f} times as long' if name != 'Diff-DKP' else ''
        print(f'{name:24s} {value:8.3f} s{ratio}')
    print(f'{"peak memory":24s} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:8.0f} MiB')


if __name__ == '__main__':
    main()
