"""The UNet of guided diffusion, known as ADM (Dhariwal and Nichol, NeurIPS 2021).

Names and shapes of the parameters match the checkpoints of openai/guided-diffusion, so these load unchanged. This
dictates some attribute names.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from pydantic import PositiveInt
from torch import Tensor, nn

from dkp_plugin.archs.diffusion_schedule import alphas_cumprod, linear_betas, noise_levels, timestep_of_sigma
from dkp_plugin.archs.image_prior import ImagePrior
from dkp_plugin.archs.layers import Conv2d

NUM_GROUPS = 32  # in every group normalisation


def timestep_embedding(timesteps: Tensor, num_channels: int) -> Tensor:
    """Cosines and sines of timesteps at logarithmically spaced frequencies from 1 down to almost 1e-4.

    Args:
        timesteps: (B,), integer or fractional.
        num_channels: Length of the embedding, even.

    Returns:
        (B, num_channels), float32, the cosines first.
    """
    half = num_channels // 2
    exponents = torch.arange(half, dtype=torch.float32, device=timesteps.device) / half
    angles = timesteps.float()[:, None] * torch.exp(-math.log(10000) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def zero_initialised(layer: nn.Module) -> nn.Module:
    """Zero the parameters of a layer and return it; a residual branch that ends in it starts as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class GroupNorm(nn.GroupNorm):
    """Group normalisation that computes in the dtype of its parameters (float32), whatever the dtype of its input."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype)).to(x.dtype)


class TokenLinear(nn.Conv1d):
    """Linear map of tokens (B, T, C_in) to (B, T, C_out) in the dtype of its input.

    The weight has the shape (C_out, C_in, 1), since the checkpoints store a convolution.
    """

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__(num_in, num_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.squeeze(-1).to(x.dtype), self.bias.to(x.dtype))


class ResBlock(nn.Module):
    """Residual block of two convolutions; the embedding scales and shifts the features after the second normalisation.

    Args:
        num_in: Channels of the input.
        num_out: Channels of the output.
        num_emb: Length of the embedding.
        resample: Layer without parameters that changes the resolution of both the branch and the skip connection.
    """

    def __init__(self, num_in: int, num_out: int, num_emb: int, resample: nn.Module | None = None) -> None:
        super().__init__()
        self.resample = nn.Identity() if resample is None else resample
        self.in_layers = nn.Sequential(GroupNorm(NUM_GROUPS, num_in), nn.SiLU(), Conv2d(num_in, num_out, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(num_emb, 2 * num_out))
        self.out_layers = nn.Sequential(
            GroupNorm(NUM_GROUPS, num_out),
            nn.SiLU(),
            nn.Identity(),  # keeps the index of the dropout layer, which the 256x256 models do not use
            zero_initialised(Conv2d(num_out, num_out, 3, padding=1)),
        )
        self.skip_connection = nn.Identity() if num_in == num_out else Conv2d(num_in, num_out, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Map features (B, C, H, W) and embeddings (B, E) to features, resampled."""
        h = self.in_layers[2](self.resample(self.in_layers[:2](x)))
        scale, shift = self.emb_layers(emb).to(h.dtype)[:, :, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, self.out_layers[0](h), 1 + scale)
        return self.skip_connection(self.resample(x)) + self.out_layers[1:](h)


class AttentionBlock(nn.Module):
    """Self-attention among all positions, in a residual branch.

    Args:
        num_feat: Channels, a multiple of ``num_head_channels``.
        num_head_channels: Channels of each head.
    """

    def __init__(self, num_feat: int, num_head_channels: int) -> None:
        super().__init__()
        self.num_head_channels = num_head_channels
        self.norm = GroupNorm(NUM_GROUPS, num_feat)
        self.qkv = TokenLinear(num_feat, 3 * num_feat)
        self.proj_out = zero_initialised(TokenLinear(num_feat, num_feat))

    def forward(self, x: Tensor) -> Tensor:
        """Map features (B, C, H, W) to features of the same shape."""
        qkv = self.qkv(self.norm(x).flatten(2).transpose(1, 2))  # (B, T, 3 C)
        # The query, key and value of a head are adjacent ("legacy order").
        q, k, v = qkv.unflatten(2, (-1, 3, self.num_head_channels)).permute(3, 0, 2, 1, 4)  # each (B, heads, T, c)
        h = F.scaled_dot_product_attention(q, k, v)
        h = self.proj_out(h.transpose(1, 2).flatten(2))  # (B, T, C)
        return x + h.transpose(1, 2).reshape(x.shape)


