"""The data loss that restorer and estimator share."""

import torch.nn.functional as F
from basicsr.metrics.psnr_ssim import calculate_ssim_pt
from torch import Tensor


def data_loss(y: Tensor, lq: Tensor, use_ssim: bool) -> Tensor:
    """Distance of a degraded estimate to the LR image.

    Args:
        y: Degraded estimate, (B, C, h, w) in [0, 1]; at least 11x11 pixels for SSIM.
        lq: LR image of the same shape.
        use_ssim: 1 - SSIM, which is quick to find structure and blind to small errors of contrast; otherwise the mean
            squared error, which settles the rest.

    Returns:
        A scalar, the mean over everything.
    """
    return 1 - calculate_ssim_pt(y, lq, crop_border=0).mean() if use_ssim else F.mse_loss(y, lq)
