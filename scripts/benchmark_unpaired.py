"""Seconds of a one-pass network beside Diff-DKP on square images, as medians of one run, and the work of each part.

python scripts/benchmark_unpaired.py [--size 252] [--weights one_pass] [--parts]
"""

import argparse
import resource
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from benchmark_diffusion import median_seconds
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from dkp_plugin.archs.unfolded_weights import load_unfolded
from dkp_plugin.archs.unpaired_arch import UnpairedSR
from dkp_plugin.archs.unpaired_weights import load_unpaired
from dkp_plugin.engine.alternation import alternate
from dkp_plugin.estimators.evidence_dkp_estimator import EvidenceDKP
from dkp_plugin.estimators.unpaired_kernel_estimator import UnpairedKernel
from dkp_plugin.host.seeds import image_generator
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernel_families import build_family
from dkp_plugin.restorers.diffusion_restorer import Diffusion
from dkp_plugin.restorers.one_pass_restorer import OnePass
from dkp_plugin.restorers.unfolded_restorer import Unfolded

SEARCH_STEPS = 4  # of the estimator; the default of ``OnePass``


@dataclass(frozen=True)
class Case:
    """LR images of one kernel, (B, 3, h, w), and the kernel."""

    lq: Tensor
    kernel: Tensor
    degradation: Degradation

    @classmethod
    def make(cls, size: int, batch: int, device: torch.device) -> 'Case':
        """Blur and shrink random images of a side of ``size`` HR pixels."""
        generator, degradation = torch.Generator().manual_seed(0), Degradation(4, 19)
        family = build_family('gaussian', 4, 19, degradation.centre)
        kernel = family.render(family.sample(1, generator))
        lq = degradation.A(torch.rand(batch, 3, size, size, generator=generator), kernel)
        return cls(lq.to(device), kernel.to(device), degradation)


@dataclass(frozen=True)
class Part:
    """A part of the work.

    Attributes:
        seconds: Its duration.
        gflop: Billions of operations of its convolutions and matrix products; Fourier transforms are not counted.
        plain_rate: GFLOP per second of a plain convolution of the same shape.
    """

    seconds: float
    gflop: float
    plain_rate: float


def network_parts(net: UnpairedSR, case: Case, dtype: torch.dtype) -> dict[str, Callable[[], object]]:
    """The parts of the network as functions."""
    unfolded = load_unfolded(None).to(case.lq.device)
    with torch.no_grad():
        look = net.look(case.lq, dtype)
    return {
        'S, intermediate image': lambda: net.intermediate(case.lq, dtype),
        'N, kernel': lambda: net.estimate_kernel(case.lq, dtype),
        'R, refinement': lambda: net.finish(look, case.kernel),
        'unfolded': lambda: unfolded(case.lq, case.kernel, case.degradation, None, dtype),
    }


def measure(function: Callable[[], object], plain: Callable[[], object], repeats: int) -> Part:
    """Time a function and a plain convolution of its shape, and count the operations of both."""
    with torch.no_grad():
        return Part(median_seconds(function, repeats), gflop(function), gflop(plain) / median_seconds(plain, repeats))


