"""The data loss shared by restorers and estimators."""

from typing import Literal

import torch.nn.functional as F
from basicsr.metrics.psnr_ssim import calculate_ssim_pt
from torch import Tensor

SsimPadding = Literal['none', 'zeros']
WINDOW = 11  # side of SSIM's Gaussian window, in LR pixels
MARGINS = {'none': 0, 'zeros': WINDOW // 2}


def data_loss(y: Tensor, lq: Tensor, use_ssim: bool, ssim_padding: SsimPadding = 'none') -> Tensor:
    """Distance between a degraded estimate and the LR image.

    Args:
        y: Degraded estimate, (B, C, h, w) in [0, 1].
        lq: LR image of the same shape.
        use_ssim: Use 1 - SSIM, which finds structure quickly but misses small contrast errors. Otherwise use the mean
            squared error, which corrects them.
        ssim_padding: ``none`` compares only where SSIM's 11x11 window lies inside the image, which leaves a frame of 5
            LR pixels out; images smaller than the window then use the mean squared error. ``zeros`` continues both
            images with zeros, as the released program does, so that every pixel counts.

    Returns:
        A scalar, averaged over the batch, the channels and the pixels.
    """
    margin = MARGINS[ssim_padding]
    if use_ssim and min(y.shape[-2:]) + 2 * margin >= WINDOW:
        return 1 - calculate_ssim_pt(F.pad(y, [margin] * 4), F.pad(lq, [margin] * 4), crop_border=0).mean()
    return F.mse_loss(y, lq)
