"""Median seconds of each part of Diff-DKP on a square image: python scripts/benchmark_diffusion.py [--size 252]"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import torch

from dkp_plugin.archs.precision import has_fast_bf16
from dkp_plugin.archs.priors import load_prior
from dkp_plugin.engine.alternation import alternate
from dkp_plugin.estimators.evidence_dkp_estimator import EvidenceDKP
from dkp_plugin.host.seeds import image_generator
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.error_spectrum import power_law
from dkp_plugin.physics.evidence import FrequencyGrid, negative_log_evidence
from dkp_plugin.physics.kernel_families import build_family
from dkp_plugin.restorers.diffusion_restorer import Diffusion


def median_seconds(function: Callable[[], object], repeats: int) -> float:
    """Median time of ``repeats`` calls after a warm-up call."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        function()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--size', type=int, default=252, help='side of the result, a multiple of 4')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--samples', type=int, default=64, help='random kernels L')
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    generator, size = torch.Generator().manual_seed(0), arguments.size
    degradation = Degradation(4, 19)
    family = build_family('gaussian', 4, 19, degradation.centre)
    kernels = family.render(family.sample(arguments.samples, generator))
    x = torch.rand(1, 3, size, size, generator=generator)
    lq = degradation.A(x, kernels[:1])
    net, sigma, grid = load_prior('compact'), torch.tensor([0.3]), FrequencyGrid(lq, 4)
    exponents = 3 * torch.rand(arguments.samples, generator=generator)
    stretches = 4 * torch.rand(arguments.samples, 2, generator=generator) - 2
    frequencies = torch.fft.fftfreq(size)
    spectrum = power_law(frequencies, frequencies, torch.tensor([1.5]))[0]

    def judge() -> torch.Tensor:
        spectra = power_law(grid.rows, grid.columns, exponents, stretches)
        return negative_log_evidence(x, lq, kernels, spectra, 2e-6, grid)

    cpu = torch.device('cpu')
    parts = {'denoising, float32': lambda: net.denoise(x, sigma)}
    if has_fast_bf16(cpu):
        parts['denoising, bf16'] = lambda: net.denoise(x, sigma, torch.bfloat16)
    parts[f'evidence of {arguments.samples} kernels'] = judge
    parts['data step'] = lambda: degradation.data_step(x, lq, kernels[:1], 1e-3, spectrum)
    for name, function in parts.items():
        print(f'{name:24s} {median_seconds(function, arguments.repeats):8.4f} s')

    def restore() -> None:
        with torch.enable_grad():
            estimator, restorer = EvidenceDKP(), Diffusion()
            alternate(estimator, restorer, lq, degradation, image_generator(0, 'benchmark'))

    print(f'{"restoration as a whole":24s} {median_seconds(restore, 1):8.4f} s')
    print(f'{"peak memory":24s} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:8.0f} MiB')


if __name__ == '__main__':
    main()
