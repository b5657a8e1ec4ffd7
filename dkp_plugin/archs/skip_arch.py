"""The skip network of Deep Image Prior (Ulyanov et al., CVPR 2018) with non-local blocks, as DIP-DKP uses it."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from dkp_plugin.archs.layers import Conv2d, PointwiseConv2d

NonLocal = Literal['softmax', 'dot_product']


class NonLocalBlock(nn.Module):
    """Embedded-Gaussian non-local block with a residual connection (Wang et al., CVPR 2018).

    Args:
        num_feat: Channels C of input and output; the embeddings have C / 2.
    """

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.query_key_value = PointwiseConv2d(num_feat, 3 * (num_feat // 2))
        self.project = PointwiseConv2d(num_feat // 2, num_feat)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape; memory grows linearly with H W."""
        query, key, value = self.query_key_value(x).flatten(2).transpose(1, 2).unsqueeze(1).chunk(3, dim=-1)
        attended = F.scaled_dot_product_attention(query, key, value)
        return x + self.project(attended.squeeze(1).transpose(1, 2).unflatten(2, x.shape[-2:]))


class ZeroBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation whose weight and bias start at 0: a residual branch that ends in it starts as 0."""

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.zeros_(self.weight)


class DotProductNonLocalBlock(nn.Module):
    """Dot-product non-local block (Wang et al., CVPR 2018, section 3.2) with a residual connection.

    ``z = x + BN(W y)``, ``y_i = 1/N sum_j (theta_i^T phi_j) g_j``, where j runs over the N maxima of phi and g over 2x2
    pixels. The batch normalisation starts at weight 0 and bias 0, so that the block starts as the identity.

    Args:
        num_feat: Channels C of input and output; the embeddings theta, phi and g have C / 2.
    """

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.theta = PointwiseConv2d(num_feat, num_feat // 2)
        self.phi_g = PointwiseConv2d(num_feat, 2 * (num_feat // 2))
        self.project = nn.Sequential(PointwiseConv2d(num_feat // 2, num_feat), ZeroBatchNorm2d(num_feat))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W), H and W at least 2, to the same shape; time and memory grow linearly with H W."""
        theta = self.theta(x)
        phi, g = F.max_pool2d(self.phi_g(x), 2).flatten(2).chunk(2, dim=1)
        # Without a softmax the products associate: theta^T phi, one value per pair of pixels, is never computed.
        pairs = g @ (phi / phi.shape[-1]).transpose(1, 2)
        return x + self.project((pairs @ theta.flatten(2)).unflatten(2, x.shape[-2:]))


BLOCKS = {'softmax': NonLocalBlock, 'dot_product': DotProductNonLocalBlock}


def conv_block(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    """Convolution with reflection padding, batch normalisation and LeakyReLU(0.2)."""
    conv = (
        PointwiseConv2d(in_channels, out_channels)
        if kernel_size == stride == 1
        else Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, padding_mode='reflect')
    )
    return nn.Sequential(
        conv,
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(0.2, inplace=True),
    )


class SkipScale(nn.Module):
    """One scale of the hourglass: a skip branch in parallel with everything at half the resolution.

    Args:
        in_channels: Channels of the input.
        num_feat: Channels of the encoder and the decoder.
        num_skip: Channels of the skip branch.
        non_local: Form of the non-local block that follows the downsampling, or None.
        deeper: The next scale, or None for the deepest.
    """

    def __init__(
        self, in_channels: int, num_feat: int, num_skip: int, non_local: NonLocal | None, deeper: 'SkipScale | None'
    ) -> None:
        super().__init__()
        self.skip = conv_block(in_channels, num_skip, 1)
        self.down = conv_block(in_channels, num_feat, 3, stride=2)
        self.non_local = nn.Identity() if non_local is None else BLOCKS[non_local](num_feat)
        self.down_conv = conv_block(num_feat, num_feat, 3)
        self.deeper = nn.Identity() if deeper is None else deeper
        self.norm = nn.BatchNorm2d(num_feat + num_skip)
        self.up_conv = nn.Sequential(conv_block(num_feat + num_skip, num_feat, 3), conv_block(num_feat, num_feat, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W), H and W even, to (B, num_feat, H, W)."""
        deep = self.deeper(self.down_conv(self.non_local(self.down(x))))
        deep = F.interpolate(deep, scale_factor=2, mode='bilinear', align_corners=False)
        return self.up_conv(self.norm(torch.cat([self.skip(x), deep], dim=1)))


@ARCH_REGISTRY.register()
class SkipNet(nn.Module):
    """Hourglass network with skip connections; untrained, it is the deep image prior.

    Args:
        num_in_ch: Channels of the input.
        num_out_ch: Channels of the output.
        num_feat: Channels of the encoder and the decoder.
        num_skip: Channels of each skip branch.
        num_scales: Number of scales, each at half the resolution of the one before.
        non_local_scales: Scales with a non-local block, counted from 1.
        non_local: Form of these blocks: ``softmax`` is :class:`NonLocalBlock`, ``dot_product`` is
            :class:`DotProductNonLocalBlock`, as in the released program.
    """

    def __init__(
        self,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        num_feat: int = 128,
        num_skip: int = 16,
        num_scales: int = 5,
        non_local_scales: Sequence[int] = (3, 4, 5),
        non_local: NonLocal = 'dot_product',
    ) -> None:
        super().__init__()
        self.stride = 2**num_scales
        body = None
        for scale in range(num_scales, 0, -1):
            in_channels = num_in_ch if scale == 1 else num_feat
            block = non_local if scale in non_local_scales else None
            body = SkipScale(in_channels, num_feat, num_skip, block, body)
        self.body = body
        self.last = PointwiseConv2d(num_feat, num_out_ch)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, num_in_ch, H, W) to a float32 image (B, num_out_ch, H, W) in [0, 1].

        H and W are multiples of ``stride`` and at least twice as large. The hidden layers compute in the dtype of x.
        """
        return torch.sigmoid(self.last(self.body(x).float()))
