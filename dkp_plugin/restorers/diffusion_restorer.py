"""Diffusion: a trained denoiser as image prior, made consistent with the LR image at every step (Diff-DKP)."""

import math
from typing import Literal

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from dkp_plugin.archs.image_prior import ImagePrior
from dkp_plugin.archs.precision import check_precision, compute_dtype
from dkp_plugin.archs.priors import load_prior
from dkp_plugin.archs.symmetries import transform, transform_back
from dkp_plugin.archs.tiled_prior import TiledPrior
from dkp_plugin.physics.degradation import ROUNDING_VARIANCE, Degradation, aliased_power, kernel_to_otf
from dkp_plugin.physics.error_spectrum import power_law
from dkp_plugin.restorers.base import Restorer, Tiling

SAMPLERS = ('renoise', 'ddpm', 'ddim')
GRADIENT_STEPS = 10  # per data step by gradient descent


def noise_levels(sigma_range: tuple[float, float], num: int) -> list[float]:
    """A geometric sequence of ``num`` noise levels from the first to the second value of ``sigma_range``."""
    high, low = sigma_range
    return [high * (low / high) ** (index / max(num - 1, 1)) for index in range(num)]


def reverse_step(x_t: Tensor, x0: Tensor, sigma: float, sigma_next: float, noise: Tensor, sampler: str) -> Tensor:
    """Step from one noise level to the next lower one, with x_t = x + sigma n.

    Args:
        x_t: Image at ``sigma``, (B, C, H, W).
        x0: Estimate of the clean image, (B, C, H, W).
        sigma: Current noise level.
        sigma_next: Next noise level.
        noise: Standard normal noise, (B, C, H, W).
        sampler: ``renoise`` replaces all noise by new noise; ``ddpm`` draws from the posterior of the next image given
            x_t and x0 (Ho et al., NeurIPS 2020, eq. 6 and 7); ``ddim`` scales the existing noise (Song et al., ICLR
            2021, eq. 12 with eta = 0).

    Returns:
        The image at ``sigma_next``.
    """
    if sampler == 'renoise':
        return x0 + sigma_next * noise
    if sampler == 'ddim':
        return x0 + sigma_next / sigma * (x_t - x0)
    share = (sigma_next / sigma) ** 2
    return x0 + share * (x_t - x0) + sigma_next * math.sqrt(1 - share) * noise


