"""The interface of networks that restore LR images of unknown blur in one pass."""

import abc
import math
import re
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from dkp_plugin.io.weight_files import network_weights
from dkp_plugin.physics.kernels import CONVENTIONS, from_aligned


class OneShotNetwork(nn.Module, abc.ABC):
    """Maps LR images to HR images, and knows nothing about their kernels.

    Subclasses are plain networks for BasicSR's ``SRModel``. With ``model_type: BlindSRModel``, ``network_g`` takes them
    as restorers of one step. They compute on the grid of bicubic downsampling, the convention ``aligned``; this class
    moves the result to the grid of ``released`` LR images, which is s - 1 whole pixels away.

    Args:
        scale: Scale factor s.
        convention: ``aligned`` or ``released``, of the LR images.

    Attributes:
        paper: Reference, for the table of methods.
        scales: Scale factors of the released weights.
        source: Where the released weights are.
        has_weights: True, for the table of methods.

    Raises:
        ValueError: for a scale or convention that the network does not know.
    """

    paper: str = ''
    scales: tuple[int, ...] = (2, 3, 4)
    source: str = ''
    has_weights: bool = True

    def __init__(self, scale: int, convention: str) -> None:
        super().__init__()
        if scale not in self.scales:
            raise ValueError(f'scale: {scale} is not one of {", ".join(map(str, self.scales))}')
        if convention not in CONVENTIONS[:2]:
            raise ValueError(f'convention: {convention!r} is not one of {", ".join(CONVENTIONS[:2])}')
        self.scale, self.convention = scale, convention

    @staticmethod
    @abc.abstractmethod
    def sizes(weights: Mapping[str, Tensor]) -> dict[str, int]:
        """Read the arguments of the constructor off a state dict.

        Args:
            weights: A state dict.

        Returns:
            Arguments by name, ``scale`` among them.

        Raises:
            KeyError, ValueError: if these are not the weights of such a network.
        """

    @abc.abstractmethod
    def restore(self, lq: Tensor) -> Tensor:
        """Restore.

        Args:
            lq: (B, 3, h, w) in [0, 1].

        Returns:
            (B, 3, s h, s w) on the grid of ``aligned``, not cut to [0, 1].
        """

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor], **arguments: object) -> 'OneShotNetwork':
        """Build the network of the size that the weights have, and load them.

        Args:
            weights: A state dict, bare or in BasicSR's ``params`` or ``params_ema``.
            arguments: Arguments of the constructor that take precedence.

        Raises:
            AttributeError, KeyError, RuntimeError, TypeError, ValueError: if the weights do not fit.
        """
        weights = network_weights(weights)
        net = cls(**(cls.sizes(weights) | arguments))
        net.load_state_dict(weights)
        return net

    def forward(self, lq: Tensor) -> Tensor:
        """Restore.

        Args:
            lq: (B, 3, h, w) in [0, 1], in the convention of the network.

        Returns:
            (B, 3, s h, s w), not cut to [0, 1], on the grid of the HR images of that convention.
        """
        return from_aligned(self.restore(lq), self.scale, self.convention)


def count_modules(names: Iterable[str], prefix: str) -> int:
    """Number of different indices that follow a prefix in the names of a state dict."""
    return len({match[1] for name in names if (match := re.match(rf'{re.escape(prefix)}(\d+)\.', name))})


def conv3x3(num_in: int, num_out: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size of its input."""
    return nn.Conv2d(num_in, num_out, 3, padding=1)


def upsampling_layers(scale: int, num_feat: int) -> list[nn.Module]:
    """3x3 convolutions and pixel shuffles that enlarge features: by 2, twice by 2 or by 3."""
    layers: list[nn.Module] = []
    for factor in {2: (2,), 3: (3,), 4: (2, 2)}[scale]:
        layers += [conv3x3(num_feat, factor**2 * num_feat), nn.PixelShuffle(factor)]
    return layers


def shuffle_scale(weights: Mapping[str, Tensor], prefix: str, num_feat: int) -> int:
    """Scale factor of :func:`upsampling_layers`, read off a state dict.

    Args:
        weights: The state dict.
        prefix: Name of the layers, up to their index.
        num_feat: Channels of the features.

    Raises:
        KeyError: if the state dict has no such layers.
    """
    first, second = weights[f'{prefix}0.weight'], weights.get(f'{prefix}2.weight', ())
    return math.isqrt(len(first) // num_feat) * (2 if len(second) == 4 * num_feat else 1)
