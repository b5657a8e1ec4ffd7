"""USRNet (Zhang et al., CVPR 2020): the non-blind network to which FKP and DKP hand their kernels."""

from pathlib import Path

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from pydantic import NonNegativeFloat
from torch import Tensor

from dkp_plugin.archs.usrnet_arch import USRNetwork
from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.io.weight_files import read_weights
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.base import Restorer

SOURCE = 'https://github.com/cszn/USRNet'


@ARCH_REGISTRY.register()
class USRNet(Restorer):
    """Restores an image in one pass, for the kernel that the estimator has without looking at an image.

    So it goes with ``FixedKernel`` and with estimators that do all their work on the LR image at once; for the others
    it is the restorer to finish with, ``restorer: {final: USRNet, pretrain: <file>}``. The weights are
    ``usrnet_tiny.pth`` or ``usrnet.pth`` as released, by ``path: pretrain_network_g`` or ``restorer: pretrain``.

    Args:
        sigma: Standard deviation of the noise in the LR image, of 255; None: ``degradation: noise``. More
            smooths more, and forgives more of an inexact kernel.
    """

    paper = 'Zhang et al., CVPR 2020'
    num_iter = 1
    updates_kernel = False
    has_weights = True

    def __init__(self, sigma: NonNegativeFloat | None = None) -> None:
        super().__init__()
        self.sigma = sigma
        self.net: USRNetwork | None = None

    def load(self, path: str | None) -> None:
        """Load the weights.

        Raises:
            OptionError: where no file is named.
            UserError: for a file that is missing, damaged or of another network.
        """
        if path is None:
            raise OptionError(f'missing; USRNet needs usrnet_tiny.pth or usrnet.pth of {SOURCE}')
        weights, _ = read_weights(Path(path).expanduser())
        try:
            net = USRNetwork.from_weights(weights)
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = ' '.join(str(error).split())
            raise UserError(f'{path}: these are not the weights of USRNet ({reason[:200]})') from None
        self.net = net.eval().requires_grad_(False)

    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        self.net.to(lq.device)
        self.lq, self.degradation = lq, degradation
        self.x = F.interpolate(lq, scale_factor=degradation.scale, mode='bicubic').clamp(0, 1)

    def forward(self) -> Tensor:
        return self.x

    def step(self, kernel: Tensor) -> dict[str, Tensor]:
        sigma = self.degradation.noise if self.sigma is None else self.sigma / 255
        with torch.no_grad():
            x = self.net(self.lq, kernel, self.degradation.scale, sigma)
        self.x = x.clamp(0, 1)
        return {'l_x_data': (self.degradation.A(self.x, kernel) - self.lq).square().mean()}
