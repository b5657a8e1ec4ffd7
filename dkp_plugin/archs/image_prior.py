"""The interface of an image prior: a network that denoises photographs at any noise level."""

import abc

import torch
from torch import Tensor, nn


class ImagePrior(nn.Module, abc.ABC):
    """Denoises RGB images for :class:`~dkp_plugin.restorers.diffusion_restorer.Diffusion`.

    Attributes:
        native_tile: Side, in pixels, of the square images that the network was trained on; larger images are denoised
            in tiles of this size. None: any image size.
    """

    native_tile: int | None = None

    @abc.abstractmethod
    def denoise(
        self, x: Tensor, sigma: Tensor, dtype: torch.dtype = torch.float32, label: Tensor | None = None
    ) -> Tensor:
        """Estimate the mean of the clean image given a noisy one.

        Args:
            x: Noisy images, (B, 3, H, W), float32; the clean images lie in [0, 1].
            sigma: Standard deviation of the noise of each image, (B,).
            dtype: Data type of the hidden layers.
            label: Class of each image, (B,), int64, for priors with classes; None for the others.

        Returns:
            Denoised images, (B, 3, H, W), float32, not clipped to [0, 1].
        """
