"""ZSSR (Shocher et al., CVPR 2018): a network trained on the LR image and a degraded copy of it."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from dkp_plugin.archs.initialise import build_initialised
from dkp_plugin.archs.symmetries import transform
from dkp_plugin.archs.zssr_arch import ZSSRNet
from dkp_plugin.physics.degradation import Degradation, aliased_power, kernel_to_otf
from dkp_plugin.restorers.base import Restorer

DECAYS = (0.6, 0.85)  # shares of the steps after which the learning rate falls to a tenth


class Pair(NamedTuple):
    """A training pair: the father, (1, C, H, W), and the son, its degraded copy enlarged to the same size."""

    son: Tensor
    father: Tensor


def back_project(x: Tensor, lq: Tensor, kernel: Tensor, degradation: Degradation, num_iter: int) -> Tensor:
    """Minimise ``||A(x, k) - y||^2`` by gradient descent with the largest stable step (Irani and Peleg, 1991).

    Args:
        x: HR image, (1, C, s h, s w).
        lq: LR image y, (1, C, h, w).
        kernel: (1, 1, K, K).
        degradation: The forward model.
        num_iter: Steps.

    Returns:
        An HR image that is more consistent with the LR image, (1, C, s h, s w).
    """
    largest = aliased_power(kernel_to_otf(kernel, x.shape[-2:]).abs().square(), degradation.scale).max()
    for _ in range(num_iter):
        x = x + degradation.A_adjoint(lq - degradation.A(x, kernel), kernel) / largest
    return x


def make_pairs(lq: Tensor, kernel: Tensor, degradation: Degradation, sizes: tuple[float, ...]) -> list[Pair]:
    """Make training pairs from an LR image in the eight symmetries of the square.

    The fathers are rotated and mirrored before the degradation. All sons therefore have the kernel in its original
    orientation, which is the one that the network must learn to undo.

    Args:
        lq: LR image, (1, C, h, w); repeated periodically if it is hardly larger than the kernel.
        kernel: (1, 1, K, K).
        degradation: The forward model, which turns fathers into sons as it turned the HR image into the LR image.
        sizes: Sizes of the fathers relative to the LR image; sizes too small for the kernel are skipped.
    """
    scale = degradation.scale
    smallest = max(kernel.shape[-1], 5 * scale + 1)  # fits the blur kernel and the kernel of ``Degradation.enlarge``
    if min(lq.shape[-2:]) < smallest + scale:
        lq = lq.repeat(1, 1, *(math.ceil((smallest + scale) / side) for side in lq.shape[-2:]))
    pairs = []
    for size in sizes:
        height, width = (int(size * side) // scale * scale for side in lq.shape[-2:])
        if min(height, width) < smallest:
            continue
        # At size 1 the pixels stay unchanged, except that the sides are cropped to multiples of the scale.
        full = tuple(round(size * side) for side in lq.shape[-2:])
        father = lq if size == 1 else F.interpolate(lq, full, mode='bicubic', antialias=True).clamp(0, 1)
        father = father[..., :height, :width]
        for index in range(8):
            turned = transform(father, index)
            pairs.append(Pair(degradation.enlarge(degradation.A(turned, kernel)), turned))
    return pairs


@ARCH_REGISTRY.register()
class ZSSR(Restorer):
    """Zero-shot super-resolution: learns to undo the kernel from the LR image and a degraded copy of it.

    It uses the estimator's initial kernel. As in the paper, back-projection makes the result consistent with the LR
    image. It differs from the paper in three points. The learning rate follows a fixed schedule instead of a fit to the
    error. The results of the eight orientations are not averaged, because the network learns the kernel in one
    orientation only. One network covers the whole scale factor instead of several smaller steps, which would each need
    their own kernel.

    Args:
        num_steps: Training steps.
        lr: Learning rate of Adam; it falls to a tenth and then a hundredth near the end.
        num_feat: Channels of the network.
        num_hidden: Hidden layers of the network.
        crop_size: Side of the training crops, in pixels of the fathers.
        father_sizes: Sizes of the fathers relative to the LR image; a size is drawn in proportion to its pixels.
        num_back_projections: Iterations of back-projection.
    """

    paper = 'Shocher et al., CVPR 2018'
    updates_kernel = False

    def __init__(
        self,
        num_steps: PositiveInt = 1000,
        lr: PositiveFloat = 1e-3,
        num_feat: PositiveInt = 64,
        num_hidden: PositiveInt = 8,
        crop_size: PositiveInt = 96,
        father_sizes: tuple[PositiveFloat, ...] = (1.0, 0.9, 0.8, 0.7, 0.6),
        num_back_projections: NonNegativeInt = 20,
    ) -> None:
        super().__init__()
        if not (father_sizes and father_sizes[0] == 1 and max(father_sizes) == 1):
            raise ValueError(f'father_sizes: {list(father_sizes)} does not start with 1, or exceeds it later')
        self.num_iter, self.lr, self.num_feat, self.num_hidden = num_steps, lr, num_feat, num_hidden
        self.crop_size, self.father_sizes, self.num_back_projections = crop_size, father_sizes, num_back_projections

    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        self.lq, self.degradation, self.generator, self.iteration = lq, degradation, generator, 0
        self.net = build_initialised(lambda: ZSSRNet(lq.shape[1], self.num_feat, self.num_hidden), generator, lq.device)
        for parameter in self.net.layers[-1].parameters():  # the untrained network returns the enlarged image
            torch.nn.init.zeros_(parameter)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=self.lr)
        decays = [round(share * self.num_iter) for share in DECAYS]
        self.scheduler = torch.optim.lr_scheduler.MultiStepLR(self.optimizer, decays, gamma=0.1)
        self.x = degradation.enlarge(lq).clamp(0, 1)

    def forward(self) -> Tensor:
        return self.x

    def step(self, kernel: Tensor) -> dict[str, Tensor]:
        if self.iteration == 0:
            self.pairs = make_pairs(self.lq, kernel, self.degradation, self.father_sizes)
        son, father = self._draw()
        son = son + self.degradation.noise * torch.randn(son.shape, generator=self.generator).to(son)
        loss = (self.net(son) - father).abs().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        self.iteration += 1
        if self.iteration == self.num_iter:
            with torch.no_grad():
                x = self.net(self.degradation.enlarge(self.lq)).clamp(0, 1)
                x = back_project(x, self.lq, kernel, self.degradation, self.num_back_projections)
            self.x = x.clamp(0, 1)
        return {'l_x_internal': loss.detach()}

    def _draw(self) -> Pair:
        """Draw a random pair and a random crop of it."""
        pixels = torch.tensor([float(father.shape[-2] * father.shape[-1]) for _, father in self.pairs])
        pair = self.pairs[int(torch.multinomial(pixels, 1, generator=self.generator))]
        corner = [self._random_start(side) for side in pair.father.shape[-2:]]
        rows, columns = (slice(start, start + self.crop_size) for start in corner)
        return Pair(*(image[..., rows, columns] for image in pair))

    def _random_start(self, side: int) -> int:
        return int(torch.randint(max(side - self.crop_size, 0) + 1, (), generator=self.generator))
