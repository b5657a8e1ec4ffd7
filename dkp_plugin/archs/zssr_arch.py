"""The network of ZSSR (Shocher et al., CVPR 2018), small enough to train on a single image."""

import itertools

import torch.nn.functional as F
from torch import Tensor, nn


class ZSSRNet(nn.Module):
    """3x3 convolutions that predict the residual between an enlarged image and a sharp one.

    Args:
        num_ch: Channels of the image.
        num_feat: Channels of the hidden layers.
        num_hidden: Number of hidden layers.
    """

    def __init__(self, num_ch: int = 3, num_feat: int = 64, num_hidden: int = 8) -> None:
        super().__init__()
        channels = (num_ch, *[num_feat] * num_hidden, num_ch)
        self.layers = nn.ModuleList(nn.Conv2d(num_in, num_out, 3) for num_in, num_out in itertools.pairwise(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to images of the same shape; borders are padded by replication."""
        features = F.pad(x, [len(self.layers)] * 4, mode='replicate')
        for layer in self.layers[:-1]:
            features = F.relu(layer(features))
        return x + self.layers[-1](features)
