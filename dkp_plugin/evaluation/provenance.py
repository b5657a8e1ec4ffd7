"""The provenance of a result, which alone decides whether the result is still valid."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dkp_plugin.archs.package_weights import package_weights_digest
from dkp_plugin.host.version import __version__
from dkp_plugin.io.fingerprint import fingerprint

RESULT_OPTIONS = (
    'scale',
    'manual_seed',
    'degradation',
    'network_k',
    'network_g',
    'alternation',
    'early_stopping',
    'restorer',
    'tile',
)
ADDED_TO_DATASETS = ('phase', 'scale')  # by parse_options
HASH_DIGITS = 16


def result_options(opt: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a result depends on, except the image.

    Args:
        opt: Content of an option file, unchanged or as ``parse_options`` returns it.

    Returns:
        JSON values. Digests replace file names, so that weights and kernels may move but not change.
    """
    relevant = {key: opt.get(key) for key in RESULT_OPTIONS}
    path = opt.get('path') or {}
    weights = {'pretrain_network_g': path.get('pretrain_network_g')}
    weights |= {'param_key_g': path['param_key_g']} if 'param_key_g' in path else {}  # of BasicSR's models
    return _plain(relevant | {'path': weights})


def options_hash(opt: Mapping[str, Any], data_set: str) -> str:
    """Hash of the options that the results on one data set depend on.

    Args:
        opt: Content of an option file.
        data_set: ``name`` of the data set; other data sets do not affect the hash.

    Returns:
        16 hex digits.
    """
    block = next(block for block in opt['datasets'].values() if str(block['name']) == data_set)
    block = {
        name: str(Path(value).expanduser()) if name.startswith('dataroot') and value is not None else value
        for name, value in block.items()
        if name not in ADDED_TO_DATASETS
    }
    return fingerprint(result_options(opt), _plain(block))[:HASH_DIGITS]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, str) and Path(value).suffix and Path(value).expanduser().is_file():
        return f'SHA-256 {fingerprint(Path(value).expanduser())[:HASH_DIGITS]}'
    return value


class Provenance:
    """Determines the provenance of each image of a run.

    Args:
        opt: Content of the option file.
    """

    def __init__(self, opt: Mapping[str, Any]) -> None:
        val = opt.get('val') or {}
        self.options = result_options(opt) | {'val': {'curve_freq': val.get('curve_freq') or 0}}
        self.metrics = _plain(val.get('metrics') or {})
        self.is_oracle = (opt.get('network_k') or {}).get('source') == 'gt'  # BasicSR's models have none

    def of(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """The provenance of the result and the metrics of an item.

        Args:
            item: Item of a data set: ``lq`` and, if known, ``alpha``, ``jpeg``, ``gt`` and ``kernel``, arrays or
                tensors.

        Returns:
            ``options``; ``version`` of the package and digest of its ``weights``; ``input``, the digest of the LR
            image, its alpha channel, its JPEG coding and, for an oracle, the kernel; ``figures``, the digest of the
            metrics and the ground truth, on which the result does not depend.
        """
        kernel = [item['kernel']] if self.is_oracle and item.get('kernel') is not None else []
        alpha = [item['alpha']] if item.get('alpha') is not None else []
        jpeg = [np.asarray(item['jpeg']).tolist()] if item.get('jpeg') is not None else []
        truth = [item[key] for key in ('gt', 'kernel') if item.get(key) is not None]
        return {
            'options': self.options,
            'version': __version__,
            'weights': package_weights_digest()[:HASH_DIGITS],
            'input': _digest(item['lq'], *alpha, *kernel, parts=jpeg),
            'figures': _digest(*truth, parts=[self.metrics]),
        }


def _digest(*arrays: np.ndarray | torch.Tensor, parts: list[Any] | None = None) -> str:
    parts = list(parts or [])
    for array in map(np.asarray, arrays):
        parts += [list(array.shape), str(array.dtype), array.tobytes()]
    return fingerprint(*parts)


def differences(found: Any, expected: Any, where: str = '') -> list[str]:
    """Compare two values of :meth:`Provenance.of`, except the entries that affect only the metrics.

    Returns:
        A line for each difference, ``key: value found before, value expected now``; empty if the result is still valid.
    """
    if not (isinstance(found, Mapping) and isinstance(expected, Mapping)):
        return [] if found == expected else [f'{where}: {found} before, {expected} now']
    lines = []
    for key in sorted({*found, *expected} - ({'figures'} if not where else set())):
        path = f'{where}: {key}' if where not in ('', 'options') else key
        if path == 'input' and found.get(key) != expected[key]:
            lines.append('the LR image has changed')
        else:
            lines += differences(found.get(key), expected.get(key), path)
    return lines
