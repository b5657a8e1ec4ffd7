"""Layers that several networks share."""

from torch import Tensor, nn


class Conv2d(nn.Conv2d):
    """Convolution that keeps its parameters in float32 and computes in the dtype of its input.

    Autocast would do the same, but it sends every reflection padding through float32 and back.
    """

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return self._conv_forward(x, self.weight.to(x.dtype), bias)
