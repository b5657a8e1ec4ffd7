"""Deep image prior: an untrained network fitted to one LR image (Ulyanov et al., CVPR 2018; DIP-DKP)."""

from typing import Literal

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from dkp_plugin.archs.initialise import build_initialised
from dkp_plugin.archs.precision import check_precision, compute_dtype
from dkp_plugin.archs.skip_arch import NonLocal, SkipNet
from dkp_plugin.physics.data_loss import SsimPadding, data_loss
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.base import Restorer

PriorDirections = Literal[2, 4]


def hyper_laplacian(x: Tensor, directions: PriorDirections = 4, exponent: float = 0.67) -> Tensor:
    """Negative log of the hyper-Laplacian gradient prior, up to a factor: the mean of |gradient|^exponent.

    Args:
        x: Images (B, C, H, W) in [0, 1], of at least 2 x 2 pixels.
        directions: 4, as in the released program: the differences from the pixels above, above left, left and below
            left, with the image mirrored at its border. 2: those from the pixels above and to the left, where there are
            such.
        exponent: Below 1 the prior favours few strong edges over many weak ones.

    Returns:
        A scalar: the sum over the directions of the mean over the batch, the channels and the pixels. The slope of the
        power is infinite at 0. Therefore 2 directions smooth gradients below 1e-4, and 4 directions add 1e-8 to
        |gradient|, as in the released program.
    """
    if directions == 2:
        vertical, horizontal = x[..., 1:, :] - x[..., :-1, :], x[..., :, 1:] - x[..., :, :-1]
        return sum((gradient.square() + 1e-8).pow(exponent / 2).mean() for gradient in (vertical, horizontal))
    mirrored = F.pad(x, (1, 1, 1, 1), mode='reflect')
    height, width = x.shape[-2:]
    neighbours = (mirrored[..., i : i + height, j : j + width] for i, j in ((0, 1), (0, 0), (1, 0), (2, 0)))
    return sum(((x - neighbour).abs() + 1e-8).pow(exponent).mean() for neighbour in neighbours)


@ARCH_REGISTRY.register()
class DIP(Restorer):
    """Deep image prior with the skip network.

    Args:
        num_feat: Channels of the skip network.
        num_skip: Channels of the skip branches.
        num_scales: Number of scales, each at half the resolution of the one before.
        non_local_scales: Scales with a non-local block, counted from 1.
        non_local: ``dot_product``, as in the released program: the non-local blocks have no softmax and start as the
            identity. ``softmax``: they are softmax attention and start at random.
        lr: Learning rate of Adam.
        ssim_iters: Steps with the loss 1 - SSIM; later steps use the mean squared error.
        ssim_padding: ``zeros``, as in the released program: SSIM's window may leave the image, which continues with
            zeros. ``none``: SSIM ignores a frame of 5 LR pixels, where its window leaves the image.
        prior_weight: Weight of the hyper-Laplacian gradient prior: of the sum over the directions of |gradient|^0.67,
            averaged over the HR values. None: 2e-4 times the square of the scale, 3.2e-3 at x4. This is the released
            program's 1e-3 * 0.2 on the sum over the HR values, divided by the number of LR values.
        prior_directions: 4, as in the released program: differences from the pixels above, above left, left and below
            left, with a mirrored border. 2: from those above and to the left.
        precision: ``float32``, ``bf16`` for the hidden layers, or ``auto``: bf16 where it is faster.
    """

    paper = 'Ulyanov et al., CVPR 2018'

    def __init__(
        self,
        num_feat: PositiveInt = 128,
        num_skip: PositiveInt = 16,
        num_scales: PositiveInt = 5,
        non_local_scales: tuple[int, ...] = (3, 4, 5),
        non_local: NonLocal = 'dot_product',
        lr: PositiveFloat = 5e-3,
        ssim_iters: NonNegativeInt = 400,
        ssim_padding: SsimPadding = 'zeros',
        prior_weight: NonNegativeFloat | None = None,
        prior_directions: PriorDirections = 4,
        precision: str = 'auto',
    ) -> None:
        super().__init__()
        check_precision(precision)
        self.network_options = {
            'num_feat': num_feat,
            'num_skip': num_skip,
            'num_scales': num_scales,
            'non_local_scales': non_local_scales,
            'non_local': non_local,
        }
        self.lr, self.precision = lr, precision
        self.ssim_iters, self.ssim_padding = ssim_iters, ssim_padding
        self.prior_weight, self.prior_directions = prior_weight, prior_directions

    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        self.lq, self.degradation, self.iteration = lq, degradation, 0
        channels = lq.shape[1]
        self.weight = 2e-4 * degradation.scale**2 if self.prior_weight is None else self.prior_weight
        self.size = tuple(degradation.scale * side for side in lq.shape[-2:])
        self.net = build_initialised(
            lambda: SkipNet(num_in_ch=channels, num_out_ch=channels, **self.network_options), generator, lq.device
        ).to(memory_format=torch.channels_last)

        # The network needs sides of at least two whole strides; _estimate crops its output.
        padded = [max(-(-side // self.net.stride), 2) * self.net.stride for side in self.size]
        noise = 0.1 * torch.rand(1, channels, *padded, generator=generator)
        dtype = compute_dtype(self.precision, lq.device)
        self.noise = noise.to(lq.device, dtype, memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=self.lr)
        self._x = None

    def _estimate(self) -> Tensor:
        """The current image with its graph, computed once per step and shared by ``forward`` and ``step``."""
        if self._x is None:
            self._x = self.net(self.noise)[..., : self.size[0], : self.size[1]]
        return self._x

    def forward(self) -> Tensor:
        return self._estimate().detach()

    def step(self, kernel: Tensor) -> dict[str, Tensor]:
        x = self._estimate()
        y = self.degradation.A(x, kernel)
        fidelity = data_loss(y, self.lq, self.iteration < self.ssim_iters, self.ssim_padding)
        prior = self.weight * hyper_laplacian(x, self.prior_directions)
        self.optimizer.zero_grad()
        (fidelity + prior).backward()
        self.optimizer.step()
        self.iteration += 1
        self._x = None
        return {'l_x_data': fidelity.detach(), 'l_x_prior': prior.detach()}
