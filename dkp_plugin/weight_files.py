"""Read and write files of weights; none of them can run code.

A safetensors file is eight bytes with the length of a JSON header, the header, which gives dtype, shape and place of
each tensor and a map of texts, and the bytes of the tensors. That takes fewer lines than a dependency.
"""

import json
import math
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dkp_plugin.errors import UserError
from dkp_plugin.file_io import write_bytes

DTYPES = {'F64': torch.float64, 'F32': torch.float32, 'F16': torch.float16, 'BF16': torch.bfloat16, 'I64': torch.int64}
MAX_HEADER = 100_000_000  # bytes, the format's own limit


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
        content = path.read_bytes() if path.suffix == '.safetensors' else None
        if content is not None:
            return _decode_safetensors(content)
        return torch.load(path, map_location='cpu', weights_only=True), {}
    except OSError as error:
        raise UserError(f'{path}: {error.strerror or error}') from None
    except pickle.UnpicklingError:
        raise UserError(f'{path}: refused, since it is damaged or holds more than tensors and plain values') from None
    except Exception as error:  # a damaged file raises errors of many kinds
        raise UserError(f'{path}: not a readable file of weights ({" ".join(str(error).split())[:200]})') from None


def _decode_safetensors(content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Decode a whole file; whatever is wrong with it raises an error of some kind."""
    (length,) = struct.unpack_from('<Q', content)
    if length > min(MAX_HEADER, len(content) - 8):
        raise ValueError(f'found {len(content)} bytes, expected more than {length + 8}')
    header = json.loads(content[8 : 8 + length])
    metadata = header.pop('__metadata__', {})
    data = memoryview(content)[8 + length :]
    expected = max((entry['data_offsets'][1] for entry in header.values()), default=0)
    if len(data) != expected:
        raise ValueError(f'found {len(data)} bytes of weights, expected {expected}')
    tensors = {}
    for name, entry in header.items():
        dtype, shape, (start, stop) = DTYPES[entry['dtype']], entry['shape'], entry['data_offsets']
        if stop - start != math.prod(shape) * dtype.itemsize:
            raise ValueError(f'{name}: found {stop - start} bytes, expected shape {shape} of {entry["dtype"]}')
        # A copy, since PyTorch wants memory that may be written to.
        tensors[name] = torch.frombuffer(bytearray(data[start:stop]), dtype=dtype).view(shape)
    return tensors, metadata


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors of the dtypes in ``DTYPES`` and texts about them as a safetensors file.

    Args:
        path: The file.
        tensors: By name.
        metadata: What the file says about itself.
    """
    names = {dtype: name for name, dtype in DTYPES.items()}
    header: dict[str, Any] = {'__metadata__': dict(metadata)}
    chunks, position = [], 0
    for name, tensor in tensors.items():
        chunk = tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
        stop = position + len(chunk)
        header[name] = {'dtype': names[tensor.dtype], 'shape': list(tensor.shape), 'data_offsets': [position, stop]}
        chunks.append(chunk)
        position = stop
    encoded = json.dumps(header).encode()
    encoded += b' ' * (-len(encoded) % 8)  # so that the tensors are aligned
    write_bytes(path, struct.pack('<Q', len(encoded)) + encoded + b''.join(chunks))
