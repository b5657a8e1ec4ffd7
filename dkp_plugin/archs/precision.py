"""The floating-point format of a network's hidden layers."""

import torch

PRECISIONS = ('auto', 'float32', 'bf16')


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device is faster in bfloat16 than in float32.

    A processor needs tiles (AMX) for this. Those with the AVX-512 instructions for bfloat16 alone were measured: a 3x3
    convolution takes 1.7 times as long as in float32.
    """
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == 'cpu' and torch.cpu._is_amx_tile_supported()


def check_precision(precision: str) -> None:
    """Raise ValueError unless ``precision`` is one of ``PRECISIONS``."""
    if precision not in PRECISIONS:
        raise ValueError(f'precision: {precision!r} is not one of {", ".join(PRECISIONS)}')


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The dtype for one of ``PRECISIONS``; ``auto`` is bfloat16 if the device is faster in it."""
    check_precision(precision)
    use_bf16 = precision == 'bf16' or (precision == 'auto' and has_fast_bf16(device))
    return torch.bfloat16 if use_bf16 else torch.float32