@ARCH_REGISTRY.register()
class Diffusion(Restorer):
    """Reverse diffusion with a data step: a first phase that adds noise again, and a second phase without new noise.

    In the first phase each step denoises the image, lets the estimator update the kernel on the result, makes the
    result consistent with the LR image, and moves to the next noise level. In the second phase the kernel is fixed;
    the denoiser and the data step alternate without new noise (plug and play), which removes the remaining noise.
    Starting the second phase at a higher noise level is worse: by 1.6 dB on butterfly at 0.25 instead of 0.02.

    Args:
        prior: ``compact``, the network shipped with the package; ``guided`` or ``guided_class``, the 256x256
            guided-diffusion network without or with classes, whose weights ``path: pretrain_network_g`` must name.
        num_steps: Steps of the first phase.
        sigma_range: Noise levels of the first phase, from high to low, in the units of [0, 1].
        num_final_steps: Steps of the second phase; 0: none.
        final_sigma_range: Noise levels of the second phase, from high to low.
        freeze_sigma: Noise level of the first phase below which the kernel is fixed, since the image then adapts to it.
        sampler: See :func:`reverse_step`.
        data_step: ``closed_form``, or the paper's ``gradient`` descent on ||A(x, k) - y||^2.
        error_exponent: The data step models the error spectrum of the denoised image as |f|^-error_exponent.
        num_chains: Number of chains with independent noise once the kernel is fixed; the result is their mean.
        augment: Rotate and mirror the image at random before each denoising.
        label: Class for ``guided_class``, 0 to 999.
        precision: ``float32``, ``bf16`` for the hidden layers, or ``auto``: bf16 where it is faster.
    """

    paper = 'Yang et al., CVPR 2024'
    has_weights = True
    shows_misfit = True

    def __init__(
        self,
        prior: Literal['compact', 'guided', 'guided_class'] = 'compact',
        num_steps: PositiveInt = 50,
        sigma_range: tuple[PositiveFloat, PositiveFloat] = (1.0, 0.02),
        num_final_steps: NonNegativeInt = 10,
        final_sigma_range: tuple[PositiveFloat, PositiveFloat] = (0.02, 0.01),
        freeze_sigma: float = 0.3,
        sampler: Literal[SAMPLERS] = 'renoise',
        data_step: Literal['closed_form', 'gradient'] = 'closed_form',
        error_exponent: float = 1.5,
        num_chains: PositiveInt = 1,
        augment: bool = True,
        label: NonNegativeInt | None = None,
        precision: str = 'auto',
    ) -> None:
        super().__init__()
        check_precision(precision)
        for key, (high, low) in (('sigma_range', sigma_range), ('final_sigma_range', final_sigma_range)):
            if high < low:
                raise ValueError(f'{key}: [{high}, {low}] does not go from high to low')
        if (prior == 'guided_class') != (label is not None):
            raise ValueError(f'label: {label} does not fit prior {prior}; guided_class needs a label, others have none')
        self.prior, self.label, self.precision = prior, label, precision
        self.levels = noise_levels(sigma_range, num_steps)
        self.final_levels = noise_levels(final_sigma_range, num_final_steps)
        self.num_iter = num_steps + num_final_steps
        self.freeze_sigma, self.sampler, self.data_step, self.augment = freeze_sigma, sampler, data_step, augment
        self.error_exponent, self.num_chains = error_exponent, num_chains
        self.net: ImagePrior | None = None

    def load(self, path: str | None) -> None:
        """Load the weights of the prior; None: the shipped ones.

        Raises:
            UserError: if the file is missing, damaged or of another network, or if a file must be named.
        """
        self.net = load_prior(self.prior, path)

    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        if self.net is None:
            self.load(None)
        self.net.to(lq.device)
        self.degradation, self.generator, self.iteration = degradation, generator, 0
        self.lq = lq
        self.dtype = compute_dtype(self.precision, lq.device)
        rows, columns = (torch.fft.fftfreq(degradation.scale * side) for side in lq.shape[-2:])
        self.spectrum = power_law(rows, columns, torch.tensor([self.error_exponent]))[0].to(lq.device)
        self.noise_spectrum = None
        if degradation.coding is not None:
            self.noise_spectrum = degradation.noise_model(lq).spectrum + ROUNDING_VARIANCE
        x0 = degradation.enlarge(self.lq).clamp(0, 1)
        self.x_t = x0 + self.levels[0] * self._noise(x0)
        self._denoise(self.levels[0])

    def forward(self) -> Tensor:
        return self.x0.mean(0, keepdim=True).clamp(0, 1)

    def step(self, kernel: Tensor) -> dict[str, Tensor]:
        sigma = self._level(self.iteration)
        innovation = self.degradation.A(self.x0, kernel) - self.lq
        x0 = self._make_consistent(kernel, sigma)
        self.iteration += 1
        if self.iteration == self.num_iter:
            self.x0 = x0
        else:
            sigma_next = self._level(self.iteration)
            if self.iteration < len(self.levels):
                if not self.updates_kernel:  # kernels estimated from the mean of several chains are worse
                    x0 = x0.expand(self.num_chains, -1, -1, -1)
                self.x_t = reverse_step(self.x_t, x0, sigma, sigma_next, self._noise(x0), self.sampler)
            else:
                self.x_t = x0
            self._denoise(sigma_next)
        return {'l_x_innovation': innovation.square().mean()}

    @property
    def tiling(self) -> Tiling:
        return Tiling.SUPPORTED if self.net is None or self.net.native_tile is None else Tiling.INTERNAL

    @property
    def updates_kernel(self) -> bool:
        return self.iteration < len(self.levels) and self._level(self.iteration) >= self.freeze_sigma

    def num_kernel_iter(self, num_iter: int) -> int:
        return sum(level >= self.freeze_sigma for level in self.levels)

    def _level(self, iteration: int) -> float:
        return (self.levels + self.final_levels)[iteration]

    def _noise(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.generator).to(like)

    def _denoise(self, sigma: float) -> None:
        """Denoise ``x_t`` at the noise level ``sigma`` into ``x0``."""
        index = int(torch.randint(8, (), generator=self.generator)) if self.augment else 0
        x_t = transform(self.x_t, index)
        tile = self.net.native_tile or self.tile
        net = self.net if tile is None else TiledPrior(self.net, tile)
        label = None if self.label is None else torch.full((len(x_t),), self.label, device=x_t.device)
        with torch.no_grad():
            x0 = net.denoise(x_t, torch.full((len(x_t),), sigma, device=x_t.device), self.dtype, label)
        self.x0 = transform_back(x0, index)

    def _make_consistent(self, kernel: Tensor, sigma: float) -> Tensor:
        if self.data_step == 'closed_form':
            if self.noise_spectrum is not None:
                alpha = self.noise_spectrum / sigma**2
                return self.degradation.data_step_by_channel(self.x0, self.lq, kernel, alpha, self.spectrum)
            alpha = self.degradation.noise_variance / sigma**2
            return self.degradation.data_step(self.x0, self.lq, kernel, alpha, self.spectrum)
        x = self.x0
        otf = kernel_to_otf(kernel, x.shape[-2:])
        step_size = 1 / aliased_power(otf.abs().square(), self.degradation.scale).max()  # the largest stable step
        for _ in range(GRADIENT_STEPS):
            x = x - step_size * self.degradation.A_adjoint(self.degradation.A(x, kernel) - self.lq, kernel)
        return x
