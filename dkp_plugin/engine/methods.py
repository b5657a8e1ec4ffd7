"""List the registered estimators and restorers, including those of other packages."""

import inspect
from dataclasses import astuple, dataclass
from typing import Literal

from basicsr.utils.registry import ARCH_REGISTRY

from dkp_plugin.archs.one_shot import OneShotNetwork
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.restorers.base import Restorer

HEAD = ('name', 'kind', 'kernel families', 'scales', 'weights', 'package', 'paper', 'method')


@dataclass(frozen=True)
class Method:
    """A method that an option file can name.

    Attributes:
        name: Its name in the registry, for ``network_k: {type: <name>}`` or ``network_g: {type: <name>}``.
        kind: ``estimator`` (``network_k``) or ``restorer`` (``network_g``).
        kernel_families: Kernel families that an estimator assumes; empty: none.
        scales: Supported scale factors.
        needs_weights: Whether it has trained weights.
        package: The package that provides it.
        paper: Reference; may be empty.
        summary: Description in one sentence.
    """

    name: str
    kind: Literal['estimator', 'restorer']
    kernel_families: tuple[str, ...]
    scales: tuple[int, ...]
    needs_weights: bool
    package: str
    paper: str
    summary: str


def list_methods() -> list[Method]:
    """List all registered estimators and restorers, described by their class attributes.

    Returns:
        The estimators, then the restorers, both sorted by name.
    """
    found = [
        _describe(name, network, kind)
        for name, network in ARCH_REGISTRY
        for kind, base in (('estimator', KernelEstimator), ('restorer', Restorer | OneShotNetwork))
        if issubclass(network, base)
    ]
    return sorted(found, key=lambda method: (method.kind, method.name))


def _describe(name: str, network: type, kind: Literal['estimator', 'restorer']) -> Method:
    summary = (inspect.getdoc(network) or '').partition('\n\n')[0]
    return Method(
        name=name,
        kind=kind,
        kernel_families=tuple(getattr(network, 'kernel_families', ())),
        scales=tuple(network.scales),
        needs_weights=bool(getattr(network, 'has_weights', False)),
        package=network.__module__.partition('.')[0],
        paper=network.paper,
        summary=' '.join(summary.replace('``', '').split()),
    )


def format_methods() -> str:
    """Format the result of :func:`list_methods` as a text table, one line per method."""
    rows = [HEAD, *(tuple(map(_text, astuple(method))) for method in list_methods())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD) - 1)] + [0]
    return '\n'.join(
        '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _text(value: str | bool | tuple[str | int, ...]) -> str:
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    return ', '.join(map(str, value)) or '-' if isinstance(value, tuple) else value or '-'
