"""The two networks of KernelGAN (Bell-Kligler et al., NeurIPS 2019), both trained on a single LR image."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAYER_SIZES = (7, 5, 3, 1, 1, 1)  # their receptive field is 13x13
POWER_ITERATIONS = 5


class DeepLinearGenerator(nn.Module):
    """Convolutions without nonlinearity or bias; together they form one 13x13 kernel, the blur kernel.

    Args:
        num_feat: Channels of the hidden layers.
    """

    kernel_size = 1 + sum(size - 1 for size in LAYER_SIZES)

    def __init__(self, num_feat: int = 64) -> None:
        super().__init__()
        channels = (1, *[num_feat] * (len(LAYER_SIZES) - 1), 1)
        self.layers = nn.Sequential(
            *(
                nn.Conv2d(num_in, num_out, size, bias=False)
                for num_in, num_out, size in zip(channels, channels[1:], LAYER_SIZES, strict=False)
            )
        )

    def kernel(self) -> Tensor:
        """The kernel, (1, 1, 13, 13), as a correlation: the impulse response rotated by 180 degrees."""
        weight = self.layers[0].weight
        impulse = weight.new_zeros(1, 1, *[2 * self.kernel_size - 1] * 2)
        impulse[..., self.kernel_size - 1, self.kernel_size - 1] = 1
        return self.layers(impulse).flip(-2, -1)

    def forward(self, x: Tensor, stride: int = 2) -> Tensor:
        """Downsample without padding: (B, C, H, W) to (B, C, (H - 13) // stride + 1, (W - 13) // stride + 1)."""
        kernel = self.kernel().expand(x.shape[1], -1, -1, -1)
        return F.conv2d(x, kernel, stride=stride, groups=x.shape[1])


class PatchDiscriminator(nn.Module):
    """Scores how much each 7x7 patch looks like a patch of the LR image.

    A 7x7 layer and several 1x1 layers, all with spectral normalisation, with batch norm after the hidden layers and a
    sigmoid at the end.

    Args:
        num_in_ch: Channels of the image.
        num_feat: Channels of the hidden layers.
        num_hidden: Number of hidden 1x1 layers.
    """

    patch_size = 7

    def __init__(self, num_in_ch: int = 3, num_feat: int = 64, num_hidden: int = 5) -> None:
        super().__init__()
        self.layers = nn.Sequential(SpectralConv2d(num_in_ch, num_feat, self.patch_size))
        for _ in range(num_hidden):
            self.layers.extend([SpectralConv2d(num_feat, num_feat, 1, bias=False), nn.BatchNorm2d(num_feat), nn.ReLU()])
        self.layers.extend([SpectralConv2d(num_feat, 1, 1), nn.Sigmoid()])

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to (B, 1, H - 6, W - 6) in [0, 1]."""
        return self.layers(x)


class SpectralConv2d(nn.Conv2d):
    """Convolution with spectral normalisation: the weight divided by its largest singular value (Miyato et al., 2018).

    Each call computes the singular vectors by power iterations from a fixed start, so the layer has no random state.
    """

    def forward(self, x: Tensor) -> Tensor:
        matrix = self.weight.flatten(1)
        with torch.no_grad():
            left = matrix.new_ones(matrix.shape[0])
            for _ in range(POWER_ITERATIONS):
                right = F.normalize(matrix.T @ left, dim=0)
                left = F.normalize(matrix @ right, dim=0)
        return self._conv_forward(x, self.weight / (left @ matrix @ right), self.bias)
