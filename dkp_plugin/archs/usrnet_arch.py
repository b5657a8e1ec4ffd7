"""USRNet (Zhang et al., CVPR 2020): unfolded half-quadratic splitting for a known kernel, trained end to end."""

from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dkp_plugin.physics.degradation import data_step


class ResBlock(nn.Module):
    """x + conv(relu(conv(x))), 3x3 without bias."""

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.res = nn.Sequential(_conv(num_feat, num_feat), nn.ReLU(), _conv(num_feat, num_feat))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.res(x)


class ResUNet(nn.Module):
    """The prior step: a UNet with residual blocks that denoises at a given noise level.

    Args:
        num_feats: Channels of the four scales.
        num_blocks: Residual blocks per scale in the encoder and in the decoder.
    """

    stride = 8

    def __init__(self, num_feats: tuple[int, ...], num_blocks: int) -> None:
        super().__init__()
        self.m_head = _conv(4, num_feats[0])
        self.m_down1, self.m_down2, self.m_down3 = (
            nn.Sequential(*_blocks(fine, num_blocks), nn.Conv2d(fine, coarse, 2, stride=2, bias=False))
            for fine, coarse in pairwise(num_feats)
        )
        self.m_body = nn.Sequential(*_blocks(num_feats[-1], num_blocks))
        self.m_up1, self.m_up2, self.m_up3 = (
            nn.Sequential(nn.ConvTranspose2d(coarse, fine, 2, stride=2, bias=False), *_blocks(fine, num_blocks))
            for fine, coarse in pairwise(num_feats)
        )
        self.m_tail = _conv(num_feats[0], 3)

    def forward(self, x: Tensor, noise_level: Tensor) -> Tensor:
        """Denoise.

        Args:
            x: (B, 3, H, W) in [0, 1].
            noise_level: Standard deviation of the noise, (B or 1, 1, 1, 1).

        Returns:
            (B, 3, H, W).
        """
        height, width = x.shape[-2:]
        x = torch.cat([x, noise_level.expand(len(x), 1, height, width)], dim=1)
        x = self.m_head(F.pad(x, (0, -width % self.stride, 0, -height % self.stride), mode='replicate'))
        skips = [x]
        for down in (self.m_down1, self.m_down2, self.m_down3):
            skips.append(down(skips[-1]))
        x = self.m_body(skips[-1])
        for up in (self.m_up3, self.m_up2, self.m_up1):
            x = up(x + skips.pop())
        return self.m_tail(x + skips.pop())[..., :height, :width]


class HyperParameters(nn.Module):
    """Predicts the weights of the data steps and the noise levels of the prior steps, all positive.

    Args:
        num_iter: Number n of iterations; the network predicts 2 n numbers.
        num_units: Units of the two hidden layers.
    """

    def __init__(self, num_iter: int, num_units: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Conv2d(2, num_units, 1),
            nn.ReLU(),
            nn.Conv2d(num_units, num_units, 1),
            nn.ReLU(),
            nn.Conv2d(num_units, 2 * num_iter, 1),
            nn.Softplus(),
        )

    def forward(self, sigma: Tensor, scale: int) -> Tensor:
        """Map noise levels (B, 1, 1, 1), in the units of [0, 1], to (B, 2 n, 1, 1): n weights, then n noise levels."""
        return self.mlp(torch.cat([sigma, torch.full_like(sigma, scale)], dim=1)) + 1e-6


class USRNetwork(nn.Module):
    """Unfolding network of USRNet, with the parameter names of the released weights.

    It starts from the LR image enlarged by pixel repetition. Each iteration applies the closed form of
    :func:`~dkp_plugin.physics.degradation.data_step`, then the ResUNet, which replaces the proximal map of an image
    prior. All iterations share the ResUNet; their hyper-parameters differ. The defaults match USRNet-tiny.

    Args:
        num_iter: Iterations; the released networks have 6 (tiny) and 8.
        num_feats: Channels of the four scales of the ResUNet.
        num_blocks: Residual blocks of the ResUNet per scale in the encoder and in the decoder.
        num_units: Hidden units of the hyper-parameter network.
    """

    def __init__(
        self,
        num_iter: int = 6,
        num_feats: tuple[int, int, int, int] = (16, 32, 64, 64),
        num_blocks: int = 2,
        num_units: int = 32,
    ) -> None:
        super().__init__()
        self.p, self.h = ResUNet(num_feats, num_blocks), HyperParameters(num_iter, num_units)

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor]) -> 'USRNetwork':
        """Build a network whose sizes match the weights, and load them.

        Args:
            weights: A state dict, such as the released ``usrnet_tiny.pth`` or ``usrnet.pth``.

        Raises:
            KeyError, RuntimeError: if these are not weights of USRNet.
        """
        num_blocks = sum(name.startswith('p.m_body.') for name in weights) // 2
        ups = [weights[f'p.m_up{scale}.0.weight'].shape[:2] for scale in (1, 2, 3)]  # (coarse, fine)
        num_outputs, num_units = weights['h.mlp.4.weight'].shape[:2]
        net = cls(num_outputs // 2, (ups[0][1], *(coarse for coarse, _ in ups)), num_blocks, num_units)
        net.load_state_dict(weights)
        return net

    def forward(self, y: Tensor, kernel: Tensor, scale: int, sigma: float) -> Tensor:
        """Restore.

        Args:
            y: LR images, (B, 3, h, w) in [0, 1].
            kernel: (B or 1, 1, K, K), used as a correlation as everywhere in this package. The paper convolves with
                the same kernel rotated by 180 degrees.
            scale: Subsampling factor s.
            sigma: Standard deviation of the noise in y, in the units of [0, 1].

        Returns:
            HR images, (B, 3, s h, s w).
        """
        weights, noise_levels = self.h(y.new_full((1, 1, 1, 1), sigma), scale).flatten().chunk(2)
        x = F.interpolate(y, scale_factor=scale, mode='nearest')
        for weight, noise_level in zip(weights, noise_levels, strict=True):
            x = self.p(data_step(x, y, kernel, scale, weight), noise_level.view(1, 1, 1, 1))
        return x


def _conv(num_in: int, num_out: int) -> nn.Conv2d:
    return nn.Conv2d(num_in, num_out, 3, padding=1, bias=False)


def _blocks(num_feat: int, num: int) -> list[ResBlock]:
    return [ResBlock(num_feat) for _ in range(num)]
