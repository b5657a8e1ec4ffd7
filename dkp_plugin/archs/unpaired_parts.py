"""The parts of the unpaired network: intermediate image, kernel, refinement. All convolutions run on the LR grid."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dkp_plugin.archs.layers import Conv2d
from dkp_plugin.physics.coding_noise import NoiseModel
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.error_spectrum import power_law

CHANNELS = 3
MIN_STD = 1e-3  # of an image that the kernel network sees: a quarter of a level of 8 bits


class ResBlock(nn.Module):
    """x + conv(relu(conv(x))), periodic at the borders; it starts as the identity.

    Args:
        num_feat: Channels.
    """

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _conv(num_feat, num_feat), _zero(_conv(num_feat, num_feat))

    def forward(self, x: Tensor) -> Tensor:
        """Map features (B, C, H, W) to features of the same shape."""
        return x + self.conv2(F.relu(self.conv1(x)))


class IntermediateNetwork(nn.Module):
    """S: what bicubic enlargement lacks, from the LR image alone. It never sees a kernel.

    Args:
        scale: s.
        num_feat: Channels.
        num_block: Residual blocks.
        num_levels: Planes of noise levels beside the LR image.
    """

    def __init__(self, scale: int, num_feat: int, num_block: int, num_levels: int) -> None:
        super().__init__()
        self.head = _conv(CHANNELS + num_levels, num_feat)
        self.body = nn.Sequential(*(ResBlock(num_feat) for _ in range(num_block)))
        self.tail = _zero(_conv(num_feat, CHANNELS * scale**2))
        self.scale = scale

    def forward(self, lq: Tensor, levels: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Map LR images and planes of noise levels to differences of HR images and features.

        Args:
            lq: (B, 3, h, w).
            levels: (B, P, h, w), P 0 for networks that take no noise.
            dtype: Of the hidden layers.

        Returns:
            (B, 3, s h, s w) and (B, C, h, w).
        """
        features = self.body(self.head(_to(torch.cat([lq - 0.5, levels], dim=1), dtype)))
        return F.pixel_shuffle(self.tail(features).float(), self.scale), features


