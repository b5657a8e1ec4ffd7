"""FKP (Liang et al., CVPR 2021) as in DIP-FKP: the latent code of a normalizing flow, fitted to the LR image."""

from collections.abc import Iterable
from pathlib import Path

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from pydantic import NonNegativeInt, PositiveFloat
from torch import Tensor

from dkp_plugin.archs.kernel_flow_weights import SHIPPED, load_kernel_flow, shipped_names
from dkp_plugin.estimators.residual_descent import ResidualDescent
from dkp_plugin.host.errors import UserError
from dkp_plugin.physics.data_loss import SsimPadding
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernels import crop_kernel


def project_to_sphere(code: Tensor, radius: float) -> Tensor:
    """Project codes (B, D) to the sphere of a radius: ``radius * code / ||code||``."""
    return code * (radius / code.norm(dim=1, keepdim=True))


@ARCH_REGISTRY.register()
class FKP(ResidualDescent):
    """Flow-based kernel prior: searches the kernels that a trained flow generates for the one that fits the LR image.

    The code starts at random and stays on a sphere of radius K - 1: every Adam step ends with a projection. The radius
    is close to sqrt(D) = K, where most of the mass of a Gaussian in D = K^2 dimensions lies.

    The flow generates kernels of the convention ``released``. For other conventions the kernel is rotated by 180
    degrees, which moves the centre from K // 2 - (s - 1) / 2 to K // 2 + (s - 1) / 2. The rotation is lossless, whereas
    a shift by s - 1 pixels would push the kernel over the edge of its grid. It stays within the family, since every
    kernel family contains the rotated kernel along with the kernel.

    Args:
        pretrained: ``auto`` or a file. ``auto`` takes the weights that the package ships for ``kernel_family`` and the
            scale, and crops or pads their kernels to the kernel size of the run. A file is ``.safetensors``, BasicSR's
            ``.pth`` or the released ``.pt``; it does not name its scale, so its kernel size must be that of the run.
        kernel_family: Family of the shipped weights: ``gaussian`` or ``motion``.
        lr: Learning rate of Adam for the code.
        freeze_iters: Calls of ``step`` before the kernel starts to move, so that the image takes shape first.
        ssim_iters: Calls of ``step`` that use 1 - SSIM as the residual; later calls use the mean squared error. Set it
            to the restorer's own ``ssim_iters``.
        ssim_padding: ``zeros`` or ``none``, see ``DIP``. Set it to the restorer's own.

    Raises:
        ValueError: for a kernel family without weights.
        UserError: for a file that cannot be used. ``check`` and ``reset`` raise it for a scale or kernel size that the
            weights do not support.
    """

    paper = 'Liang et al., CVPR 2021'
    kernel_families = ('gaussian', 'motion')
    scales = (2, 3, 4)
    has_weights = True

    def __init__(
        self,
        pretrained: str = 'auto',
        kernel_family: str = 'gaussian',
        lr: PositiveFloat = 0.5,
        freeze_iters: NonNegativeInt = 75,
        ssim_iters: NonNegativeInt = 400,
        ssim_padding: SsimPadding = 'zeros',
    ) -> None:
        super().__init__(lr, ssim_iters, ssim_padding)
        families = sorted({name.rpartition('_x')[0] for name in shipped_names()})
        if kernel_family not in families:
            raise ValueError(f'kernel_family: {kernel_family!r} is not one of {", ".join(families)}')
        self.kernel_family, self.freeze_iters = kernel_family, freeze_iters
        self.path = None if pretrained == 'auto' else Path(pretrained).expanduser()
        self.flow = None if self.path is None else load_kernel_flow(self.path)

    def check(self, degradation: Degradation) -> None:
        if self.path is None:
            name = f'{self.kernel_family}_x{degradation.scale}'
            if name not in shipped_names():
                allowed = ', '.join(shipped_names())
                raise UserError(f'pretrained: auto: found no weights {name}, expected one of {allowed}, or a file')
            return
        found, expected = int(self.flow.kernel_size), degradation.kernel_size
        if found != expected:
            raise UserError(
                f'{self.path}: found a flow of kernel size {found}, expected {expected} for scale {degradation.scale}'
            )

    def start(self, generator: torch.Generator, device: torch.device) -> Iterable[Tensor]:
        self.check(self.degradation)
        if self.path is None:
            self.flow = load_kernel_flow(SHIPPED / f'{self.kernel_family}_x{self.degradation.scale}.safetensors')
        self.flow.to(device)
        self.radius = int(self.flow.kernel_size) - 1
        code = torch.randn(1, len(self.flow.base_dist_mean), generator=generator).to(device)
        self.code = project_to_sphere(code, self.radius).requires_grad_()
        return [self.code]

    def kernel(self) -> Tensor:
        kernel = self.flow.decode(self.code)
        if self.degradation.convention != 'released':
            kernel = kernel.flip(-2, -1)
        return crop_kernel(kernel, self.degradation.kernel_size)

    def update(self) -> None:
        if self.iteration < self.freeze_iters:
            return
        super().update()
        with torch.no_grad():
            self.code.copy_(project_to_sphere(self.code, self.radius))