def gflop(function: Callable[[], object]) -> float:
    """Billions of operations of the convolutions and matrix products of a call."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() / 1e9


def plain_convolutions(net: UnpairedSR, case: Case, dtype: torch.dtype) -> dict[str, Callable[[], object]]:
    """For the networks, their inner 3x3 convolution; for the search, the blur of an image by 64 kernels."""
    batch, _, height, width = case.lq.shape
    generator = torch.Generator().manual_seed(1)

    def make(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(case.lq.device)

    def inner(num_feat: int) -> Callable[[], object]:
        x = make(batch, num_feat, height, width).to(dtype, memory_format=torch.channels_last)
        weight = make(num_feat, num_feat, 3, 3).to(dtype, memory_format=torch.channels_last)
        return lambda: F.conv2d(x, weight, padding=1)

    size = case.degradation.scale * height
    x, kernels = make(3, 1, size, size), make(64, 1, 19, 19)
    return {
        'network': inner(len(net.s.head.weight)),
        'search': lambda: F.conv2d(x, kernels, stride=case.degradation.scale, padding=9),
    }


def search(case: Case, image: Tensor) -> Callable[[], object]:
    """The search of the kernel on an image that knows none."""

    def run() -> None:
        estimator = EvidenceDKP(pke_weight=0.0).to(case.lq.device)
        with torch.enable_grad():
            estimator.reset(case.lq[:1], case.degradation, image_generator(0, 'benchmark'))
            for _ in range(SEARCH_STEPS):
                estimator.step(image[:1])

    return run


def measure_parts(net: UnpairedSR, case: Case, dtype: torch.dtype, repeats: int) -> dict[str, Part]:
    """Measure the parts of the network and the search of a kernel, which takes one image."""
    plain = plain_convolutions(net, case, dtype)
    with torch.no_grad():
        image = net.intermediate(case.lq, dtype)
    parts = {name: measure(part, plain['network'], repeats) for name, part in network_parts(net, case, dtype).items()}
    return parts | {'search of the kernel': measure(search(case, image), plain['search'], repeats)}


def describe(parts: dict[str, Part]) -> list[str]:
    """A table: duration, operations, and how near to a plain convolution their rate is."""
    lines = [f'{"":24s} {"seconds":>9s} {"GFLOP":>8s} {"GFLOP/s":>8s} {"plain":>8s} {"share":>6s}']
    for name, part in parts.items():
        rate = part.gflop / part.seconds
        share = f'{100 * rate / part.plain_rate:5.0f}%'
        lines.append(f'{name:24s} {part.seconds:9.4f} {part.gflop:8.2f} {rate:8.1f} {part.plain_rate:8.1f} {share:>6s}')
    return lines


def restorations(case: Case, weights: str) -> dict[str, Callable[[], object]]:
    """Whole restorations of one image, by name."""
    search = EvidenceDKP(pke_weight=0.0, proposal=weights)
    search.check(case.degradation)
    methods = {
        'one pass': (UnpairedKernel(weights), OnePass(kernel_iters=1)),
        'with DKP': (search, OnePass(kernel_iters=SEARCH_STEPS)),
        'with DKP, unfolded': (
            search,
            OnePass(kernel_iters=SEARCH_STEPS, stage='intermediate'),
            Unfolded(precision='float32'),
        ),
        'Diff-DKP': (EvidenceDKP(), Diffusion(precision='float32')),
    }
    for _, restorer, *last in methods.values():
        if isinstance(restorer, OnePass):
            restorer.load(weights)
        for final in last:
            final.load(None)

    def restore(estimator: torch.nn.Module, restorer: torch.nn.Module, last: torch.nn.Module | None = None) -> None:
        generator = image_generator(0, 'benchmark')
        estimator, restorer = estimator.to(case.lq.device), restorer.to(case.lq.device)
        alternate(estimator, restorer, case.lq[:1], case.degradation, generator, restorer.num_iter)
        if last is not None:
            last.reset(case.lq[:1], case.degradation, generator)
            last.step(estimator().detach())

    return {name: lambda parts=parts: restore(*parts) for name, parts in methods.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, default=252, help='side of the result, a multiple of 4')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--weights', default='one_pass', help='unpaired, one_pass, or a file')
    parser.add_argument('--parts', action='store_true', help='the parts alone, without whole restorations')
    arguments = parser.parse_args()
    case, net = Case.make(arguments.size, 1, torch.device('cpu')), load_unpaired(arguments.weights)
    net.adopt(case.degradation)
    print(f'{arguments.size}x{arguments.size} pixels, {torch.get_num_threads()} threads, float32')
    print('\n'.join(describe(measure_parts(net, case, torch.float32, arguments.repeats))))
    if not arguments.parts:
        whole = restorations(case, arguments.weights)
        seconds = {name: median_seconds(part, arguments.repeats) for name, part in whole.items()}
        for name, value in seconds.items():
            ratio = f'   Diff-DKP takes {seconds["Diff-DKP"] / value:.1f} times as long' if name != 'Diff-DKP' else ''
            print(f'{name:24s} {value:9.4f} s{ratio}')
    print(f'{"peak memory":24s} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:8.0f} MiB')


if __name__ == '__main__':
    main()
