"""The kernels of the LR images of an unpaired training: self-supervised, each estimated from its image alone."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from basicsr.utils import get_root_logger
from torch import Tensor, nn

from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.host.processes import merge
from dkp_plugin.host.seeds import image_generator
from dkp_plugin.physics.borders import mirror_border
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernels import normalise

TINY = 1e-12  # below it the logarithm of a kernel says nothing


def mix_kernels(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Mix kernels in the logarithm, k ~ first^(1 - w) second^w; of two Gaussians it makes a Gaussian.

    Args:
        first: (B, 1, K, K).
        second: (B, 1, K, K).
        share: w in [0, 1], (B,).

    Returns:
        (B, 1, K, K) of sum 1.
    """
    logs = first.clamp_min(TINY).log().lerp(second.clamp_min(TINY).log(), share.to(first).view(-1, 1, 1, 1))
    return normalise(logs.exp())


def estimate_kernel(
    estimator: KernelEstimator,
    intermediate: Callable[[Tensor], Tensor],
    lq: Tensor,
    degradation: Degradation,
    generator: torch.Generator,
    num_steps: int,
) -> Tensor:
    """Estimate the kernel of an LR image, judged on its intermediate image.

    Args:
        estimator: Reset here.
        intermediate: The network S.
        lq: (1, 3, h, w). In the convention ``aligned`` the image is mirrored at its border, since the forward model is
            periodic; the benchmarks of ``released`` are periodic, too.
        degradation: The forward model without its kernel.
        generator: CPU generator, the only source of random numbers.
        num_steps: Steps of the estimator.

    Returns:
        (1, 1, K, K).
    """
    if degradation.convention == 'aligned':
        degradation = replace(degradation, margin=min(degradation.reach, *lq.shape[-2:]))
        lq = mirror_border(lq, degradation.margin)
    with torch.no_grad():
        x = intermediate(lq).clamp(0, 1)
    estimator.reset(lq, degradation, generator)
    for _ in range(num_steps):
        estimator.step(x)
    return estimator().detach()


class KernelBank(nn.Module):
    """The current estimate for each LR image, in the order of the images' names.

    Attributes:
        kernels: (N, 1, K, K) in the convention of the LR images.
        visits: How often each was estimated, (N,).

    Args:
        kernels: What it starts from, (N, 1, K, K).
        can_mix: Whether two of its kernels have others of their kind between them.
    """

    def __init__(self, kernels: Tensor, can_mix: bool) -> None:
        super().__init__()
        self.register_buffer('kernels', kernels)
        self.register_buffer('visits', torch.zeros(len(kernels), dtype=torch.long))
        self.can_mix = can_mix

    def draw(self, num: int, generator: torch.Generator) -> Tensor:
        """Draw kernels, (num, 1, K, K), half of them mixtures of two."""
        first, second = (self._pick(num, generator) for _ in range(2))
        share = torch.rand(num, generator=generator) * (torch.rand(num, generator=generator) < 0.5)
        return mix_kernels(first, second, share.to(first)) if self.can_mix else first

    def perturb(self, kernels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Move kernels (B, 1, K, K) towards others of the bank, by a share of ``strength`` at most."""
        others = self._pick(len(kernels), generator)
        share = (strength * torch.rand(len(kernels), generator=generator)).to(others)
        if self.can_mix:
            return mix_kernels(kernels, others, share)
        return kernels.lerp(others, share.view(-1, 1, 1, 1))

    def _pick(self, num: int, generator: torch.Generator) -> Tensor:
        return self.kernels[torch.randint(len(self.kernels), (num,), generator=generator).to(self.kernels.device)]

    def refresh(self, indices: Sequence[int], estimate: Callable[[int], Tensor], rank: int, world: int) -> None:
        """Estimate kernels anew, shared among the processes of a group.

        Args:
            indices: Of the images; the same in all processes.
            estimate: Gives the kernel of an image, (1, 1, K, K).
            rank: This process.
            world: Number of processes.
        """
        found = merge({str(index): estimate(index).cpu() for index in indices[rank::world]})
        for index, kernel in found.items():
            self.kernels[int(index)] = kernel[0].to(self.kernels)
            self.visits[int(index)] += 1

    def fill(self, estimate: Callable[[int], Tensor], rank: int, world: int) -> None:
        """Estimate all kernels and log how long that took."""
        start = time.perf_counter()
        self.refresh(range(len(self.kernels)), estimate, rank, world)
        seconds = time.perf_counter() - start
        get_root_logger().info(f'Kernels of {len(self.kernels)} LR images estimated in {seconds:.0f} s')


def turn(visit: int, num_images: int, manual_seed: int, num: int = 1) -> list[int]:
    """The images whose turn it is at a visit, counted from 0: all images once in a seeded order, then in another."""
    turns = range(visit * num, (visit + 1) * num)
    return [_order(place // num_images, num_images, manual_seed)[place % num_images] for place in turns]


def _order(epoch: int, num_images: int, manual_seed: int) -> list[int]:
    generator = image_generator(manual_seed, f'bank {epoch}')
    return torch.randperm(num_images, generator=generator).tolist()
