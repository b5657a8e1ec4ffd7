"""DASR (Wang et al., CVPR 2021): restoration steered by a representation of the degradation."""

from collections.abc import Mapping
from itertools import pairwise

import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from dkp_plugin.archs.one_shot import OneShotNetwork, conv3x3, count_modules, shuffle_scale, upsampling_layers

MEAN_RGB = (0.4488, 0.4371, 0.4040)  # of DIV2K
NUM_CODE = 64  # of the compressed representation
SLOPE = 0.1  # of all leaky ReLUs


class DegradationAwareConv(nn.Module):
    """Depthwise convolution and channel scaling, both predicted from the degradation (the paper's section 3.2).

    The first branch filters each channel with its own predicted k x k kernel and mixes the channels by a 1x1
    convolution. The second scales each channel by a predicted factor in (0, 1). The result is their sum.

    Args:
        num_feat: Channels C.
        kernel_size: Size k of the predicted kernels.
        reduction: The layer that predicts the factors has C / reduction hidden channels.
    """

    def __init__(self, num_feat: int, kernel_size: int, reduction: int) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.kernel = nn.Sequential(
            nn.Linear(NUM_CODE, NUM_CODE, bias=False),
            nn.LeakyReLU(SLOPE),
            nn.Linear(NUM_CODE, num_feat * kernel_size**2, bias=False),
        )
        self.conv = nn.Conv2d(num_feat, num_feat, 1)
        self.ca = ChannelScaling(num_feat, reduction)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Filter features (B, C, h, w) as the codes (B, 64) say."""
        kernels = self.kernel(code).view(-1, 1, self.kernel_size, self.kernel_size)
        # Every channel of every image has its own kernel, so each becomes a group.
        channels = x.reshape(1, -1, *x.shape[-2:])
        filtered = F.conv2d(channels, kernels, padding=self.kernel_size // 2, groups=len(kernels))
        return self.conv(F.leaky_relu(filtered.view_as(x), SLOPE)) + self.ca(x, code)


class ChannelScaling(nn.Module):
    """Scales the channels of features by factors in (0, 1) that depend on the degradation.

    Args:
        num_feat: Channels C.
        reduction: The hidden layer has C / reduction channels.
    """

    def __init__(self, num_feat: int, reduction: int) -> None:
        super().__init__()
        self.conv_du = nn.Sequential(
            nn.Conv2d(NUM_CODE, num_feat // reduction, 1, bias=False),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(num_feat // reduction, num_feat, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Scale features (B, C, h, w) as the codes (B, 64) say."""
        return x * self.conv_du(code[..., None, None])


class DegradationAwareBlock(nn.Module):
    """Two degradation-aware convolutions, each followed by a 3x3 convolution, and a skip connection."""

    def __init__(self, num_feat: int, reduction: int) -> None:
        super().__init__()
        self.da_conv1 = DegradationAwareConv(num_feat, 3, reduction)
        self.da_conv2 = DegradationAwareConv(num_feat, 3, reduction)
        self.conv1, self.conv2 = conv3x3(num_feat, num_feat), conv3x3(num_feat, num_feat)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        y = F.leaky_relu(self.conv1(F.leaky_relu(self.da_conv1(x, code), SLOPE)), SLOPE)
        return x + self.conv2(F.leaky_relu(self.da_conv2(y, code), SLOPE))


class ResidualGroup(nn.Module):
    """Modules of features and a code, then a 3x3 convolution, around which a skip connection leads."""

    def __init__(self, modules: list[nn.Module], num_feat: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*modules, conv3x3(num_feat, num_feat))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        return x + run_group(self.body, x, code)


class DegradationAwareSR(nn.Module):
    """The network G: restores LR images given the representation of their degradation."""

    def __init__(
        self, scale: int, num_feat: int, num_group: int, num_block: int, reduction: int, num_repr: int
    ) -> None:
        super().__init__()
        self.sub_mean, self.add_mean = _mean_shift(-1), _mean_shift(1)
        self.head = nn.Sequential(conv3x3(3, num_feat))
        self.compress = nn.Sequential(nn.Linear(num_repr, NUM_CODE, bias=False), nn.LeakyReLU(SLOPE))
        groups = [
            ResidualGroup([DegradationAwareBlock(num_feat, reduction) for _ in range(num_block)], num_feat)
            for _ in range(num_group)
        ]
        self.body = nn.Sequential(*groups, conv3x3(num_feat, num_feat))
        self.tail = nn.Sequential(nn.Sequential(*upsampling_layers(scale, num_feat)), conv3x3(num_feat, 3))

    def forward(self, x: Tensor, representation: Tensor) -> Tensor:
        """Restore images (B, 3, h, w) in [0, 255], given representations (B, R)."""
        code, features = self.compress(representation), self.head(self.sub_mean(x))
        return self.add_mean(self.tail(features + run_group(self.body, features, code)))


