"""USRNet (Zhang et al., CVPR 2020): the non-blind network that FKP and DKP use with their kernels."""

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
    """Restores an image in one pass with the estimator's initial kernel.

    It suits ``FixedKernel`` and estimators that find the kernel from the LR image alone. With other estimators, use it
    as the final restorer: ``restorer: {final: USRNet, pretrain: <file>}``. The weights are the released
    ``usrnet_tiny.pth`` or ``usrnet.pth``, set by ``path: pretrain_network_g`` or ``restorer: pretrain``.

    Args:
        sigma: Standard deviation of the noise in the LR image, out of 255; None: ``degradation: noise``. A larger value
            smooths more and tolerates a less accurate kernel.
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
            OptionError: if no file is named.
            UserError: if the file is missing, damaged or of another network.
        """
        if path is None:
            raise OptionError(f'missing; USRNet needs usrnet_tiny.pth or usrnet.pth from {SOURCE}')
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