class KernelNetwork(nn.Module):
    """N: the kernel of an LR image of any size, and how far to trust the intermediate image.

    Args:
        kernel_size: K of the grid.
        num_feat: Channels at full resolution; at half resolution there are twice as many.
        num_block: Residual blocks at half resolution; half as many, at least one, at full resolution.
        num_levels: Planes of noise levels beside the LR image.
    """

    def __init__(self, kernel_size: int, num_feat: int, num_block: int, num_levels: int) -> None:
        super().__init__()
        num_half, num_hidden = 2 * num_feat, 512
        self.head = _conv(CHANNELS + num_levels, num_feat)
        self.fine = nn.Sequential(*(ResBlock(num_feat) for _ in range(max(1, num_block // 2))))
        self.down = Conv2d(num_feat, num_half, 3, stride=2, padding=1, padding_mode='circular')
        self.coarse = nn.Sequential(*(ResBlock(num_half) for _ in range(num_block)))
        self.hidden = nn.Linear(2 * num_half, num_hidden)
        self.kernel = _zero(nn.Linear(num_hidden, kernel_size**2))
        self.weight = _zero(nn.Linear(num_hidden, 2))
        self.kernel_size = kernel_size

    def forward(self, lq: Tensor, levels: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Estimate.

        Args:
            lq: LR images, (B, 3, h, w).
            levels: Planes of noise levels, (B, P, h, w).
            dtype: Of the hidden layers.

        Returns:
            Logarithms of kernels, (B, 1, K, K); logarithms of weights, (B, 2), relative to those of the refinement,
            whose gradient ends at this head.
        """
        std = lq.std((1, 2, 3), keepdim=True).clamp_min(MIN_STD)
        normal = (lq - lq.mean((1, 2, 3), keepdim=True)) / std
        x = self.fine(self.head(_to(torch.cat([normal, levels], dim=1), dtype)))
        x = self.coarse(self.down(F.relu(x))).float()
        spread = (x.var((-2, -1), correction=0) + 1e-6).sqrt()
        hidden = F.relu(self.hidden(torch.cat([x.mean((-2, -1)), spread], dim=1)))
        log_kernel = self.kernel(hidden).log_softmax(1)
        return log_kernel.view(-1, 1, self.kernel_size, self.kernel_size), self.weight(hidden.detach())


class RefinementStage(nn.Module):
    """R: equations (1) to (3), the variational model, a learned step, and a second data step.

    With V(f) ~ |f|^-p1, W(f) ~ |f|^-p2, and the norm of the data term divided by the spectrum of the noise if there is
    some::

        x_bar = argmin_x ||A(x, k) - y||^2 + e^a ||x - z||^2 in the metric of 1 / V                            (1)
        x_hat = argmin_x ||A(x, k) - y||^2 + e^b ||x - (x_bar + shuffle(u))||^2 in the metric of 1 / W         (2)
        u = P(unshuffle(x_bar), unshuffle(x_bar - z), y, features of S)                                        (3)

    Args:
        scale: s.
        num_feat: Channels.
        num_block: Residual blocks of P.
        num_context: Channels of the features of S.
        num_levels: Planes of noise levels beside the LR image.
        variational: Whether there are data steps; without them x_bar is z, and x_hat is x_bar + shuffle(u).
    """

    def __init__(
        self, scale: int, num_feat: int, num_block: int, num_context: int, num_levels: int, variational: bool
    ) -> None:
        super().__init__()
        self.head = _conv(2 * CHANNELS * scale**2 + CHANNELS + num_context + num_levels, num_feat)
        self.body = nn.Sequential(*(ResBlock(num_feat) for _ in range(num_block)))
        self.tail = _zero(_conv(num_feat, CHANNELS * scale**2))
        self.exponents = nn.Parameter(torch.tensor([1.5, 1.0]))  # p1, p2
        self.log_weights = nn.Parameter(torch.tensor([-6.0, -5.0]))  # a, b
        if num_levels:
            self.log_precisions = nn.Parameter(torch.tensor([6.0, 6.0]))  # of z and of the moved image, over the noise
        self.scale, self.variational = scale, variational

    def forward(
        self,
        lq: Tensor,
        kernel: Tensor,
        prior: Tensor,
        context: Tensor,
        log_weight: Tensor | float,
        levels: Tensor,
        noise: NoiseModel | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Refine.

        Args:
            lq: LR images y, (B, 3, h, w).
            kernel: (B, 1, K, K) in the convention ``aligned``.
            prior: z, (B, 3, s h, s w).
            context: Features of S, (B, C, h, w), in the dtype of the hidden layers.
            log_weight: Added to a, (B,).
            levels: Planes of noise levels, (B, P, h, w).
            noise: Of the LR images; None: no noise, or a network that takes none.

        Returns:
            x_bar and x_hat, (B, 3, s h, s w), and the features that u is made of, (B, C, h, w).
        """
        first = self.log_weights[0] + torch.as_tensor(log_weight).to(lq).view(-1, 1, 1, 1)
        x_bar = self._data_step(prior, lq, kernel, first.exp(), 0, noise)
        blocks = [F.pixel_unshuffle(image, self.scale) for image in (x_bar - 0.5, x_bar - prior)]
        parts = (_to(part, context.dtype) for part in (*blocks, lq - 0.5, levels))
        inputs = torch.cat([*parts, context.detach()], dim=1)
        features = self.body(self.head(inputs))
        moved = x_bar + F.pixel_shuffle(self.tail(features).float(), self.scale)
        return x_bar, self._data_step(moved, lq, kernel, self.log_weights[1].exp(), 1, noise), features

    def _data_step(
        self, prior: Tensor, lq: Tensor, kernel: Tensor, weight: Tensor, index: int, noise: NoiseModel | None
    ) -> Tensor:
        if not self.variational:
            return prior
        rows, columns = (torch.fft.fftfreq(side, device=lq.device) for side in prior.shape[-2:])
        spectrum = power_law(rows, columns, self.exponents[index : index + 1])[0]
        degradation = Degradation(self.scale, kernel.shape[-1])
        if noise is None:
            return degradation.data_step(prior, lq, kernel, weight, spectrum)
        weight = weight + self.log_precisions[index].exp() * noise.spectrum
        return degradation.data_step_by_channel(prior, lq, kernel, weight, spectrum)


def _conv(num_in: int, num_out: int) -> Conv2d:
    return Conv2d(num_in, num_out, 3, padding=1, padding_mode='circular')


def _zero(layer: nn.Module) -> nn.Module:
    """Start a layer at zero."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _to(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.to(dtype, memory_format=torch.channels_last)
