"""The flow-based kernel prior, FKP (Liang et al., CVPR 2021): a normalizing flow between kernels and Gaussian codes.

Both directions are exact: kernel pixels to logits, logits x to codes u, and the log-determinant of each map. Names and
shapes of the parameters match the released program, so its weights load unchanged.
"""

import math

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from dkp_plugin.physics.kernels import check_kernel_size, normalise

DECAY = 0.99  # of the running batch statistics, per training step
EPSILON = 1e-5  # added to the batch variances


def logit_transform(share: Tensor, alpha: float | Tensor) -> Tensor:
    """Map shares in [0, 1] to the real line by logit(alpha + (1 - 2 alpha) share), which is finite at both ends."""
    return torch.logit(alpha + (1 - 2 * alpha) * share)


def inverse_logit_transform(x: Tensor, alpha: float | Tensor) -> Tensor:
    """Inverse of :func:`logit_transform`; negative, by up to about alpha, if x is less than logit(alpha)."""
    return (torch.sigmoid(x) - alpha) / (1 - 2 * alpha)


class Coupling(nn.Module):
    """Affine coupling (RealNVP, ICLR 2017, eq. 9): scales and shifts some dimensions by functions of the others.

    With the mask m, the map to the code is ``u = m x + (1 - m) (x - t(m x)) exp(-s(m x))``. Since m u = m x, its
    inverse is ``x = m u + (1 - m) (u exp(s(m u)) + t(m u))``.

    Args:
        mask: (D,), 1 for dimensions that pass unchanged, 0 for those that are transformed.
        num_units: Units of the two hidden layers of the scale network s (tanh) and the shift network t (ReLU).
    """

    def __init__(self, mask: Tensor, num_units: int) -> None:
        super().__init__()
        self.register_buffer('mask', mask)
        self.s_net = self._network(len(mask), num_units, nn.Tanh)
        self.t_net = self._network(len(mask), num_units, nn.ReLU)

    @staticmethod
    def _network(num_dims: int, num_units: int, activation: type[nn.Module]) -> nn.Sequential:
        last = nn.Linear(num_units, num_dims)
        # The layer starts as the identity, so that a new flow is well conditioned at any depth.
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        return nn.Sequential(
            nn.Linear(num_dims, num_units), activation(), nn.Linear(num_units, num_units), activation(), last
        )

    def _scale_and_shift(self, passed: Tensor) -> tuple[Tensor, Tensor]:
        transformed = 1 - self.mask
        return transformed * self.s_net(passed), transformed * self.t_net(passed)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, D) towards the code; return it with log |det du/dx|, (B,)."""
        log_scale, shift = self._scale_and_shift(self.mask * x)
        return (x - shift) * torch.exp(-log_scale), -log_scale.sum(1)

    def inverse(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, D) towards the data; return it with log |det dx/du|, (B,)."""
        log_scale, shift = self._scale_and_shift(self.mask * u)
        return u * torch.exp(log_scale) + shift, log_scale.sum(1)


class FlowBatchNorm(nn.Module):
    """Batch normalisation as a layer of a flow (RealNVP, section 3.7): ``u = exp(log_gamma) (x - mean) / std + beta``.

    Training mode uses the statistics of the batch; evaluation mode uses the running statistics, which make the layer a
    fixed invertible function. :meth:`inverse` always uses the running statistics.

    Args:
        num_dims: D.
    """

    def __init__(self, num_dims: int) -> None:
        super().__init__()
        self.log_gamma = nn.Parameter(torch.zeros(num_dims))
        self.beta = nn.Parameter(torch.zeros(num_dims))
        self.register_buffer('running_mean', torch.zeros(num_dims))
        self.register_buffer('running_var', torch.ones(num_dims))

    def _log_gain(self, var: Tensor) -> Tensor:
        return self.log_gamma - 0.5 * torch.log(var + EPSILON)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, D) towards the code; return it with log |det du/dx|, (B,)."""
        mean, var = self.running_mean, self.running_var
        if self.training:
            var, mean = torch.var_mean(x, dim=0)
            self.running_mean.lerp_(mean.detach(), 1 - DECAY)
            self.running_var.lerp_(var.detach(), 1 - DECAY)
        log_gain = self._log_gain(var)
        return (x - mean) * torch.exp(log_gain) + self.beta, log_gain.sum().expand(len(x))

    def inverse(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, D) towards the data; return it with log |det dx/du|, (B,)."""
        log_gain = self._log_gain(self.running_var)
        return (u - self.beta) * torch.exp(-log_gain) + self.running_mean, -log_gain.sum().expand(len(u))


