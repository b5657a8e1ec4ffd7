"""LR crops made from sharp photographs alone, for the trainings of networks that restore photographs."""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from dkp_plugin.archs.precision import PRECISIONS
from dkp_plugin.data.observation import Observation
from dkp_plugin.estimators.random_kernels import perturb
from dkp_plugin.models.training_options import Block, Number, TrainBlock
from dkp_plugin.models.unpaired_options import Share
from dkp_plugin.physics.coding_noise import NoiseModel
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernel_families import KernelFamily, build_family

FAMILIES = 'gaussian', 'disc', 'line', 'motion'


class PhotoTrain(TrainBlock):
    """Keys of the block ``train`` of all these trainings; those without a word here are BasicSR's.

    ``families``: shares of the kernel families. ``perturbation``: largest step, as a share of each parameter's range,
    by which half of the kernels that the network gets are wrong. ``clean_share``, ``noise_range``, ``quality_range``:
    see :class:`~dkp_plugin.data.observation.Observation`. ``precision``: of the hidden layers.
    ``max_grad_norm``: of the whole network.
    """

    families: dict[Literal[FAMILIES], Annotated[float, Field(gt=0)]] = Field(min_length=1)
    perturbation: Share = 0.05
    clean_share: Share = 0.5
    noise_range: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]] = (0.0, 25.0)
    quality_range: tuple[Annotated[int, Field(ge=1, le=100)], Annotated[int, Field(ge=1, le=100)]] = (30, 100)
    precision: Literal[PRECISIONS] = 'auto'
    max_grad_norm: Number = math.inf
    ema_decay: Annotated[float, Field(gt=0, lt=1)]
    pixel_opt: Block


def draw_kernels(family: KernelFamily, num: int, step: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw kernels, and what an estimator might take for them.

    Args:
        family: A mixture; a wrong kernel is of the same family as the true one.
        num: Number B of kernels.
        step: Largest standard deviation of the error, as a share of each parameter's range.
        generator: CPU generator.

    Returns:
        Kernels and estimates, (B, 1, K, K) each; half of the estimates are exact, and small errors are more frequent
        than large ones.
    """
    params = family.sample(num, generator)
    strength, kind = torch.rand(2, num, 1, generator=generator)
    strength = torch.where(kind < 0.5, 0.0, step * strength.square())
    moved = perturb(params, strength, generator)
    moved[:, 0] = params[:, 0]
    return family.render(params), family.render(moved)


class PhotoSynthesis:
    """Blurs and subsamples crops with random kernels of all families, and adds noise and JPEG errors to some.

    Args:
        options: Of the training.
        degradation: The forward model.
    """

    def __init__(self, options: PhotoTrain, degradation: Degradation) -> None:
        sizes = degradation.scale, degradation.kernel_size, degradation.centre
        self.family = build_family('auto', *sizes, shares=options.families)
        self.observe = Observation(options.clean_share, options.noise_range, options.quality_range)
        self.degradation, self.perturbation = degradation, options.perturbation

    def __call__(self, gt: Tensor, generator: torch.Generator) -> tuple[Tensor, NoiseModel | None, Tensor, Tensor]:
        """Make LR crops.

        Args:
            gt: (B, 3, H, W), on any device.
            generator: CPU generator.

        Returns:
            On the device of ``gt``: LR crops (B, 3, H / s, W / s), their noise, their kernels, and what an estimator
            might take for these, (B, 1, K, K) each.
        """
        kernels, estimates = draw_kernels(self.family, len(gt), self.perturbation, generator)
        lq, noise = self.observe(self.degradation.A(gt.cpu(), kernels), generator)
        lq, kernels, estimates = (tensor.to(gt.device) for tensor in (lq, kernels, estimates))
        return lq, None if noise is None else noise.to(gt.device), kernels, estimates