class Stage(nn.Sequential):
    """Layers in sequence; residual blocks also receive the embedding."""

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        for layer in self:
            x = layer(x, emb) if isinstance(layer, ResBlock) else layer(x)
        return x


@ARCH_REGISTRY.register()
class GuidedDiffusionUNet(ImagePrior):
    """Estimate the noise in RGB images at a timestep of the linear noise schedule with 1000 steps.

    The defaults match ``256x256_diffusion_uncond.pt``. With ``num_classes: 1000`` they match ``256x256_diffusion.pt``.
    The checkpoint for faces, ``ffhq_10m.pt``, needs ``num_channels: 128, num_res_blocks: 1, attention_strides: [16]``.

    Args:
        num_channels: Channels at full resolution, a multiple of 32.
        num_res_blocks: Residual blocks per resolution in the encoder; the decoder has one more.
        channel_mult: Channels at each resolution as multiples of ``num_channels``, from fine to coarse.
        attention_strides: Downsampling factors with self-attention. The flag ``attention_resolutions 32,16,8`` of the
            public scripts gives the same layers as feature map sizes of a 256x256 image.
        num_head_channels: Channels of each attention head.
        num_classes: Number of class labels; None for an unconditional network.

    Raises:
        ValueError: if the channels cannot be divided into groups or heads.
    """

    native_tile = 256

    def __init__(
        self,
        num_channels: PositiveInt = 256,
        num_res_blocks: PositiveInt = 2,
        channel_mult: Sequence[PositiveInt] = (1, 1, 2, 2, 4, 4),
        attention_strides: Sequence[PositiveInt] = (8, 16, 32),
        num_head_channels: PositiveInt = 64,
        num_classes: PositiveInt | None = None,
    ) -> None:
        super().__init__()
        if num_channels % NUM_GROUPS:
            raise ValueError(f'num_channels: {num_channels} is not a multiple of {NUM_GROUPS}')
        self.num_channels, self.num_head_channels = num_channels, num_head_channels
        self.num_classes, self.attention_strides = num_classes, tuple(attention_strides)
        self.stride = 2 ** (len(channel_mult) - 1)
        num_emb = 4 * num_channels
        self.time_embed = nn.Sequential(nn.Linear(num_channels, num_emb), nn.SiLU(), nn.Linear(num_emb, num_emb))
        if num_classes is not None:
            self.label_emb = nn.Embedding(num_classes, num_emb)
        widths = [mult * num_channels for mult in channel_mult]
        skips = self._build_encoder(widths, num_res_blocks, num_emb)
        self.middle_block = Stage(
            ResBlock(widths[-1], widths[-1], num_emb),
            self._attention(widths[-1]),
            ResBlock(widths[-1], widths[-1], num_emb),
        )
        self._build_decoder(widths, num_res_blocks, num_emb, skips)
        last = zero_initialised(Conv2d(widths[0], 6, 3, padding=1))
        self.out = nn.Sequential(GroupNorm(NUM_GROUPS, widths[0]), nn.SiLU(), last)

    def _attention(self, num_feat: int) -> AttentionBlock:
        if num_feat % self.num_head_channels:
            raise ValueError(
                f'num_head_channels: {self.num_head_channels} does not divide the {num_feat} channels of an attention'
            )
        return AttentionBlock(num_feat, self.num_head_channels)

    def _stage(self, num_in: int, num_out: int, num_emb: int, level: int) -> Stage:
        attends = 2**level in self.attention_strides
        return Stage(ResBlock(num_in, num_out, num_emb), *([self._attention(num_out)] if attends else []))

    def _build_encoder(self, widths: list[int], num_res_blocks: int, num_emb: int) -> list[int]:
        """Build ``input_blocks``; return the number of channels of each skip connection."""
        stages, skips = [Stage(Conv2d(3, widths[0], 3, padding=1))], [widths[0]]
        for level, width in enumerate(widths):
            if level > 0:
                stages.append(Stage(ResBlock(skips[-1], skips[-1], num_emb, nn.AvgPool2d(2))))
                skips.append(skips[-1])
            for _ in range(num_res_blocks):
                stages.append(self._stage(skips[-1], width, num_emb, level))
                skips.append(width)
        self.input_blocks = nn.ModuleList(stages)
        return skips

    def _build_decoder(self, widths: list[int], num_res_blocks: int, num_emb: int, skips: list[int]) -> None:
        """Build ``output_blocks``; each one takes a skip connection, the last one first."""
        stages, num_in = [], widths[-1]
        for level in reversed(range(len(widths))):
            for _ in range(num_res_blocks + 1):
                stages.append(self._stage(num_in + skips.pop(), widths[level], num_emb, level))
                num_in = widths[level]
            if level > 0:
                stages[-1].append(ResBlock(num_in, num_in, num_emb, nn.Upsample(scale_factor=2)))
        self.output_blocks = nn.ModuleList(stages)

    def forward(
        self, x: Tensor, timesteps: Tensor, dtype: torch.dtype = torch.float32, label: Tensor | None = None
    ) -> Tensor:
        """Estimate the noise and the variance of a reverse step.

        Args:
            x: Noisy images sqrt(abar_t) x0 + sqrt(1 - abar_t) n, x0 in [-1, 1], (B, 3, H, W), float32; H and W
                multiples of ``stride``, 32 by default.
            timesteps: Timestep t of each image, 0 to 999, (B,), integer or fractional.
            dtype: Data type of the hidden layers.
            label: Class labels, (B,), int64, for a network with classes; None for an unconditional one.

        Returns:
            (B, 6, H, W), float32: the noise n, then the position of the log variance of a reverse step between its
            bounds, -1 for the lower and 1 for the upper one (Improved DDPM, ICML 2021, eq. 15).

        Raises:
            ValueError: if H or W is not a multiple of ``stride``, or if labels are missing or not supported.
        """
        if x.shape[-2] % self.stride or x.shape[-1] % self.stride:
            raise ValueError(f'x: height and width {tuple(x.shape[-2:])} are not multiples of {self.stride}')
        if (label is None) != (self.num_classes is None):
            allowed = 'None' if self.num_classes is None else f'labels from 0 to {self.num_classes - 1}'
            raise ValueError(f'label: {label} is not allowed, this network takes {allowed}')
        emb = self.time_embed(timestep_embedding(timesteps, self.num_channels).to(self.time_embed[0].weight.dtype))
        if label is not None:
            emb = emb + self.label_emb(label)
        h, skips = x.to(dtype), []
        for stage in self.input_blocks:
            h = stage(h, emb)
            skips.append(h)
        h = self.middle_block(h, emb)
        for stage in self.output_blocks:
            h = stage(torch.cat([h, skips.pop()], dim=1), emb)
        return self.out(h.to(x.dtype))

    def denoise(
        self, x: Tensor, sigma: Tensor, dtype: torch.dtype = torch.float32, label: Tensor | None = None
    ) -> Tensor:
        """See :meth:`ImagePrior.denoise`.

        Args:
            x: Noisy images (B, 3, H, W), float32; the clean images lie in [0, 1]. Sides that are not a multiple of
                ``stride`` are padded by reflection and cropped afterwards.
            sigma: Standard deviation of the noise of each image, (B,). The network was trained on 0.005 to 79.
            dtype: Data type of the hidden layers.
            label: Class labels, as in :meth:`forward`.

        Returns:
            Denoised images (B, 3, H, W), float32, not clipped to [0, 1].
        """
        height, width = x.shape[-2:]
        padded = F.pad(x, (0, -width % self.stride, 0, -height % self.stride), mode='reflect')
        level = 2 * sigma  # images in [-1, 1] have twice the contrast
        timesteps = timestep_of_sigma(level, noise_levels(alphas_cumprod(linear_betas())))
        x_t = (2 * padded - 1) * (1 + level.square()).rsqrt().view(-1, 1, 1, 1)  # abar = 1 / (1 + level^2)
        epsilon = self(x_t, timesteps, dtype, label)[:, :3, :height, :width]
        # x0 = (x_t - sqrt(1 - abar) epsilon) / sqrt(abar) = 2 x - 1 - 2 sigma epsilon, mapped back to [0, 1]:
        return x - sigma.view(-1, 1, 1, 1) * epsilon
