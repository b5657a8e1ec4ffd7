"""Unfolded optimisation with the compact prior: data steps and denoising in turn, trained end to end.

The iteration is that of half-quadratic splitting, unfolded into a network as in USRNet (Zhang et al., CVPR 2020). Ours:
the denoiser is the compact prior, which stays as it is and is adapted by matrices of low rank (LoRA, Hu et al., ICLR
2022); the data step weights the prior by a power law of frequency; noise has a spectrum.
"""

import math
from collections.abc import Mapping

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.func import functional_call

from dkp_plugin.archs.priors import load_prior
from dkp_plugin.archs.tiled_prior import map_tiles
from dkp_plugin.physics.coding_noise import LEVEL_UNIT, NUM_LEVELS, NoiseModel
from dkp_plugin.physics.degradation import SCALES, Degradation
from dkp_plugin.physics.error_spectrum import power_law

SIGMAS = 0.17, 0.04  # noise levels of the first and the last denoising step, before the training
EXPONENTS = 1.5, 0.5  # of the first and the last data step, before the training


class LowRank(nn.Module):
    """A change of the weight of a convolution by a matrix of low rank, and of its bias; it starts at 0.

    Args:
        weight: Of the convolution.
        rank: Of the change.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        size = weight[0].numel()
        self.reduce = nn.Parameter(torch.randn(rank, size) / math.sqrt(size))
        self.expand = nn.Parameter(torch.zeros(len(weight), rank))
        self.bias = nn.Parameter(torch.zeros(len(weight)))

    def forward(self, layer: nn.Conv2d) -> dict[str, Tensor]:
        """The changed parameters of the convolution, by name."""
        change = (self.expand @ self.reduce).view_as(layer.weight)
        return {'weight': layer.weight + change, 'bias': layer.bias + self.bias}


@ARCH_REGISTRY.register()
class UnfoldedPrior(nn.Module):
    """Restores LR images with a given kernel, at any scale of the package, with one set of weights.

    From the enlarged LR image x, ``num_step`` times, and once more without the second line::

        z = argmin_z ||A(z, k) - y||^2 + w ||z - x||^2 in the metric of |f|^p
        x = D(z, sigma)

    D is the :class:`~dkp_plugin.archs.compact_prior_arch.CompactPrior` of the package with a change of low rank in
    every convolution. w, p and sigma are learned for each step and scale. With noise, w grows by N(f), and sigma and
    the embedding of D by its levels.

    Args:
        num_step: Denoising steps.
        lora_rank: Rank of the changes.
    """

    def __init__(self, num_step: int = 3, lora_rank: int = 48) -> None:
        super().__init__()
        self.prior = _fixed(load_prior('compact'))
        self.layers = {name: layer for name, layer in self.prior.named_modules() if isinstance(layer, nn.Conv2d)}
        self.changes = nn.ModuleDict(
            {name.replace('.', '_'): LowRank(layer.weight, lora_rank) for name, layer in self.layers.items()}
        )
        self.condition = nn.Linear(NUM_LEVELS, self.prior.embed[-2].out_features)
        nn.init.zeros_(self.condition.weight)
        nn.init.zeros_(self.condition.bias)
        self.schedule = nn.ParameterDict(
            {
                'sigmas': _table(*(math.log(sigma) for sigma in SIGMAS), num_step),  # logarithms
                'exponents': _table(*EXPONENTS, num_step + 1),
                'weights': _table(-6.0, -6.0, num_step + 1),  # logarithms
                'precisions': _table(6.0, 6.0, num_step + 1),  # of x, over the noise; logarithms
                'gains': nn.Parameter(torch.full((num_step, NUM_LEVELS), 0.5)),  # of the noise levels, in sigma
            }
        )

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor]) -> 'UnfoldedPrior':
        """Build the network of the size that the weights have, and load them.

        Args:
            weights: A state dict.

        Raises:
            AttributeError, KeyError, RuntimeError, TypeError: if these are not the weights of such a network.
        """
        net = cls(len(weights['schedule.gains']), len(weights['changes.first.reduce']))
        net.load_state_dict(weights)
        return net

    def forward(
        self,
        lq: Tensor,
        kernel: Tensor,
        degradation: Degradation,
        noise: NoiseModel | None = None,
        dtype: torch.dtype = torch.float32,
        tile: int | None = None,
    ) -> list[Tensor]:
        """Restore.

        Args:
            lq: LR images, (B, 3, h, w) in [0, 1].
            kernel: (B or 1, 1, K, K), in the convention of ``degradation``.
            degradation: The forward model.
            noise: Of the LR images, on their device; None: none.
            dtype: Of the hidden layers.
            tile: Side, in HR pixels, of the tiles in which D works; None: the whole image.

        Returns:
            The images after each denoising step and, at the end, the result: ``num_step`` + 1 images
            (B, 3, s h, s w), not cut to [0, 1].
        """
        row = SCALES.index(degradation.scale)
        levels = lq.new_zeros(len(lq), NUM_LEVELS) if noise is None else noise.levels
        condition, changed = self.condition(levels / LEVEL_UNIT), self._changed_parameters()
        x, images = degradation.enlarge(lq), []
        for step, gains in enumerate(self.schedule['gains']):
            x = self._data_step(x, lq, kernel, degradation, noise, (row, step))
            variance = (2 * self.schedule['sigmas'][row, step]).exp() + (gains * levels).square().sum(1)
            sigma = variance.sqrt()

            def denoise(part: Tensor, sigma: Tensor = sigma) -> Tensor:
                return functional_call(self.prior, changed, (part, sigma, dtype, condition))

            x = denoise(x) if tile is None else map_tiles(denoise, x, tile)
            images.append(x)
        return [*images, self._data_step(x, lq, kernel, degradation, noise, (row, -1))]

    def _changed_parameters(self) -> dict[str, Tensor]:
        changed = {}
        for (name, layer), change in zip(self.layers.items(), self.changes.values(), strict=True):
            changed |= {f'{name}.{key}': value for key, value in change(layer).items()}
        return changed

    def _data_step(
        self,
        x: Tensor,
        lq: Tensor,
        kernel: Tensor,
        degradation: Degradation,
        noise: NoiseModel | None,
        place: tuple[int, int],
    ) -> Tensor:
        rows, columns = (torch.fft.fftfreq(side, device=lq.device) for side in x.shape[-2:])
        spectrum = power_law(rows, columns, self.schedule['exponents'][place].unsqueeze(0))[0]
        weight = self.schedule['weights'][place].exp()
        if noise is None:
            return degradation.data_step(x, lq, kernel, weight, spectrum)
        weight = weight + self.schedule['precisions'][place].exp() * noise.spectrum
        return degradation.data_step_by_channel(x, lq, kernel, weight, spectrum)


def _table(first: float, last: float, num: int) -> nn.Parameter:
    """Values of ``num`` steps, evenly from ``first`` to ``last``, for each scale, (5, num)."""
    return nn.Parameter(torch.linspace(first, last, num).repeat(len(SCALES), 1))


def _fixed(net: nn.Module) -> nn.Module:
    """Turn parameters into buffers that are not saved, since the package has them in a file of their own."""
    for module in net.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach(), persistent=False)
    return net
