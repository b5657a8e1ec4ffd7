"""The data loss that restorer and estimator share."""

import torch.nn.functional as F
from basicsr.metrics.psnr_ssim import calculate_ssim_pt
from torch import Tensor


def data_loss(y: Tensor, lq: Tensor, use_ssim: bool) -> Tensor:
    """Distance of a degraded estimate to the LR image.

    Args:
        y: Degraded estimate, (B, C, h, w) in [0, 1].
        lq: LR image of the same shape.
        use_ssim: 1 - SSIM, which is quick to find structure and blind to small errors of contrast; otherwise the mean
            squared error, which settles the rest. Images too small for SSIM's window of 11x11 get the latter always.

    Returns:
        A scalar, the mean over everything.
    """
    if use_ssim and min(y.shape[-2:]) >= 11:
        return 1 - calculate_ssim_pt(y, lq, crop_border=0).mean()
    return F.mse_loss(y, lq)
