"""Metrics of an estimated kernel against the true one, and of the result against the LR image."""

from typing import Any

import numpy as np
import torch
from basicsr.utils.registry import METRIC_REGISTRY

from dkp_plugin.physics.degradation import degrade


def _same_size(*kernels: np.ndarray) -> list[np.ndarray]:
    """Pad kernels of odd size with zeros to the largest of them."""
    size = max(kernel.shape[0] for kernel in kernels)
    return [np.pad(kernel.astype(np.float64), (size - kernel.shape[0]) // 2) for kernel in kernels]


@METRIC_REGISTRY.register()
def calculate_kernel_psnr(kernel: np.ndarray, kernel_gt: np.ndarray, **kwargs: Any) -> float:
    """PSNR of a kernel with peak 1, as in the DKP paper: 20 log10(1 / rmse).

    Args:
        kernel: Estimate, (K, K), of sum 1.
        kernel_gt: Truth, (K', K'), of sum 1; the smaller one is padded with zeros.

    Returns:
        Decibels; infinite for equal kernels.
    """
    kernel, kernel_gt = _same_size(kernel, kernel_gt)
    mse = np.mean((kernel - kernel_gt) ** 2)
    return float('inf') if mse == 0 else float(-10 * np.log10(mse))


@METRIC_REGISTRY.register()
def calculate_kernel_ncc(kernel: np.ndarray, kernel_gt: np.ndarray, **kwargs: Any) -> float:
    """Maximum of the normalised cross-correlation of two kernels over all integer shifts.

    A shifted kernel, which only shifts the image, scores 1.

    Args:
        kernel: Estimate, (K, K).
        kernel_gt: Truth, (K', K').

    Returns:
        A number in [0, 1].
    """
    from scipy.signal import correlate  # slow to import

    kernel, kernel_gt = kernel.astype(np.float64), kernel_gt.astype(np.float64)
    return float(correlate(kernel, kernel_gt).max() / (np.linalg.norm(kernel) * np.linalg.norm(kernel_gt)))


@METRIC_REGISTRY.register()
def calculate_lr_psnr(img: np.ndarray, lq: np.ndarray, kernel: np.ndarray, scale: int, **kwargs: Any) -> float:
    """PSNR between the LR image and the result degraded by the estimated kernel; needs no ground truth.

    Args:
        img: Result, uint8 (s h, s w, C) or (s h, s w).
        lq: LR image, uint8 (h, w, C) or (h, w).
        kernel: Estimated kernel, (K, K), of sum 1.
        scale: Subsampling factor s.

    Returns:
        Decibels, over all channels and pixels.
    """
    x = torch.from_numpy(np.atleast_3d(img).astype(np.float64)).permute(2, 0, 1).unsqueeze(0)
    y = degrade(x, torch.from_numpy(kernel.astype(np.float64))[None, None], scale)[0].permute(1, 2, 0).numpy()
    mse = np.mean((y - np.atleast_3d(lq)) ** 2)
    return float('inf') if mse == 0 else float(10 * np.log10(255**2 / mse))
