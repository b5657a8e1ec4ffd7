"""KernelGAN (Bell-Kligler et al., NeurIPS 2019): the kernel that downscales an image to patches like its own."""

import math

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from dkp_plugin.archs.initialise import build_initialised
from dkp_plugin.archs.internal_gan_arch import DeepLinearGenerator, PatchDiscriminator
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.estimators.residual_descent import descend
from dkp_plugin.host.errors import UserError
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernels import convert_convention, crop_kernel, cubic_kernel, kernel_centre, normalise

SCALES = (2, 4)
WARMUP_ITERS = 200  # steps towards the bicubic kernel; the generator then matches it to 1e-3 of its peak
DECAY_INTERVAL = 750  # iterations between divisions of the learning rate by 10


def regularisers(kernel: Tensor, centre: float) -> dict[str, Tensor]:
    """The four penalties on a kernel of the paper's section 4.2.

    Args:
        kernel: (1, 1, K, K), of any sign and sum.
        centre: Index where the centre of mass belongs, row and column alike, counted from 0.

    Returns:
        Scalars by name. ``sum_to_1``: |1 - sum k|. ``boundaries``: sum of |k m|, where m grows exponentially with the
        distance from the centre of the grid and is 1 at the middle of its sides. ``sparse``: mean of |k|^(1/2); a sum
        would outweigh ``sum_to_1`` and favour the kernel 0. ``centre``: distance of the centre of mass from
        ``centre``, in pixels.
    """
    index = torch.arange(kernel.shape[-1]).to(kernel)
    middle = (kernel.shape[-1] - 1) / 2
    distance = torch.hypot(index - middle, (index - middle).unsqueeze(1))
    total = kernel.sum()
    mean = torch.stack([kernel.sum((0, 1, 3)) @ index, kernel.sum((0, 1, 2)) @ index]) / total
    return {
        'sum_to_1': (1 - total).abs(),
        'boundaries': (kernel * (distance - middle).exp()).abs().sum(),
        'sparse': (kernel.abs() + 1e-8).sqrt().mean(),  # whose slope is finite at 0
        'centre': (mean - centre).norm(),
    }


def apply_twice(kernel: Tensor, scale: int = 2) -> Tensor:
    """Kernel of blurring and subsampling twice: ``degrade(degrade(x, k, s), k, s) = degrade(x, result, s^2)``.

    Args:
        kernel: (1, 1, K, K), K odd.
        scale: s.

    Returns:
        (1, 1, K + s (K - 1), K + s (K - 1)), the sum over m of k[m] times k shifted by s m. Away from the border of the
        image the identity holds exactly, with the anchors in the middle of the kernels.
    """
    side = scale * (kernel.shape[-1] - 1) + 1
    dilated = kernel.new_zeros(1, 1, side, side)
    dilated[..., ::scale, ::scale] = kernel
    return F.conv_transpose2d(dilated, kernel)


