"""A network that restores in one pass, without a kernel, as a restorer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dkp_plugin.archs.one_shot import OneShotNetwork
from dkp_plugin.host.errors import OptionError, UserError
from dkp_plugin.io.weight_files import read_weights
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.base import Restorer


class OneShot(Restorer):
    """Restores an image by one pass of a :class:`~dkp_plugin.archs.one_shot.OneShotNetwork`.

    It is not registered: an option file names the network itself, ``network_g: {type: DASR}``. The estimator's kernel
    has no effect on the image.

    Args:
        network: The class of the network.
        arguments: Arguments of its constructor; the weights determine the others.
    """

    num_iter = 1
    updates_kernel = False
    has_weights = True

    def __init__(self, network: type[OneShotNetwork], arguments: Mapping[str, Any]) -> None:
        super().__init__()
        self.network, self.arguments = network, dict(arguments)
        self.net: OneShotNetwork | None = None

    def load(self, path: str | None) -> None:
        """Load the weights; ``scales`` is then their scale.

        Raises:
            OptionError: if no file is named.
            UserError: if the file is missing, damaged or of another network.
        """
        name = self.network.__name__
        if path is None:
            raise OptionError(f'missing; {name} needs its released weights from {self.network.source}, or your own')
        weights, _ = read_weights(Path(path).expanduser())
        try:
            net = self.network.from_weights(weights, **self.arguments)
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError, ZeroDivisionError) as error:
            reason = ' '.join(str(error).split())
            raise UserError(f'{path}: these are not the weights of {name} ({reason[:200]})') from None
        self.net, self.scales = net.eval().requires_grad_(False), (net.scale,)

    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        self.net.to(lq.device).convention = degradation.convention
        self.lq, self.x = lq, degradation.enlarge(lq).clamp(0, 1)

    def forward(self) -> Tensor:
        return self.x

    def step(self, kernel: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            self.x = self.net(self.lq).clamp(0, 1)
        return {'l_x_none': self.x.new_zeros(())}
