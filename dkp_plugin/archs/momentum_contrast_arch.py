"""Momentum contrast (He et al., CVPR 2020) for DASR's encoder: what only its training needs."""

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from dkp_plugin.archs.dasr_arch import DegradationEncoder


@ARCH_REGISTRY.register()
class MomentumContrast(nn.Module):
    """Compares projections of images with those of a slowly following encoder and with a queue of earlier ones.

    Args:
        num_feat: ``num_feat_encoder`` of the network whose encoder it trains.
        num_keys: Length of the queue.
        momentum: Share of the following encoder that each step keeps.
        temperature: By which the cosines are divided.
    """

    def __init__(
        self,
        num_feat: PositiveInt = 64,
        num_keys: PositiveInt = 8192,
        momentum: float = 0.999,
        temperature: PositiveFloat = 0.07,
    ) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ValueError(f'momentum: {momentum} is not in [0, 1]')
        self.momentum, self.temperature = momentum, temperature
        self.encoder_k = DegradationEncoder(num_feat).requires_grad_(False)
        random = torch.randn(num_keys, 4 * num_feat, generator=torch.Generator().manual_seed(0))
        self.register_buffer('queue', F.normalize(random, dim=1))
        self.register_buffer('position', torch.zeros((), dtype=torch.long))  # of the oldest key in the queue

    @torch.no_grad()
    def follow(self, encoder: DegradationEncoder, momentum: float | None = None) -> None:
        """Move the parameters of the following encoder towards those of the trained one.

        Args:
            encoder: The trained encoder.
            momentum: Share that is kept; None: that of the constructor; 0 copies.
        """
        momentum = self.momentum if momentum is None else momentum
        for own, other in zip(self.encoder_k.parameters(), encoder.parameters(), strict=True):
            own.lerp_(other, 1 - momentum)

    def forward(self, projection: Tensor, image: Tensor) -> Tensor:
        """The contrastive loss (the paper's equation 2); the keys of ``image`` then replace the oldest in the queue.

        Args:
            projection: Of B images by the trained encoder, (B, R), of unit length.
            image: Others of the same degradations, (B, 3, h, w) in [0, 255].

        Returns:
            The mean over B of the cross-entropy of telling the key of the same degradation from those of the queue.
        """
        with torch.no_grad():
            keys = self.encoder_k(image)[1]
        same = (projection * keys).sum(1, keepdim=True)
        logits = torch.cat([same, projection @ self.queue.T.clone()], 1) / self.temperature
        self._enqueue(keys)
        return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))

    def _enqueue(self, keys: Tensor) -> None:
        places = (self.position + torch.arange(len(keys), device=keys.device)) % len(self.queue)
        self.queue[places] = keys
        self.position.copy_((self.position + len(keys)) % len(self.queue))
