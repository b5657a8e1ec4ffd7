"""Losses of the unpaired system that BasicSR lacks, in its registry."""

import torch
import torch.nn.functional as F
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn


@LOSS_REGISTRY.register()
class KernelCrossEntropyLoss(nn.Module):
    """Cross-entropy of an estimated kernel against one that is taken for true: a kernel is a distribution over pixels.

    Args:
        loss_weight: Factor.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, log_kernel: Tensor, target: Tensor) -> Tensor:
        """Return the mean over kernels of -sum target log kernel, for log kernels and targets (B, 1, K, K)."""
        return -self.loss_weight * (target * log_kernel).sum((1, 2, 3)).mean()


@LOSS_REGISTRY.register()
class FeatureAffinityLoss(nn.Module):
    """L1 distance of the affinities of two networks' features (He et al., ICIP 2020).

    The affinity is the matrix of cosines between all pairs of pixels, of features that are pooled first.

    Args:
        loss_weight: Factor.
        pool: Side of the squares of pixels that are averaged.
    """

    def __init__(self, loss_weight: float = 1.0, pool: int = 4) -> None:
        super().__init__()
        self.loss_weight, self.pool = loss_weight, pool

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare features (B, C, H, W); those of the teacher get no gradient. Their channels may differ in number."""
        return self.loss_weight * F.l1_loss(self._affinity(student), self._affinity(teacher.detach()))

    def _affinity(self, features: Tensor) -> Tensor:
        vectors = F.normalize(F.avg_pool2d(features.float(), self.pool).flatten(2), dim=1)
        return torch.einsum('bci,bcj->bij', vectors, vectors)
