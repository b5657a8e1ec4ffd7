"""Layers shared by several networks."""

from torch import Tensor, nn


class Conv2d(nn.Conv2d):
    """Convolution with float32 parameters that computes in the dtype of its input.

    Autocast would do the same, but it converts every reflection padding to float32 and back.
    """

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return self._conv_forward(x, self.weight.to(x.dtype), bias)
