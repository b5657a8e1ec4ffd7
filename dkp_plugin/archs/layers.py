"""Layers shared by several networks."""

import torch.nn.functional as F
from torch import Tensor, nn


class Conv2d(nn.Conv2d):
    """Convolution with float32 parameters that computes in the dtype of its input.

    Autocast would do the same, but it converts every reflection padding to float32 and back.
    """

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return self._conv_forward(x, self.weight.to(x.dtype), bias)


class PointwiseConv2d(Conv2d):
    """1x1 convolution as a matrix product over the channels, without a copy where the input is in channels-last memory.

    On one thread, PyTorch computes such a convolution of one image outside oneDNN and copies it to another layout.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x.movedim(1, -1), weight.flatten(1), bias).movedim(-1, 1)
