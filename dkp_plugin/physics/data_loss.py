"""The data loss shared by restorers and estimators."""

import torch.nn.functional as F
from basicsr.metrics.psnr_ssim import calculate_ssim_pt
from torch import Tensor


def data_loss(y: Tensor, lq: Tensor, use_ssim: bool) -> Tensor:
    """Distance between a degraded estimate and the LR image.

    Args:
        y: Degraded estimate, (B, C, h, w) in [0, 1].
        lq: LR image of the same shape.
        use_ssim: Use 1 - SSIM, which finds structure quickly but misses small contrast errors. Otherwise use the mean
            squared error, which corrects them. Images smaller than SSIM's 11x11 window always use the latter.

    Returns:
        A scalar, averaged over the batch, the channels and the pixels.
    """
    if use_ssim and min(y.shape[-2:]) >= 11:
        return 1 - calculate_ssim_pt(y, lq, crop_border=0).mean()
    return F.mse_loss(y, lq)
