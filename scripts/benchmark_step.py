"""Seconds per step of every DIP method and of its parts, compared with a plain pass of the network, there and back.

    python scripts/benchmark_step.py --size 252 --repeats 9

All values are medians over the repeats. The cases alternate, so that drifts of the machine affect all of them equally.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from dkp_plugin.archs.precision import has_fast_bf16
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.estimators.bsrdm_estimator import BSRDM
from dkp_plugin.estimators.dkp_estimator import DKP
from dkp_plugin.estimators.double_dip_estimator import DoubleDIP
from dkp_plugin.estimators.fkp_estimator import FKP
from dkp_plugin.estimators.kernelgan_estimator import KernelGAN
from dkp_plugin.estimators.softmax_estimator import Softmax
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.dip_restorer import DIP

SCALE = 4
METHODS: dict[str, Callable[[], KernelEstimator]] = {
    'DKP, L = 5': lambda: DKP(num_samples=5, warmup_iters=2),
    'DKP, L = 256': lambda: DKP(num_samples=256, warmup_iters=2),
    'FKP': lambda: FKP(freeze_iters=0),
    'DoubleDIP': DoubleDIP,
    'Softmax': Softmax,
    'BSRDM': BSRDM,
    'KernelGAN': lambda: KernelGAN(num_iter=1),  # it trains before the first step, which is not timed here
}


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """Wall-clock seconds of one call, the device's queue included."""
    start = time.perf_counter()
    run()
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


class Case:
    """One DIP method on one LR image, timed part by part.

    Args:
        method: A key of ``METHODS``.
        precision: Of the restorer.
        lq: LR image.
    """

    def __init__(self, method: str, precision: str, lq: torch.Tensor) -> None:
        self.name, self.device = f'{method}, {precision}', lq.device
        self.estimator, self.restorer = METHODS[method](), DIP(precision=precision)
        generator = torch.Generator().manual_seed(0)
        for part in (self.estimator, self.restorer):
            part.reset(lq, Degradation(SCALE, 19, 'released'), generator)
        self.times: dict[str, list[float]] = {part: [] for part in ('DIP forward', 'RKS', 'kernel', 'DIP backward')}
        self.plain: list[float] = []

    def measure(self) -> None:
        """Time one step, and a plain forward and backward pass of the network on the same input."""
        self.plain.append(seconds(self._plain_pass, self.device))
        self.times['DIP forward'].append(seconds(self.restorer, self.device))
        x = self.restorer()  # already computed
        if isinstance(self.estimator, DKP):
            self.times['RKS'].append(seconds(lambda: self.estimator.rks_step(x), self.device))
            self.estimator.iteration = self.estimator.residual_interval - 1  # no RKS, but Adam: the costliest
        self.times['kernel'].append(seconds(lambda: self.estimator.step(x), self.device))
        self.times['DIP backward'].append(seconds(lambda: self.restorer.step(self.estimator()), self.device))

    def _plain_pass(self) -> None:
        self.restorer.net(self.restorer.noise).square().mean().backward()

    def report(self, reference: float) -> None:
        """Print the step, its ratios, and the shares of its parts.

        RKS runs once in ``rks_interval`` steps. What is called backward includes the loss and Adam.
        """
        parts = {name: statistics.median(values) for name, values in self.times.items() if values}
        if 'RKS' in parts:
            parts['RKS'] /= self.estimator.rks_interval
        step, plain = sum(parts.values()), statistics.median(self.plain)
        shares = '  '.join(f'{name} {100 * value / step:4.1f} %' for name, value in parts.items())
        print(
            f'{self.name:23s} {step:6.3f} s/step  {step / plain:5.2f} x plain pass ({plain:.3f} s)  '
            f'{step / reference:5.2f} x float32 plain pass   {shares}'
        )


def main() -> None:
    """Measure all cases in turn and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, default=252, help='side of the HR result in pixels')
    parser.add_argument('--repeats', type=int, default=9)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=list(METHODS), metavar='METHOD')
    arguments = parser.parse_args()

    device = torch.device(arguments.device)
    side = arguments.size // SCALE
    lq = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1)).to(device)
    precisions = ['float32', 'bf16'] if has_fast_bf16(device) else ['float32']
    cases = [Case(method, precision, lq) for precision in precisions for method in arguments.methods]
    for repeat in range(arguments.repeats + 1):
        for case in cases:
            case.measure()
            if repeat == 0:  # the first pass fills caches
                case.plain.clear()
                for values in case.times.values():
                    values.clear()
    print(f'{SCALE * side}x{SCALE * side} result, {torch.get_num_threads()} threads, medians of {arguments.repeats}')
    reference = statistics.median(cases[0].plain)
    for case in cases:
        case.report(reference)


if __name__ == '__main__':
    main()
