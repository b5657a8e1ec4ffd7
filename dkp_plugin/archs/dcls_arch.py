"""DCLS (Luo et al., CVPR 2022): deconvolution of features by a kernel on the LR grid, then a dual-path network."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from dkp_plugin.archs.one_shot import OneShotNetwork, conv3x3, count_modules, shuffle_scale, upsampling_layers
from dkp_plugin.physics.degradation import kernel_to_otf

FILTER_SIZES = {11: (7, 3, 3, 1), 21: (11, 7, 5, 1), 31: (11, 9, 7, 5, 3)}  # of the kernel's factors, by kernel size
SOFTMAX_SIZE = 11  # the released network with this kernel size applies softmax to its kernel, the others do not
NUM_FACTOR = 16  # channels between the kernel's factors
SLOPE = 0.1  # of all leaky ReLUs


def constrained_least_squares(features: Tensor, kernel: Tensor, smoother: Tensor) -> Tensor:
    """Closed form of ``argmin_x ||k * x - y||^2 + ||p * x||^2`` under periodic borders (the paper's equation 12).

    ``*`` is a convolution, so the kernels are rotated by 180 degrees against the correlations of this package.

    Args:
        features: y, (B, C, h, w).
        kernel: k, (B or 1, 1, K, K), K odd, at most h and w.
        smoother: p, the filter whose response is penalised, (B or 1, C or 1, M, M), M odd, at most h and w.

    Returns:
        x, (B, C, h, w).
    """
    size = features.shape[-2:]
    blur, penalty = kernel_to_otf(kernel, size), kernel_to_otf(smoother, size)  # conjugated transfer functions
    spectrum = blur * torch.fft.fft2(features)
    return torch.fft.ifft2(spectrum / (blur.abs().square() + penalty.abs().square())).real


class ResidualBlock(nn.Module):
    """x + conv(leaky(conv(x))), 3x3."""

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv3x3(num_feat, num_feat), conv3x3(num_feat, num_feat)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.leaky_relu(self.conv1(x), SLOPE))


class ChannelAttention(nn.Module):
    """Scales channels by factors in (0, 1) that depend on their means."""

    def __init__(self, num_feat: int, reduction: int) -> None:
        super().__init__()
        hidden = num_feat // reduction
        self.conv_du = nn.Sequential(
            nn.Conv2d(num_feat, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, num_feat, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv_du(x.mean((-2, -1), keepdim=True))


class DualPathBlock(nn.Module):
    """Attention on two paths, of deblurred and of primitive features; the second one informs the first."""

    def __init__(self, num_feat: int, num_primitive: int, reduction: int) -> None:
        super().__init__()
        self.body1, self.body2 = _two_convs(num_feat), _two_convs(num_primitive)
        self.CA_body1 = nn.Sequential(
            nn.LeakyReLU(SLOPE), conv3x3(num_feat + num_primitive, num_feat), ChannelAttention(num_feat, reduction)
        )
        self.CA_body2 = ChannelAttention(num_primitive, reduction)

    def forward(self, deblurred: Tensor, primitive: Tensor) -> tuple[Tensor, Tensor]:
        first, second = self.body1(deblurred), self.body2(primitive)
        return deblurred + self.CA_body1(torch.cat([first, second], 1)), primitive + self.CA_body2(second)


class DualPathGroup(nn.Module):
    """A chain of blocks whose result is doubled.

    The paper draws a skip connection around the chain. The released program adds the result of the chain to itself in
    its place, and the released weights were trained like that.
    """

    def __init__(self, num_feat: int, num_primitive: int, num_block: int, reduction: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*(DualPathBlock(num_feat, num_primitive, reduction) for _ in range(num_block)))

    def forward(self, deblurred: Tensor, primitive: Tensor) -> tuple[Tensor, Tensor]:
        for block in self.body:
            deblurred, primitive = block(deblurred, primitive)
        return 2 * deblurred, 2 * primitive


class FeatureDeconvolution(nn.Module):
    """Deblurs features by :func:`constrained_least_squares`, with a filter p of each channel that it predicts.

    Args:
        num_feat: Channels.
        reduction: The deconvolution takes place on num_feat / reduction channels.
    """

    def __init__(self, num_feat: int, reduction: int) -> None:
        super().__init__()
        reduced = num_feat // reduction
        self.reduce_feature = nn.Conv2d(num_feat, reduced, 1)
        self.grad_filter = nn.Sequential(
            nn.Conv2d(reduced, reduced, 3),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(reduced, reduced, 3),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(reduced, reduced, 3),
            nn.AdaptiveAvgPool2d(3),
            nn.Conv2d(reduced, reduced, 1),
        )
        self.expand_feature = nn.Conv2d(reduced, num_feat, 1)

    def smoothers(self, reduced: Tensor) -> Tensor:
        """The filters p of reduced features (B, C, h, w): (B, C, 3, 3), of sum 0."""
        filters = self.grad_filter(reduced).exp()
        return filters - filters.mean((-2, -1), keepdim=True)

    def forward(self, features: Tensor, kernel: Tensor) -> Tensor:
        """Deblur features (B, num_feat, h, w), blurred by kernels (B, 1, K, K)."""
        reduced, border = self.reduce_feature(features), kernel.shape[-1]
        padded = F.pad(reduced, (border,) * 4, mode='replicate')
        deblurred = constrained_least_squares(padded, kernel, self.smoothers(reduced))
        return self.expand_feature(deblurred[..., border:-border, border:-border])


class DualPathNetwork(nn.Module):
    """The restorer: restores an LR image, given its kernel on the LR grid."""

    def __init__(self, scale: int, num_feat: int, num_group: int, num_block: int, reduction: int) -> None:
        super().__init__()
        num_primitive = num_feat // reduction
        self.conv_first = conv3x3(3, num_feat)
        self.feature_block = nn.Sequential(*(ResidualBlock(num_feat) for _ in range(3)))
        self.head1 = conv3x3(num_feat, num_primitive)
        self.head2 = FeatureDeconvolution(num_feat, reduction)
        self.body = nn.Sequential(
            *(DualPathGroup(num_feat, num_primitive, num_block, reduction) for _ in range(num_group))
        )
        self.fusion = conv3x3(num_feat + num_primitive, num_feat)
        with torch.no_grad():
            self.fusion.weight /= 2**num_group  # every group doubles its features
        self.upscale = nn.Sequential(*upsampling_layers(scale, num_feat), conv3x3(num_feat, 3))

    def forward(self, lq: Tensor, kernel: Tensor) -> Tensor:
        """Restore images (B, 3, h, w), blurred by kernels (B, 1, K, K)."""
        shallow = self.conv_first(lq)
        features = self.feature_block(shallow)
        primitive, deblurred = self.head1(features), self.head2(features, kernel)
        for group in self.body:
            deblurred, primitive = group(deblurred, primitive)
        return self.upscale(shallow + self.fusion(torch.cat([primitive, deblurred], 1)))


class DeepLinearKernelEstimator(nn.Module):
    """Predicts the kernel on the LR grid as the product of a chain of linear filters.

    Args:
        num_feat: Channels of the features.
        num_code: Numbers that describe an image, from which linear layers predict the filters.
        kernel_size: Size K of the kernel, one of ``FILTER_SIZES``.
    """

    def __init__(self, num_feat: int, num_code: int, kernel_size: int) -> None:
        super().__init__()
        self.kernel_size, self.filter_sizes = kernel_size, FILTER_SIZES[kernel_size]
        self.channels = (3, *[NUM_FACTOR] * (len(self.filter_sizes) - 1), 3)
        self.head = nn.Sequential(nn.Conv2d(3, num_feat, 7, padding=3))
        self.body = nn.Sequential(nn.Sequential(*(ResidualBlock(num_feat) for _ in range(3))))
        self.tail = nn.Sequential(
            nn.Conv2d(num_feat, num_feat, 3),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(num_feat, num_feat, 3),
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(num_feat, num_code, 1),
            nn.Flatten(),
        )
        self.dec = nn.ModuleList(
            nn.Linear(num_code, num_in * num_out * size**2)
            for num_in, num_out, size in zip(self.channels, self.channels[1:], self.filter_sizes, strict=False)
        )
        for layer in self.dec:  # the first kernels are broad and positive, so that their sum is not near 0
            nn.init.normal_(layer.weight, std=1e-3 / num_code**0.5)
            nn.init.constant_(layer.bias, 1 / len(layer.bias) ** 0.5)

    def filters(self, lq: Tensor) -> list[Tensor]:
        """The chain of linear filters for LR images (B, 3, h, w): each (B, num_out, num_in, size, size)."""
        shallow = self.head(lq)
        code = self.tail(shallow + self.body(shallow))
        return [
            layer(code).view(len(lq), num_out, num_in, size, size)
            for layer, num_in, num_out, size in zip(
                self.dec, self.channels, self.channels[1:], self.filter_sizes, strict=False
            )
        ]

    def forward(self, lq: Tensor) -> Tensor:
        """Estimate the kernels of LR images (B, 3, h, w): (B, 1, K, K) of sum 1."""
        batch, reach = len(lq), self.kernel_size - 1
        response = lq.new_ones(1, 3 * batch, 1, 1)
        for index, taps in enumerate(self.filters(lq)):
            response = F.conv2d(response, taps.flatten(0, 1), padding=0 if index else reach, groups=batch)
        kernel = response.view(batch, 3, *response.shape[-2:]).mean(1, keepdim=True).flip(-2, -1)
        if self.kernel_size == SOFTMAX_SIZE:
            kernel = kernel.flatten(1).softmax(1).view_as(kernel)
        return kernel / kernel.sum((-2, -1), keepdim=True)


@ARCH_REGISTRY.register()
class DCLS(OneShotNetwork):
    """DCLS restores in one pass and deblurs its features by a kernel that it estimates on the LR grid.

    That kernel blurs the downsampled HR image, so it cannot be compared with the kernels of this package, which blur
    the HR image. The names and shapes of the parameters are those of the released checkpoints.

    Args:
        scale: 2, 3 or 4.
        convention: ``aligned`` or ``released``, of the LR images.
        num_feat: Channels of the features.
        num_group: Groups of blocks.
        num_block: Blocks in a group.
        reduction: By which channels are reduced, in the second path and elsewhere.
        num_code: Numbers from which the kernel is predicted.
        kernel_size: 11, 21 or 31. The released weights for anisotropic kernels have 11 at x2 and 31 at x4, those for
            isotropic kernels 21.

    Raises:
        ValueError: for a scale, convention or kernel size that is not allowed.
    """

    paper = 'Luo et al., CVPR 2022'
    source = 'https://github.com/megvii-research/DCLS-SR'

    def __init__(
        self,
        scale: int = 4,
        convention: str = 'aligned',
        num_feat: int = 64,
        num_group: int = 5,
        num_block: int = 10,
        reduction: int = 4,
        num_code: int = 256,
        kernel_size: int = 21,
    ) -> None:
        super().__init__(scale, convention)
        if kernel_size not in FILTER_SIZES:
            raise ValueError(f'kernel_size: {kernel_size} is not one of {", ".join(map(str, FILTER_SIZES))}')
        self.Restorer = DualPathNetwork(scale, num_feat, num_group, num_block, reduction)
        self.Estimator = DeepLinearKernelEstimator(num_feat, num_code, kernel_size)

    @staticmethod
    def sizes(weights: Mapping[str, Tensor]) -> dict[str, int]:
        num_feat, num_code = len(weights['Restorer.conv_first.weight']), weights['Estimator.dec.0.weight'].shape[1]
        num_taps = len(weights['Estimator.dec.0.weight']) // (3 * NUM_FACTOR)
        num_factors = count_modules(weights, 'Estimator.dec.')
        kernel_sizes = [
            size for size, chain in FILTER_SIZES.items() if (chain[0] ** 2, len(chain)) == (num_taps, num_factors)
        ]
        if not kernel_sizes:
            raise ValueError(f'a kernel of {num_factors} factors, the first of {num_taps} taps, is unknown')
        return {
            'scale': shuffle_scale(weights, 'Restorer.upscale.', num_feat),
            'num_feat': num_feat,
            'num_group': count_modules(weights, 'Restorer.body.'),
            'num_block': count_modules(weights, 'Restorer.body.0.body.'),
            'reduction': num_feat // len(weights['Restorer.head1.weight']),
            'num_code': num_code,
            'kernel_size': kernel_sizes[0],
        }

    def restore(self, lq: Tensor) -> Tensor:
        return self.Restorer(lq, self.Estimator(lq))

    def estimate_kernel(self, lq: Tensor) -> Tensor:
        """Estimate the kernels of LR images (B, 3, h, w) in [0, 1]: (B, 1, K, K) on the LR grid, of sum 1."""
        return self.Estimator(lq)


def _two_convs(num_feat: int) -> nn.Sequential:
    return nn.Sequential(conv3x3(num_feat, num_feat), nn.LeakyReLU(SLOPE), conv3x3(num_feat, num_feat))
