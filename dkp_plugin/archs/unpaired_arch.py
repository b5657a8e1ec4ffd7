"""The network of unpaired blind super-resolution: an intermediate image, a kernel, and the model that joins them.

After "Deep Unpaired Blind Image Super-Resolution Using Self-supervised Learning and Exemplar Distillation" (Dong et
al., IJCV 2023), of which only the abstract was at hand. From the abstract: kernel and intermediate image are both
estimated from the LR image, and a variational model built on the image formation improves the latter. Inferred from
earlier work of the authors: its closed form (Zhao et al., TIP 2016). Ours: the power-law metric, the learned second
data step, and a weight that depends on the image. ``docs/unpaired.md`` has the whole list.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from dkp_plugin.archs.layers import Conv2d
from dkp_plugin.physics.coding_noise import NoiseModel
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.error_spectrum import power_law
from dkp_plugin.physics.kernels import convert_convention, crop_kernel, default_kernel_size

CHANNELS = 3
GIVEN, OWN = 0, 1  # columns of the weights: for a kernel that is given, and for the kernel network's own
NUM_LEVELS = 3  # of the noise, each a plane beside the LR image for networks that take noise
LEVEL_UNIT = 0.05  # standard deviation that such a plane shows as 1
BICUBIC_REACH = 3  # LR pixels, more than the cubic needs
MIN_STD = 1e-3  # of an image that the kernel network sees: a quarter of a level of 8 bits


@dataclass(frozen=True)
class Look:
    """What the network makes of an LR image before it takes a kernel, in the convention ``aligned``.

    Attributes:
        lq: LR images, (B, 3, h, w).
        intermediate: Image of S, (B, 3, s h, s w).
        features: Of S, (B, C, h, w).
        log_kernel: Logarithms of the kernels of N, (B, 1, K, K).
        log_weights: Of the variational model, (B, 2), for a given and for its own kernel.
        noise: Of the LR images, for networks that take it.
    """

    lq: Tensor
    intermediate: Tensor
    features: Tensor
    log_kernel: Tensor
    log_weights: Tensor
    noise: NoiseModel | None = None


@dataclass(frozen=True)
class Restored:
    """What the network makes of an LR image, in the convention of the network.

    Attributes:
        kernel: The kernel in use, (B, 1, K, K).
        intermediate: Image that knows no kernel, (B, 3, s h, s w).
        variational: Minimiser of the variational model, of the same shape.
        result: After the learned step and the second data step, of the same shape.
    """

    kernel: Tensor
    intermediate: Tensor
    variational: Tensor
    result: Tensor


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


@ARCH_REGISTRY.register()
class UnpairedSR(nn.Module):
    """Restores LR images of unknown blur in one pass.

    All convolutions run on the LR grid and are periodic at the borders, as the forward model is. Inside, the convention
    is ``aligned``, in which LR pixel i covers HR pixels s i to s i + s - 1, as pixel shuffle has it. A ``released``
    image is the ``aligned`` one rolled by -(s - 1) pixels, and its kernel is shifted by as much; one file of weights
    serves both.

    Args:
        scale: One of ``SCALES``.
        convention: ``aligned`` or ``released``, of the images and kernels that go in and come out.
        kernel_size: Odd K of the kernels that come out; None: the default of the scale. The grid inside has
            K + 2 (s - 1) pixels and holds the kernels of both conventions.
        num_feat: Channels of S and R.
        num_block: Residual blocks of S.
        num_block_refine: Residual blocks of R.
        num_feat_kernel: Channels of N.
        num_block_kernel: Residual blocks of N at half resolution.
        num_stage: How often equations (1) to (3) follow each other, with weights of their own.
        variational: Whether R has its data steps.
        takes_noise: Whether all parts know the noise of the LR image.
        pretrained: File of weights of a network of this size; ``auto``: those of the unpaired training in the package.

    Raises:
        ValueError: for a scale, convention or kernel size that the forward model does not know.
        UserError: for a file that cannot be used.
    """

    def __init__(
        self,
        scale: int = 4,
        convention: str = 'aligned',
        kernel_size: int | None = None,
        num_feat: int = 48,
        num_block: int = 8,
        num_block_refine: int = 10,
        num_feat_kernel: int = 32,
        num_block_kernel: int = 4,
        num_stage: int = 1,
        variational: bool = True,
        takes_noise: bool = False,
        pretrained: str | None = None,
    ) -> None:
        super().__init__()
        kernel_size = default_kernel_size(scale) if kernel_size is None else kernel_size
        self.degradation = Degradation(scale, kernel_size, convention)
        self.inside = Degradation(scale, kernel_size + 2 * (scale - 1), 'aligned')
        self.register_buffer('scale', torch.tensor(scale))  # so that a file of weights says what it is for
        self.register_buffer('kernel_size', torch.tensor(kernel_size))
        self.register_buffer('variational', torch.tensor(variational))
        self.register_buffer('bicubic', _bicubic_filters(self.inside), persistent=False)
        self.num_levels = NUM_LEVELS if takes_noise else 0
        self.s = IntermediateNetwork(scale, num_feat, num_block, self.num_levels)
        self.n = KernelNetwork(self.inside.kernel_size, num_feat_kernel, num_block_kernel, self.num_levels)
        self.r = nn.ModuleList(
            RefinementStage(scale, num_feat, num_block_refine, num_feat, self.num_levels, variational)
            for _ in range(num_stage)
        )
        self.to(memory_format=torch.channels_last)
        if pretrained is not None:
            from dkp_plugin.archs.unpaired_weights import read_unpaired_weights  # which builds networks of this class

            self.load_state_dict(read_unpaired_weights(pretrained))

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor], convention: str = 'aligned') -> 'UnpairedSR':
        """Build the network of the size that the weights have, and load them.

        Args:
            weights: A state dict.
            convention: Of the images and kernels that go in and come out.

        Raises:
            KeyError, RuntimeError, ValueError: if these are not the weights of such a network.
        """

        def count(prefix: str) -> int:
            return len({name.removeprefix(prefix).split('.')[0] for name in weights if name.startswith(prefix)})

        net = cls(
            scale=int(weights['scale']),
            convention=convention,
            kernel_size=int(weights['kernel_size']),
            num_feat=len(weights['s.head.weight']),
            num_block=count('s.body.'),
            num_block_refine=count('r.0.body.'),
            num_feat_kernel=len(weights['n.head.weight']),
            num_block_kernel=count('n.coarse.'),
            num_stage=count('r.'),
            variational=bool(weights['variational']),
            takes_noise=weights['s.head.weight'].shape[1] > CHANNELS,
        )
        net.load_state_dict(weights)
        return net

    def forward(self, lq: Tensor, kernel: Tensor | None = None) -> Tensor:
        """Restore.

        Args:
            lq: LR images, (B, 1 or 3, h, w) in [0, 1].
            kernel: (B or 1, 1, K, K) in the convention of the network; None: the kernel network's.

        Returns:
            HR images, with as many channels as ``lq``, (B, C, s h, s w); not cut to [0, 1].
        """
        result = self.restore(lq, kernel).result
        return result if lq.shape[1] == CHANNELS else result.mean(1, keepdim=True)

    def restore(
        self,
        lq: Tensor,
        kernel: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
        noise: NoiseModel | None = None,
    ) -> Restored:
        """Restore and return what lies on the way.

        Args:
            lq: LR images, (B, 1 or 3, h, w) in [0, 1].
            kernel: (B or 1, 1, K, K) in the convention of the network; None: the kernel network's.
            dtype: Of the hidden layers.
            noise: Of the LR images; a network that takes none ignores it.
        """
        return self.finish(self.look(lq, dtype, noise), kernel)

    def look(self, lq: Tensor, dtype: torch.dtype = torch.float32, noise: NoiseModel | None = None) -> Look:
        """Do all that needs no kernel, for LR images (B, 1 or 3, h, w) in [0, 1]."""
        lq = lq.expand(-1, CHANNELS, -1, -1)
        noise = noise if self.num_levels else None
        return Look(lq, *self.intermediate_inside(lq, dtype, noise), *self.estimate_inside(lq, dtype, noise), noise)

    def finish(self, look: Look, kernel: Tensor | None = None) -> Restored:
        """Refine with a kernel (B or 1, 1, K, K) in the convention of the network, or with the kernel network's."""
        inside, column = look.log_kernel.exp(), OWN
        if kernel is not None:
            inside, column = self.kernel_inside(kernel).expand(len(look.lq), -1, -1, -1), GIVEN
        weights = look.log_weights[:, column]
        images = self.refine_inside(look.lq, inside, look.intermediate, look.features, weights, look.noise)
        kernel = self.kernel_outside(inside) if kernel is None else kernel
        return Restored(kernel, *map(self.image_outside, (look.intermediate, *images[:2])))

    @property
    def takes_noise(self) -> bool:
        """Whether the network knows the noise of the LR image."""
        return self.num_levels > 0

    def adopt(self, degradation: Degradation) -> None:
        """Take over convention and kernel size of the images and kernels to come.

        Raises:
            ValueError: for another scale.
        """
        if degradation.scale != self.degradation.scale:
            raise ValueError(f'the weights are for scale {self.degradation.scale}, not {degradation.scale}')
        self.degradation = degradation

    def intermediate(self, lq: Tensor, dtype: torch.dtype = torch.float32, noise: NoiseModel | None = None) -> Tensor:
        """The image on which kernels are judged, (B, 3, s h, s w), in the convention of the network."""
        return self.image_outside(self.intermediate_inside(lq.expand(-1, CHANNELS, -1, -1), dtype, noise)[0])

    def estimate_kernel(
        self, lq: Tensor, dtype: torch.dtype = torch.float32, noise: NoiseModel | None = None
    ) -> Tensor:
        """The kernel network's kernel, (B, 1, K, K), in the convention of the network."""
        return self.kernel_outside(self.estimate_inside(lq.expand(-1, CHANNELS, -1, -1), dtype, noise)[0].exp())

    def intermediate_inside(
        self, lq: Tensor, dtype: torch.dtype, noise: NoiseModel | None = None
    ) -> tuple[Tensor, Tensor]:
        """S on LR images (B, 3, h, w): intermediate images in the convention ``aligned``, and features."""
        difference, features = self.s(lq, self._levels(lq, noise), dtype)
        return self._enlarge(lq) + difference, features

    def estimate_inside(self, lq: Tensor, dtype: torch.dtype, noise: NoiseModel | None = None) -> tuple[Tensor, Tensor]:
        """N on LR images (B, 3, h, w); see :meth:`KernelNetwork.forward`."""
        return self.n(lq, self._levels(lq, noise), dtype)

    def _levels(self, lq: Tensor, noise: NoiseModel | None) -> Tensor:
        """Planes of noise levels, (B, P, h, w)."""
        if noise is None:
            return lq.new_zeros(len(lq), self.num_levels, *lq.shape[-2:])
        levels = noise.levels[:, : self.num_levels].to(lq) / LEVEL_UNIT
        return levels[..., None, None].expand(len(lq), -1, *lq.shape[-2:])

    def _enlarge(self, lq: Tensor) -> Tensor:
        """``Degradation.enlarge`` on the LR grid, which is several times as fast."""
        padded = F.pad(lq, (BICUBIC_REACH,) * 4, mode='circular')
        filters = self.bicubic.to(lq).repeat(CHANNELS, 1, 1, 1)
        return F.pixel_shuffle(F.conv2d(padded, filters, groups=CHANNELS), self.degradation.scale)

    def refine_inside(
        self,
        lq: Tensor,
        kernel: Tensor,
        intermediate: Tensor,
        features: Tensor,
        log_weight: Tensor,
        noise: NoiseModel | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """R on images and kernels in the convention ``aligned``; see :meth:`RefinementStage.forward`.

        Of several stages, the image of the variational model is that of the first.
        """
        noise = noise if self.num_levels else None
        levels = self._levels(lq, noise)
        x_bar, x_hat, refined = self.r[0](lq, kernel, intermediate, features, log_weight, levels, noise)
        for stage in self.r[1:]:
            _, x_hat, refined = stage(lq, kernel, x_hat, features, 0.0, levels, noise)
        return x_bar, x_hat, refined

    def kernel_inside(self, kernel: Tensor) -> Tensor:
        """Kernels of the network's convention (B, 1, K, K) in the convention ``aligned``, on a grid that holds them."""
        scale, convention = self.degradation.scale, self.degradation.convention
        inside = convert_convention(kernel, scale, convention, 'aligned')[0]
        return crop_kernel(inside, max(self.inside.kernel_size, inside.shape[-1]))

    def kernel_outside(self, kernel: Tensor) -> Tensor:
        """Undo :meth:`kernel_inside`; what lies off the grid of K pixels is cut off."""
        scale, convention = self.degradation.scale, self.degradation.convention
        outside = convert_convention(kernel, scale, 'aligned', convention)[0]
        return crop_kernel(outside, self.degradation.kernel_size)

    def image_outside(self, image: Tensor) -> Tensor:
        """An HR image of the convention ``aligned`` in the convention of the network."""
        if self.degradation.convention == 'aligned':
            return image
        return image.roll((1 - self.degradation.scale,) * 2, dims=(-2, -1))


def _bicubic_filters(degradation: Degradation) -> Tensor:
    """Filters on the LR grid whose shuffled responses are the bicubic enlargement, (s * s, 1, M, M)."""
    size = 2 * BICUBIC_REACH + 1
    impulse = torch.zeros(1, 1, 2 * size, 2 * size)
    impulse[..., size, size] = 1
    responses = F.pixel_unshuffle(degradation.enlarge(impulse), degradation.scale)
    window = slice(size - BICUBIC_REACH, size + BICUBIC_REACH + 1)
    return responses[0, :, window, window].flip(-2, -1).unsqueeze(1)  # a convolution, by a function that correlates


def _conv(num_in: int, num_out: int) -> Conv2d:
    return Conv2d(num_in, num_out, 3, padding=1, padding_mode='circular')


def _zero(layer: nn.Module) -> nn.Module:
    """Start a layer at zero."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _to(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.to(dtype, memory_format=torch.channels_last)
