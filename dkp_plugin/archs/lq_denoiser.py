"""Take the noise out of LR images for networks that know none."""

import torch
from torch import Tensor, nn

from dkp_plugin.archs.priors import load_prior


class LqDenoiser:
    """Denoises LR images by the compact prior of the package, which is loaded when it is first needed."""

    def __init__(self) -> None:
        self.prior: nn.Module | None = None

    def __call__(self, lq: Tensor, noise: float, dtype: torch.dtype = torch.float32) -> Tensor:
        """Denoise.

        Args:
            lq: (B, 3, h, w) in [0, 1].
            noise: Standard deviation of its noise, in the units of [0, 1]; 0: the image is returned as it is.
            dtype: Of the hidden layers.

        Returns:
            (B, 3, h, w) in [0, 1].
        """
        if noise == 0:
            return lq
        if self.prior is None:
            self.prior = load_prior('compact')
        sigma = torch.full((len(lq),), noise, device=lq.device)
        with torch.no_grad():
            return self.prior.to(lq.device).denoise(lq, sigma, dtype).clamp(0, 1)
