"""Restorers that take one pass of a trained network, once an estimator has found the kernel."""

from typing import Literal

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from pydantic import PositiveInt
from torch import Tensor

from dkp_plugin.archs.lq_denoiser import LqDenoiser
from dkp_plugin.archs.precision import check_precision, compute_dtype
from dkp_plugin.archs.self_ensemble import finish_ensemble
from dkp_plugin.archs.unpaired_arch import UnpairedSR
from dkp_plugin.archs.unpaired_weights import PACKAGE_WEIGHTS, load_unpaired, package_scales
from dkp_plugin.host.errors import UserError
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.base import Restorer

MISFIT_SCALE = 4
SAME_KERNEL = 1e-6  # largest difference between two computations of one kernel


@ARCH_REGISTRY.register()
class OnePass(Restorer):
    """Restores an image by a trained :class:`~dkp_plugin.archs.unpaired_arch.UnpairedSR`.

    While the estimator looks for the kernel, the current image is the intermediate one, which knows no kernel; so
    kernels are judged as in training. The last step takes the kernel and returns the image that ``stage`` names. The
    weights are those of the package for the scale, or the file of ``path: pretrain_network_g``.

    Args:
        kernel_iters: Steps of the estimator; an estimator that needs but one is not slowed down by more.
        denoise: Let the compact prior denoise the LR image first, for weights that take no noise.
        stage: What to return in the end: ``intermediate``, where another restorer is the final one, the ``variational``
            model's image, or the ``result``.
        ensemble: 8: average the results of the image turned and mirrored, which takes eight passes; 1: one pass.
        precision: ``float32``, ``bf16`` for the hidden layers, or ``auto``: bf16 where it is faster.
    """

    has_weights = True
    scales = tuple(PACKAGE_WEIGHTS['one_pass'])
    auto_tile = 2048  # it needs little memory, and the closed forms lose at the borders of tiles
    package_weights = 'one_pass'

    def __init__(
        self,
        kernel_iters: PositiveInt = 4,
        denoise: bool = True,
        stage: Literal['intermediate', 'variational', 'result'] = 'result',
        ensemble: Literal[1, 8] = 1,
        precision: str = 'float32',
    ) -> None:
        super().__init__()
        check_precision(precision)
        if (stage, ensemble) == ('intermediate', 8):
            raise ValueError('ensemble: 8 needs a stage that takes the kernel: variational or result')
        self.kernel_iters, self.num_iter = kernel_iters, kernel_iters + 1
        self.stage, self.ensemble, self.precision = stage, ensemble, precision
        self.denoiser = LqDenoiser() if denoise else None
        self.path: str | None = None
        self.net: UnpairedSR | None = None

    def load(self, path: str | None) -> None:
        """Load a file of weights; None or ``auto``: the first image loads those of the package for its scale.

        Raises:
            UserError: for a file that is missing, damaged or of another network.
        """
        self.path, self.net = path, None
        self.scales = package_scales(path, self.package_weights)
        if self.scales is None:
            self.net = load_unpaired(path)
            self.scales = (self.net.degradation.scale,)

    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        if self.net is None:
            self.net = load_unpaired(self.path, self.package_weights, scale=degradation.scale)
        try:
            self.net.to(lq.device).adopt(degradation)
        except ValueError as error:
            raise UserError(f'network_g: {error}') from None
        self.iteration, self.degradation, self.lq, self.passed = 0, degradation, lq, {}
        dtype = compute_dtype(self.precision, lq.device)
        noise = degradation.noise_model(lq)
        if self.denoiser is not None and not self.net.takes_noise:
            lq = self.denoiser(lq, degradation.noise, dtype)
        with torch.no_grad():
            self.look = self.net.look(lq, dtype, noise)
            self.x = self.net.image_outside(self.look.intermediate).clamp(0, 1)

    @property
    def updates_kernel(self) -> bool:
        return self.iteration < self.kernel_iters

    @property
    def shows_misfit(self) -> bool:
        """Below x4, the misfit of one-pass results does not tell good ones from bad ones (``docs/limits.md``)."""
        return self.degradation.scale >= MISFIT_SCALE

    def num_kernel_iter(self, num_iter: int) -> int:
        return self.kernel_iters

    def forward(self) -> Tensor:
        return self.x

    def stages(self) -> dict[str, Tensor]:
        return self.passed

    def step(self, kernel: Tensor) -> dict[str, Tensor]:
        self.iteration += 1
        if self.iteration == self.num_iter and self.stage != 'intermediate':
            with torch.no_grad():
                known = None if self._is_own(kernel) else kernel
                restored = finish_ensemble(self.net, self.look, known, self.ensemble)
                self.x = getattr(restored, self.stage).clamp(0, 1)
                self.passed = {name: getattr(restored, name).clamp(0, 1) for name in ('intermediate', 'variational')}
        return {'l_x_data': (self.degradation.A(self.x, kernel) - self.lq).square().mean()}

    def _is_own(self, kernel: Tensor) -> bool:
        """Whether it is the network's own kernel; the network knows how far to trust it, and trusts others more."""
        own = self.net.kernel_outside(self.look.log_kernel.exp())
        return own.shape == kernel.shape and bool((own - kernel).abs().max() < SAME_KERNEL)


@ARCH_REGISTRY.register()
class Unpaired(OnePass):
    """:class:`OnePass` with the weights of the unpaired training, which has seen Gaussian kernels and no noise."""

    package_weights = 'unpaired'
    scales = tuple(PACKAGE_WEIGHTS['unpaired'])
    paper = 'Dong et al., IJCV 2023'
