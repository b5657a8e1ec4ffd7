"""The network of unpaired blind super-resolution: an intermediate image, a kernel, and the model that joins them.

After "Deep Unpaired Blind Image Super-Resolution Using Self-supervised Learning and Exemplar Distillation" (Dong et
al., IJCV 2023), of which only the abstract was at hand. From the abstract: kernel and intermediate image are both
estimated from the LR image, and a variational model built on the image formation improves the latter. Inferred from
earlier work of the authors: its closed form (Zhao et al., TIP 2016). Ours: the power-law metric, the learned second
data step, and a weight that depends on the image. ``docs/unpaired.md`` has the whole list.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from dkp_plugin.archs.one_shot import count_modules
from dkp_plugin.archs.unpaired_parts import CHANNELS, IntermediateNetwork, KernelNetwork, RefinementStage
from dkp_plugin.physics.coding_noise import LEVEL_UNIT, NUM_LEVELS, NoiseModel
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernels import convert_convention, crop_kernel, default_kernel_size, from_aligned

GIVEN, OWN = 0, 1  # columns of the weights: for a kernel that is given, and for the kernel network's own
BICUBIC_REACH = 3  # LR pixels, more than the cubic needs


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
    """What the network makes of an LR image, in the convention of the network unless stated otherwise.

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

            self.load_state_dict(read_unpaired_weights(pretrained, scale=scale))

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor], convention: str = 'aligned') -> 'UnpairedSR':
        """Build the network of the size that the weights have, and load them.

        Args:
            weights: A state dict.
            convention: Of the images and kernels that go in and come out.

        Raises:
            KeyError, RuntimeError, ValueError: if these are not the weights of such a network.
        """

        net = cls(
            scale=int(weights['scale']),
            convention=convention,
            kernel_size=int(weights['kernel_size']),
            num_feat=len(weights['s.head.weight']),
            num_block=count_modules(weights, 's.body.'),
            num_block_refine=count_modules(weights, 'r.0.body.'),
            num_feat_kernel=len(weights['n.head.weight']),
            num_block_kernel=count_modules(weights, 'n.coarse.'),
            num_stage=count_modules(weights, 'r.'),
            variational=bool(weights['variational']),
            takes_noise=weights['s.head.weight'].shape[1] > CHANNELS,
        )
        net.load_state_dict(weights)
        return net

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *arguments: Any) -> None:
        """Refuse weights of another scale or kernel size; whether there are data steps is this network's own choice."""
        errors = arguments[-1]
        for name in ('scale', 'kernel_size'):
            found, own = state_dict.get(prefix + name), getattr(self, name)
            if found is not None and int(found) != int(own):
                errors.append(f'{name}: the weights are for {int(found)}, not {int(own)}')
        state_dict[prefix + 'variational'] = self.variational
        super()._load_from_state_dict(state_dict, prefix, *arguments)

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
        inside = self.finish_inside(look, None if kernel is None else self.kernel_inside(kernel))
        kernel = self.kernel_outside(inside.kernel) if kernel is None else kernel
        images = inside.intermediate, inside.variational, inside.result
        return Restored(kernel, *map(self.image_outside, images))

    def finish_inside(self, look: Look, kernel: Tensor | None = None) -> Restored:
        """As :meth:`finish`, with kernel and images in the convention ``aligned``."""
        inside, column = look.log_kernel.exp(), OWN
        if kernel is not None:
            inside, column = kernel.expand(len(look.lq), -1, -1, -1), GIVEN
        weights = look.log_weights[:, column]
        images = self.refine_inside(look.lq, inside, look.intermediate, look.features, weights, look.noise)
        return Restored(inside, look.intermediate, *images[:2])

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
        return from_aligned(image, self.degradation.scale, self.degradation.convention)


def _bicubic_filters(degradation: Degradation) -> Tensor:
    """Filters on the LR grid whose shuffled responses are the bicubic enlargement, (s * s, 1, M, M)."""
    size = 2 * BICUBIC_REACH + 1
    impulse = torch.zeros(1, 1, 2 * size, 2 * size)
    impulse[..., size, size] = 1
    responses = F.pixel_unshuffle(degradation.enlarge(impulse), degradation.scale)
    window = slice(size - BICUBIC_REACH, size + BICUBIC_REACH + 1)
    return responses[0, :, window, window].flip(-2, -1).unsqueeze(1)  # a convolution, by a function that correlates