@ARCH_REGISTRY.register()
class KernelFlow(nn.Module):
    """Normalizing flow of blur kernels: coupling layers with alternating masks, each followed by batch normalisation.

    Args:
        kernel_size: Odd K; data and codes have D = K^2 dimensions.
        num_units: Units of the hidden layers; the papers use min(5 (s + 1), 25) for scale s.
        num_blocks: Number of coupling layers.
        normalization: Kernel value that maps to 1 before the logit; no pixel of the training kernels should exceed it.
            The papers use the peak of the narrowest kernel plus 0.01.
        alpha: See :func:`logit_transform`.

    Raises:
        ValueError: if the kernel size is even or below 3.
    """

    def __init__(
        self,
        kernel_size: int,
        num_units: int = 25,
        num_blocks: int = 5,
        normalization: float = 1.0,
        alpha: float = 1e-6,
    ) -> None:
        super().__init__()
        check_kernel_size(kernel_size)
        num_dims = kernel_size**2
        self.register_buffer('kernel_size', torch.full((1,), float(kernel_size)))
        self.register_buffer('alpha', torch.full((1,), alpha))
        self.register_buffer('normalization', torch.full((1,), normalization))
        self.register_buffer('base_dist_mean', torch.zeros(num_dims))
        self.register_buffer('base_dist_var', torch.ones(num_dims))
        layers, mask = [], torch.arange(num_dims) % 2.0
        for _ in range(num_blocks):
            layers += [Coupling(mask, num_units), FlowBatchNorm(num_dims)]
            mask = 1 - mask
        self.net = nn.Sequential(*layers)

    def to_logits(self, kernel: Tensor) -> Tensor:
        """Map kernels (B, 1, K, K) to the data of the flow, (B, K^2); values outside [0, normalization] are clipped."""
        return logit_transform((kernel / self.normalization).clamp(0, 1), self.alpha).flatten(1)

    def to_kernel(self, x: Tensor) -> Tensor:
        """Map data of the flow (B, K^2) to kernels (B, 1, K, K), non-negative, of sum 1."""
        side = math.isqrt(x.shape[1])
        return normalise(inverse_logit_transform(x, self.alpha).clamp_min(0).view(-1, 1, side, side))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map data (B, K^2) to codes (B, K^2); return them with log |det du/dx|, (B,)."""
        total = x.new_zeros(len(x))
        for layer in self.net:
            x, log_det = layer(x)
            total = total + log_det
        return x, total

    def inverse(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Map codes (B, K^2) to data (B, K^2); return them with log |det dx/du|, (B,). Inverse of evaluation mode."""
        total = u.new_zeros(len(u))
        for layer in reversed(self.net):
            u, log_det = layer.inverse(u)
            total = total + log_det
        return u, total

    def base_log_prob(self, u: Tensor) -> Tensor:
        """Log density of codes (B, K^2) under the base Gaussian: (B,), in nats."""
        var = self.base_dist_var
        return -0.5 * ((u - self.base_dist_mean).square() / var + torch.log(2 * math.pi * var)).sum(1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density of data (B, K^2), per unit of logit volume: (B,), in nats."""
        u, log_det = self(x)
        return self.base_log_prob(u) + log_det

    def decode(self, u: Tensor) -> Tensor:
        """Map codes (B, K^2) to kernels (B, 1, K, K), non-negative, of sum 1."""
        return self.to_kernel(self.inverse(u)[0])
