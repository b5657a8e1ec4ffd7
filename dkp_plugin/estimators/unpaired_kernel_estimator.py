"""The kernel network of the unpaired system as an estimator."""

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor

from dkp_plugin.archs.lq_denoiser import LqDenoiser
from dkp_plugin.archs.unpaired_arch import UnpairedSR
from dkp_plugin.archs.unpaired_weights import PACKAGE_WEIGHTS, load_unpaired
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.physics.borders import crop_border, mirror_border
from dkp_plugin.physics.degradation import Degradation


@ARCH_REGISTRY.register()
class UnpairedKernel(KernelEstimator):
    """Estimates the kernel by one pass of a trained network, from the LR image alone; the HR estimate is not used.

    Args:
        pretrained: File of weights of an :class:`~dkp_plugin.archs.unpaired_arch.UnpairedSR`; or those of the package,
            for the scale: ``unpaired``, which is also ``auto``, or ``one_pass``.
        denoise: Let the compact prior denoise the LR image first, for weights that take no noise.
    """

    paper = 'Dong et al., IJCV 2023'
    kernel_families = ('gaussian',)
    scales = tuple(PACKAGE_WEIGHTS['unpaired'])  # one_pass has more
    has_weights = True

    def __init__(self, pretrained: str = 'auto', denoise: bool = True) -> None:
        super().__init__()
        self.pretrained = pretrained
        self.denoiser = LqDenoiser() if denoise else None
        self.net: UnpairedSR | None = None

    def _adopt(self, degradation: Degradation) -> None:
        try:
            if self.net is None:
                self.net = load_unpaired(self.pretrained, scale=degradation.scale)
            self.net.adopt(degradation)
        except (UserError, ValueError) as error:
            raise OptionError(f'network_k: {error}') from None

    def check(self, degradation: Degradation) -> None:
        """Load the weights.

        Raises:
            OptionError: for a file that is missing, damaged or of another network, and for weights of another scale.
        """
        self._adopt(degradation)

    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        self._adopt(degradation)
        # Part of an image has an open border; the network knows periodic and mirrored ones.
        lq = mirror_border(crop_border(lq, degradation.margin), degradation.margin)
        noise = degradation.noise_model(lq)
        if self.denoiser is not None and not self.net.takes_noise:
            lq = self.denoiser(lq, degradation.noise)
        with torch.no_grad():
            self.kernel = self.net.to(lq.device).estimate_kernel(lq, noise=noise)

    def forward(self) -> Tensor:
        return self.kernel

    def step(self, x: Tensor) -> dict[str, Tensor]:
        return {}