@ARCH_REGISTRY.register()
class KernelGAN(KernelEstimator):
    """Internal GAN whose generator is a kernel: it downscales the LR image such that the patches keep their look.

    :meth:`reset` does all the work and ignores the restorer's image. As in the paper, the losses are those of the
    least-squares GAN with absolute values instead of squares. The kernel is found for x2; for x4 it is applied twice.
    Differences from the paper: the generator starts from the bicubic kernel, because it hardly escapes from random
    weights, whose sum is small; crops are drawn uniformly; negative values of the final kernel are set to 0.

    Args:
        num_iter: Steps of the generator, and of the discriminator.
        lr: Learning rate of Adam for both networks, divided by 10 every 750 steps.
        crop_size: Side of the generator's crops, in LR pixels. The discriminator's crops have the size of its output.
        num_feat: Channels of both networks.
        sum_weight: Weight of the penalty ``sum_to_1``; see :func:`regularisers`.
        boundary_weight: Weight of ``boundaries``.
        sparse_weight: Weight of ``sparse``.
        centre_weight: Weight of ``centre``.

    Raises:
        ValueError: for crops that are too small to hold a few patches.
        UserError: by ``check`` and ``reset``, for a scale other than 2 and 4.
    """

    trains_in_reset = True
    paper = 'Bell-Kligler et al., NeurIPS 2019'
    scales = SCALES

    def __init__(
        self,
        num_iter: PositiveInt = 3000,
        lr: PositiveFloat = 2e-4,
        crop_size: PositiveInt = 64,
        num_feat: PositiveInt = 64,
        sum_weight: float = 0.5,
        boundary_weight: float = 0.5,
        sparse_weight: float = 5.0,
        centre_weight: float = 1.0,
    ) -> None:
        super().__init__()
        smallest = DeepLinearGenerator.kernel_size + 2 * PatchDiscriminator.patch_size  # 2x2 patches, for batch norm
        if crop_size < smallest:
            raise ValueError(f'crop_size: {crop_size} is smaller than {smallest}')
        self.num_iter, self.lr, self.crop_size, self.num_feat = num_iter, lr, crop_size, num_feat
        self.weights = {
            'sum_to_1': sum_weight,
            'boundaries': boundary_weight,
            'sparse': sparse_weight,
            'centre': centre_weight,
        }

    def check(self, degradation: Degradation) -> None:
        if degradation.scale not in SCALES:
            raise UserError(f'scale: {degradation.scale} is not possible with KernelGAN; allowed: 2, 4')

    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        self.check(degradation)
        with torch.enable_grad():
            kernel = self._train(lq, generator)
        kernel = normalise(kernel.clamp_min(0))
        if degradation.scale == 4:
            kernel = apply_twice(kernel)
        kernel, _ = convert_convention(kernel, degradation.scale, 'kernelgan', degradation.convention)
        self.kernel = crop_kernel(kernel, degradation.kernel_size)

    def forward(self) -> Tensor:
        return self.kernel

    def step(self, x: Tensor) -> dict[str, Tensor]:
        return {}

    def _train(self, lq: Tensor, generator: torch.Generator) -> Tensor:
        """Train both networks on one LR image and return the kernel for x2, (1, 1, 13, 13)."""
        down = build_initialised(lambda: DeepLinearGenerator(self.num_feat), generator, lq.device)
        judge = build_initialised(lambda: PatchDiscriminator(lq.shape[1], self.num_feat), generator, lq.device)
        centre = kernel_centre(down.kernel_size, 2, 'kernelgan')
        optimizers = [torch.optim.Adam(net.parameters(), lr=self.lr, betas=(0.5, 0.999)) for net in (down, judge)]
        schedulers = [torch.optim.lr_scheduler.StepLR(optimizer, DECAY_INTERVAL, 0.1) for optimizer in optimizers]
        image = _continued(lq, self.crop_size)
        start = cubic_kernel(2, down.kernel_size, centre).to(lq)
        for _ in range(WARMUP_ITERS):
            descend(optimizers[0], (down.kernel() - start).square().sum())
        for _ in range(self.num_iter):
            fake = down(_random_crop(image, self.crop_size, generator))
            penalties = regularisers(down.kernel(), centre)
            loss = (1 - judge(fake)).abs().mean() + sum(self.weights[name] * penalties[name] for name in penalties)
            descend(optimizers[0], loss)

            real = _random_crop(image, fake.shape[-1], generator)
            descend(optimizers[1], ((1 - judge(real)).abs().mean() + judge(fake.detach()).abs().mean()) / 2)
            for scheduler in schedulers:
                scheduler.step()
        return down.kernel().detach()


def _continued(image: Tensor, size: int) -> Tensor:
    """Extend an image smaller than size x size periodically, as the forward model does."""
    repeats = [math.ceil(size / side) for side in image.shape[-2:]]
    return image.repeat(1, 1, *repeats)


def _random_crop(image: Tensor, size: int, generator: torch.Generator) -> Tensor:
    top, left = (int(torch.randint(side - size + 1, (), generator=generator)) for side in image.shape[-2:])
    return image[..., top : top + size, left : left + size]
