"""Read and write files of weights; none of them can run code."""

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from dkp_plugin.host.errors import UserError
from dkp_plugin.io.files import write_bytes


def check_sum(path: Path, expected: str) -> None:
    """Check a file of weights that the package ships.

    Args:
        path: The file.
        expected: Its SHA-256, 64 hexadecimal digits.

    Raises:
        UserError: if it is missing or damaged.
    """
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f'{path}: {error.strerror}; install the package again') from None
    if found != expected:
        raise UserError(f'{path}: SHA-256 {found}, expected {expected}; the file is damaged, install the package again')


def read_weights(path: Path) -> tuple[Any, dict[str, str]]:
    """Read a file of weights to the CPU.

    Args:
        path: ``.safetensors``, or else what ``torch.save`` writes.

    Returns:
        The content, of a safetensors file a flat dictionary of tensors, and the texts that the file says about itself;
        files of ``torch.save`` say nothing.

    Raises:
        UserError: if there is no such file, if it is damaged, or if it holds more than tensors and plain values, so
            that reading it could run code.
    """
    try:
        if path.suffix == '.safetensors':
            with safetensors.safe_open(path, 'pt') as file:
                return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
        return torch.load(path, map_location='cpu', weights_only=True), {}
    except OSError as error:
        raise UserError(f'{path}: {error.strerror or error}') from None
    except pickle.UnpicklingError:
        raise UserError(f'{path}: refused, since it is damaged or holds more than tensors and plain values') from None
    except Exception as error:  # a damaged file raises errors of many kinds
        raise UserError(f'{path}: not a readable file of weights ({" ".join(str(error).split())[:200]})') from None


def network_weights(content: Any) -> Any:
    """The weights in a checkpoint of BasicSR, the averaged ones if it has them; any other content as it is."""
    return content.get('params_ema', content.get('params', content)) if isinstance(content, dict) else content


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and texts about them as a safetensors file, in one move.

    Args:
        path: The file.
        tensors: By name.
        metadata: What the file says about itself.
    """
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, safetensors.torch.save(content, dict(metadata)))
