"""The compact image prior: a small UNet that denoises at any noise level, with EDM preconditioning (NeurIPS 2022)."""

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from dkp_plugin.archs.image_prior import ImagePrior
from dkp_plugin.archs.layers import Conv2d

NUM_FREQUENCIES = 16  # in the noise-level embedding


class Block(nn.Module):
    """Residual block of two convolutions; the noise level scales and shifts the hidden features (FiLM).

    Args:
        num_feat: Channels.
        num_emb: Length of the noise-level embedding.
    """

    def __init__(self, num_feat: int, num_emb: int) -> None:
        super().__init__()
        self.conv1 = Conv2d(num_feat, num_feat, 3, padding=1)
        self.film = nn.Linear(num_emb, 2 * num_feat)
        self.conv2 = Conv2d(num_feat, num_feat, 3, padding=1)
        # Each block starts as the identity, so that depth does not slow down early training.
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Map features (B, C, H, W) and embeddings (B, E) to features of the same shape."""
        scale, shift = self.film(emb).to(x.dtype)[:, :, None, None].chunk(2, dim=1)
        return x + self.conv2(F.silu(torch.addcmul(shift, self.conv1(x), 1 + scale)))


@ARCH_REGISTRY.register()
class CompactPrior(ImagePrior):
    """Denoise RGB images: estimate the mean of x given x + sigma n, with n standard normal.

    A residual UNet works on 2x2 pixel blocks at half, quarter and eighth resolution. The preconditioning of Karras et
    al. (their Table 1) gives its input and its target unit variance at every noise level.

    Args:
        num_feats: Channels per scale, from fine to coarse.
        num_blocks: Blocks per scale in the encoder and again in the decoder; the coarsest scale has them once.
        num_emb: Length of the noise-level embedding.
        data_mean: Mean of the training pixel values.
        data_std: Standard deviation of the training pixel values.
    """

    def __init__(
        self,
        num_feats: Sequence[int] = (64, 128, 256),
        num_blocks: Sequence[int] = (2, 2, 4),
        num_emb: int = 128,
        data_mean: float = 0.5,
        data_std: float = 0.25,
    ) -> None:
        super().__init__()
        if len(num_feats) != len(num_blocks):
            raise ValueError(f'num_blocks: {list(num_blocks)} and num_feats: {list(num_feats)} differ in length')
        self.data_mean, self.data_std = data_mean, data_std
        self.stride = 2 ** len(num_feats)
        frequencies = math.pi / 8 * 2 ** torch.linspace(-2, 3, NUM_FREQUENCIES // 2)
        self.register_buffer('frequencies', frequencies, persistent=False)
        self.embed = nn.Sequential(
            nn.Linear(NUM_FREQUENCIES, num_emb), nn.SiLU(), nn.Linear(num_emb, num_emb), nn.SiLU()
        )
        pairs = list(itertools.pairwise(num_feats))

        def stage(scale: int) -> nn.ModuleList:
            return nn.ModuleList(Block(num_feats[scale], num_emb) for _ in range(num_blocks[scale]))

        self.first = Conv2d(3 * 4, num_feats[0], 3, padding=1)
        self.encoder = nn.ModuleList(stage(scale) for scale in range(len(num_feats)))
        self.down = nn.ModuleList(Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs)
        self.up = nn.ModuleList(Conv2d(coarse, 4 * fine, 1) for fine, coarse in pairs)
        self.decoder = nn.ModuleList(stage(scale) for scale in range(len(pairs)))
        self.last = Conv2d(num_feats[0], 3 * 4, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def loss_weight(self, sigma: Tensor) -> Tensor:
        """Weight of the squared error, of the shape of ``sigma``; every noise level starts with a loss of 1."""
        return (sigma.square() + self.data_std**2) / (sigma * self.data_std).square()

    def forward(
        self, x: Tensor, sigma: Tensor, dtype: torch.dtype = torch.float32, condition: Tensor | float = 0.0
    ) -> Tensor:
        """Denoise.

        Args:
            x: Noisy images (B, 3, H, W), float32; the clean images lie in [0, 1]. Sides that are not a multiple of
                ``stride`` are padded by reflection and cropped afterwards.
            sigma: Standard deviation of the noise of each image, (B,).
            dtype: Data type of the hidden layers.
            condition: What else is known, added to the embedding of the noise level, (B, num_emb).

        Returns:
            Denoised images (B, 3, H, W), float32, not clipped to [0, 1].
        """
        sigma = sigma.view(-1, 1, 1, 1)
        variance = sigma.square() + self.data_std**2
        centred = x - self.data_mean
        angles = sigma.view(-1, 1).log() * self.frequencies
        emb = self.embed(torch.cat([angles.sin(), angles.cos()], dim=1)) + condition
        residual = self._unet(centred * variance.rsqrt(), emb, dtype)
        skip, out = self.data_std**2 / variance, sigma * self.data_std * variance.rsqrt()
        return self.data_mean + skip * centred + out * residual

    def denoise(
        self, x: Tensor, sigma: Tensor, dtype: torch.dtype = torch.float32, label: Tensor | None = None
    ) -> Tensor:
        """:meth:`forward` under the interface of all priors; ``label`` is unused, since this prior has no classes."""
        return self(x, sigma, dtype)

    def _unet(self, x: Tensor, emb: Tensor, dtype: torch.dtype) -> Tensor:
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.stride, 0, -height % self.stride), mode='reflect')
        x = F.pixel_unshuffle(x.to(dtype, memory_format=torch.channels_last), 2)
        x = self.first(x.contiguous(memory_format=torch.channels_last))
        skips = []
        for scale, blocks in enumerate(self.encoder):
            for block in blocks:
                x = block(x, emb)
            if scale < len(self.down):
                skips.append(x)
                x = self.down[scale](x)
        for up, blocks in zip(reversed(self.up), reversed(self.decoder), strict=True):
            x = F.pixel_shuffle(up(x), 2) + skips.pop()
            for block in blocks:
                x = block(x, emb)
        return F.pixel_shuffle(self.last(x), 2)[..., :height, :width].float()