class DegradationEncoder(nn.Module):
    """Represents the degradation of an image; contrastive learning gives images of one degradation like outputs.

    Args:
        num_feat: Channels of the first two layers; the representation has R = 4 num_feat numbers.
    """

    def __init__(self, num_feat: int = 64) -> None:
        super().__init__()
        channels = (3, num_feat, num_feat, 2 * num_feat, 2 * num_feat, 4 * num_feat, 4 * num_feat)
        layers: list[nn.Module] = []
        for index, (num_in, num_out) in enumerate(pairwise(channels)):
            stride = 2 if index in (2, 4) else 1
            layers += [nn.Conv2d(num_in, num_out, 3, stride, padding=1), nn.BatchNorm2d(num_out), nn.LeakyReLU(SLOPE)]
        self.E = nn.Sequential(*layers)
        size = channels[-1]
        self.mlp = nn.Sequential(nn.Linear(size, size), nn.LeakyReLU(SLOPE), nn.Linear(size, size))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Represent images.

        Args:
            x: (B, 3, h, w) in [0, 255].

        Returns:
            Representations (B, R), and their projections (B, R), of unit length, which contrastive learning compares.
        """
        representation = self.E(x).mean((-2, -1))
        return representation, F.normalize(self.mlp(representation), dim=1)


@ARCH_REGISTRY.register()
class DASR(OneShotNetwork):
    """DASR restores in one pass, steered by a learned representation of the degradation; it estimates no kernel.

    The names and shapes of the parameters are those of the released checkpoints, which lack what only the contrastive
    training needs. ``DASRModel`` trains it with that; ``SRModel`` without.

    Args:
        scale: 2, 3 or 4.
        convention: ``aligned`` or ``released``, of the LR images.
        num_feat: Channels of the features.
        num_group: Groups of blocks.
        num_block: Blocks in a group.
        reduction: By which the layers that scale channels reduce their number.
        num_feat_encoder: Channels of the first layers of the encoder.
    """

    paper = 'Wang et al., CVPR 2021'
    source = 'https://github.com/The-Learning-And-Vision-Atelier-LAVA/DASR'

    def __init__(
        self,
        scale: int = 4,
        convention: str = 'aligned',
        num_feat: int = 64,
        num_group: int = 5,
        num_block: int = 5,
        reduction: int = 8,
        num_feat_encoder: int = 64,
    ) -> None:
        super().__init__(scale, convention)
        self.G = DegradationAwareSR(scale, num_feat, num_group, num_block, reduction, 4 * num_feat_encoder)
        self.E = nn.ModuleDict({'encoder_q': DegradationEncoder(num_feat_encoder)})

    @staticmethod
    def sizes(weights: Mapping[str, Tensor]) -> dict[str, int]:
        num_feat = len(weights['G.head.0.weight'])
        return {
            'scale': shuffle_scale(weights, 'G.tail.0.', num_feat),
            'num_feat': num_feat,
            'num_group': count_modules(weights, 'G.body.') - 1,
            'num_block': count_modules(weights, 'G.body.0.body.') - 1,
            'reduction': num_feat // len(weights['G.body.0.body.0.da_conv1.ca.conv_du.0.weight']),
            'num_feat_encoder': len(weights['E.encoder_q.E.0.weight']),
        }

    @property
    def encoder(self) -> DegradationEncoder:
        """The encoder of the degradation."""
        return self.E['encoder_q']

    def restore(self, lq: Tensor) -> Tensor:
        return self.restore_and_project(lq)[0]

    def restore_and_project(self, lq: Tensor) -> tuple[Tensor, Tensor]:
        """Restore images (B, 3, h, w) in [0, 1] on the grid of ``aligned``; also return their projections (B, R)."""
        representation, projection = self.encoder(255 * lq)
        return self.G(255 * lq, representation) / 255, projection


def run_group(body: nn.Sequential, x: Tensor, code: Tensor) -> Tensor:
    """Run modules of features and a code, then a last one of features alone."""
    for module in body[:-1]:
        x = module(x, code)
    return body[-1](x)


def _mean_shift(sign: int) -> nn.Conv2d:
    """Add or subtract the mean colour, out of 255; a convolution because the released checkpoints hold one."""
    shift = nn.Conv2d(3, 3, 1).requires_grad_(False)
    nn.init.dirac_(shift.weight)
    shift.bias.copy_(shift.bias.new_tensor(MEAN_RGB) * 255 * sign)
    return shift
