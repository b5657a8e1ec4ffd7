"""Kernel model of BSRDM (Yue et al., CVPR 2022): a Gaussian given by the Cholesky factor of its precision matrix."""

import math

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernels import normalise


def gaussian_kernel(theta: Tensor, kernel_size: int, centre: float, variance: float) -> Tensor:
    """Gaussian kernel of precision matrix ``L L^T / variance``, with L = [[exp(a), 0], [b, exp(c)]].

    Args:
        theta: The numbers a, b, c, (3,). Every theta gives a positive definite matrix; 0 gives an isotropic kernel.
        kernel_size: K.
        centre: Index of the peak, row and column alike, counted from 0.
        variance: Variance at theta = 0, in squared HR pixels.

    Returns:
        (1, 1, K, K), non-negative, of sum 1. If the grid cuts off one side more than the other, the centre of mass lies
        slightly off the peak.
    """
    a, b, c = theta
    offset = (torch.arange(kernel_size).to(theta) - centre) / math.sqrt(variance)
    rows, columns = offset.unsqueeze(1), offset.unsqueeze(0)
    # |L^T (row, column)|^2
    exponent = -0.5 * ((a.exp() * rows + b * columns).square() + (c.exp() * columns).square())
    return normalise((exponent - exponent.max()).exp()[None, None])


def noise_variances(residual: Tensor, patch_size: int, prior_variance: float, prior_shape: float) -> Tensor:
    """Noise variance of each LR pixel, estimated from the residual in the patch around it.

    The variance has an inverse-gamma prior of shape alpha and mode v0. Given the n values of a patch, the posterior is
    inverse-gamma with mode ``((alpha + 1) v0 + sum of squares / 2) / (alpha + 1 + n / 2)``.

    Args:
        residual: (1, C, h, w).
        patch_size: Odd side of the patches, which are cropped at the border of the image.
        prior_variance: v0.
        prior_shape: alpha, non-negative.

    Returns:
        (1, 1, h, w).
    """
    squares = residual.square().sum(1, keepdim=True)
    pad = patch_size // 2
    sums, pixels = (
        F.avg_pool2d(image, patch_size, 1, pad, divisor_override=1) for image in (squares, torch.ones_like(squares))
    )
    weight = prior_shape + 1
    return (weight * prior_variance + sums / 2) / (weight + residual.shape[1] * pixels / 2)


def langevin_step(theta: Tensor, gradient: Tensor, metric: Tensor, step_size: float, noise: Tensor) -> Tensor:
    """One step of Langevin dynamics, preconditioned by a metric.

    Args:
        theta: State, (D,).
        gradient: Gradient of the negative log posterior, (D,).
        metric: Positive definite matrix G, (D, D), whose inverse approximates the covariance of the posterior.
        step_size: epsilon, at most 2.
        noise: Standard normal, (D,).

    Returns:
        ``theta - epsilon / 2 G^-1 gradient + sqrt(epsilon) G^-1/2 noise``. For a Gaussian posterior of precision G the
        chain has the right mean, and a covariance too large by the factor 1 / (1 - epsilon / 4).
    """
    factor = torch.linalg.cholesky(metric)
    drift = torch.cholesky_solve(gradient.unsqueeze(1), factor).squeeze(1)
    spread = torch.linalg.solve_triangular(factor.T, noise.unsqueeze(1), upper=True).squeeze(1)
    return theta - step_size / 2 * drift + math.sqrt(step_size) * spread


@ARCH_REGISTRY.register()
class BSRDM(KernelEstimator):
    """Gaussian kernel that follows Langevin dynamics on the LR residual, with the noise variance estimated alongside.

    The model is ``lq = A(x, k) + noise``, with one noise variance per patch of the LR image and a standard normal prior
    on the three numbers of the kernel. The Langevin steps use the Gauss-Newton metric. It is cheap: the LR image is
    linear in the kernel, so one convolution with four kernels gives the residual and its three derivatives. With this
    metric one step size serves all images and noise levels; without it, the step size would have to follow the power of
    both.

    This class implements the kernel's half of the method; the restorer provides the image.

    Args:
        step_size: Step size of the Langevin dynamics; 2 gives full Gauss-Newton steps.
        patch_size: Odd side, in LR pixels, of the patches that share a noise variance.
        prior_shape: Shape alpha of the prior on the noise variance, whose mode is the expected variance
            (``degradation: noise`` and rounding). The prior counts as much as 2 (alpha + 1) values of the residual.
        variance: Variance of the initial kernel, in squared HR pixels; None: the scale.

    Raises:
        ValueError: for an even patch size or a step size above 2.
    """

    paper = 'Yue et al., CVPR 2022'
    kernel_families = ('gaussian',)

    def __init__(
        self,
        step_size: PositiveFloat = 0.1,
        patch_size: PositiveInt = 15,
        prior_shape: NonNegativeFloat = 1.0,
        variance: PositiveFloat | None = None,
    ) -> None:
        super().__init__()
        if patch_size % 2 == 0:
            raise ValueError(f'patch_size: {patch_size} is not an odd number')
        if step_size > 2:
            raise ValueError(f'step_size: {step_size} is larger than 2, where the steps diverge')
        self.step_size, self.patch_size, self.prior_shape, self.variance = step_size, patch_size, prior_shape, variance

    def reset(self, lq: Tensor, degradation: Degradation, generator: torch.Generator) -> None:
        self.lq, self.degradation, self.generator = lq, degradation, generator
        self.theta = torch.zeros(3, dtype=torch.float64)

    def _kernel(self, theta: Tensor) -> Tensor:
        degradation = self.degradation
        variance = self.variance or float(degradation.scale)
        return gaussian_kernel(theta, degradation.kernel_size, degradation.centre, variance)

    def forward(self) -> Tensor:
        return self._kernel(self.theta).to(self.lq)

    def step(self, x: Tensor) -> dict[str, Tensor]:
        derivatives = torch.func.jacfwd(self._kernel)(self.theta).movedim(-1, 0)[:, 0]  # (3, 1, K, K)
        images = self.degradation.A(x, torch.cat([self._kernel(self.theta), derivatives]).to(x))
        residual, slopes = images[:1] - self.lq, images[1:]
        variances = noise_variances(residual, self.patch_size, self.degradation.noise_variance, self.prior_shape)
        whitened = (torch.cat([residual, slopes]) / variances.sqrt()).flatten(1).double().cpu()
        slopes = whitened[1:]
        gradient = slopes @ whitened[0] + self.theta
        metric = slopes @ slopes.T + torch.eye(3, dtype=torch.float64)
        noise = torch.randn(3, generator=self.generator, dtype=torch.float64)
        self.theta = langevin_step(self.theta, gradient, metric, self.step_size, noise)
        return {'l_k_residual': residual.square().mean(), 'l_k_noise_variance': variances.mean()}
