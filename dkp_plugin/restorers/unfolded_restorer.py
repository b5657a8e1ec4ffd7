"""The restorer of the unfolded prior: the last step after any kernel estimator."""

from typing import Literal

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor

from dkp_plugin.archs.precision import check_precision, compute_dtype
from dkp_plugin.archs.self_ensemble import restore_ensemble
from dkp_plugin.archs.unfolded_arch import UnfoldedPrior
from dkp_plugin.archs.unfolded_weights import load_unfolded
from dkp_plugin.physics.borders import taper_border
from dkp_plugin.physics.coding_noise import NoiseModel
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernels import convert_convention, crop_kernel, from_aligned
from dkp_plugin.restorers.base import Restorer, Tiling
from dkp_plugin.restorers.one_pass_restorer import MISFIT_SCALE


@ARCH_REGISTRY.register()
class Unfolded(Restorer):
    """Restores an image in one pass with the estimator's kernel, by an unfolded network.

    As the final restorer, ``restorer: {final: Unfolded}``, it takes the kernel that an alternation has found. As
    ``network_g``, it suits ``FixedKernel`` and estimators that find the kernel from the LR image alone. The weights are
    those of the package, for all scales, or the file of ``path: pretrain_network_g`` or ``restorer: pretrain``.

    Args:
        ensemble: 8: average the results of the image turned and mirrored, which takes eight passes; 1: one pass.
        precision: ``float32``, ``bf16`` for the hidden layers, or ``auto``: bf16 where it is faster.
    """

    num_iter = 1
    updates_kernel = False
    has_weights = True
    tiling = Tiling.SUPPORTED

    def __init__(self, ensemble: Literal[1, 8] = 1, precision: str = 'auto') -> None:
        super().__init__()
        check_precision(precision)
        self.ensemble, self.precision = ensemble, precision
        self.net: UnfoldedPrior | None = None

    def load(self, path: str | None) -> None:
        """Load a file of weights; None or ``auto``: those of the package.

        Raises:
            UserError: for a file that is missing, damaged or of another network.
        """
        self.net = load_unfolded(path)

    @property
    def shows_misfit(self) -> bool:
        """As :class:`~dkp_plugin.restorers.one_pass_restorer.OnePass`."""
        return self.degradation.scale >= MISFIT_SCALE

    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        self.net.to(lq.device)
        self.lq, self.degradation = lq, degradation
        self.x = degradation.enlarge(lq).clamp(0, 1)

    def forward(self) -> Tensor:
        return self.x

    def step(self, kernel: Tensor) -> dict[str, Tensor]:
        scale, convention = self.degradation.scale, self.degradation.convention
        noise, dtype = self.degradation.noise_model(self.lq), compute_dtype(self.precision, self.lq.device)
        inside = convert_convention(kernel, scale, convention, 'aligned')[0]
        inside = crop_kernel(inside, inside.shape[-1] + 2 * (scale - 1))  # so that turns cut nothing off
        aligned = Degradation(scale, inside.shape[-1])

        def restore(lq: Tensor, kernel: Tensor, noise: NoiseModel | None) -> Tensor:
            return self.net(lq, kernel, aligned, noise, dtype, self.tile)[-1]

        with torch.no_grad():
            lq = taper_border(self.lq, kernel, self.degradation)
            x = restore_ensemble(restore, lq, inside, noise, scale, self.ensemble)
        self.x = from_aligned(x, scale, convention).clamp(0, 1)
        return {'l_x_data': (self.degradation.A(self.x, kernel) - self.lq).square().mean()}
