"""Save the state of an estimator, a restorer or any iterating object, and restore it in another process.

The other process builds and resets the object with the same options, image and random numbers. The snapshot therefore
holds only what iterations change: tensors, numbers, optimisers and generators, at any depth of the object. Methods need
no code for this. A snapshot consists of plain values and tensors, so ``torch.load`` reads it with
``weights_only=True``.

For this to work, an object must not change a trained network whose parameters all have ``requires_grad=False``. It may
cache a tensor with a graph only if it can recompute it; such a cache is restored as None.
"""

import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.restorers.base import Restorer

UNCHANGED = '__unchanged__'  # replaces values that no iteration changes: trained networks, functions, devices
NAMED_TUPLE = '__named_tuple__'  # key for the class of a named tuple


def take(value: Any) -> Any:
    """Take the state of a value.

    Args:
        value: An object. It stays unchanged and shares no memory with its state.

    Returns:
        Dictionaries, lists, tensors, numbers and strings.
    """
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Tensor():
            return _take_tensor(value)
        case torch.Generator():
            return value.get_state()
        case torch.optim.Optimizer() | torch.optim.lr_scheduler.LRScheduler():
            return take(value.state_dict())
        case Mapping():
            return {key: take(entry) for key, entry in value.items()}
        case tuple() if hasattr(value, '_fields'):
            return {NAMED_TUPLE: [type(value).__module__, type(value).__name__], 'fields': take(tuple(value))}
        case list() | tuple() | deque():
            return [take(entry) for entry in value]
        case _ if _is_constant(value):
            return UNCHANGED
    return {name: take(entry) for name, entry in vars(value).items()}


def put(value: Any, state: Any) -> Any:
    """Restore a state into a value of the same structure.

    Args:
        value: The object after its reset. It is changed in place if possible, so that other references to its parts,
            such as an optimiser's parameters, see the restored values.
        state: What :func:`take` returned for the corresponding object.

    Returns:
        The restored value, which the caller must store: ``value`` itself unless it is a tensor, a number, a string or a
        list.
    """
    if isinstance(state, str) and state == UNCHANGED:
        return value
    match value:
        case Tensor() if value.is_leaf and value.requires_grad:
            return _put_parameter(value, state)
        case None | bool() | int() | float() | str() | Tensor():
            return _rebuild(state)
        case torch.Generator():
            return value.set_state(state)
        case torch.optim.Optimizer() | torch.optim.lr_scheduler.LRScheduler():
            value.load_state_dict(state)
        case dict():
            restored = {key: put(value.get(key), entry) for key, entry in state.items()}
            value.clear()
            value.update(restored)
        case tuple() if hasattr(value, '_fields'):
            return _rebuild(state)
        case list() | tuple() | deque():
            kept = [*value, *[None] * (len(state) - len(value))]
            return type(value)(put(old, new) for old, new in zip(kept, state, strict=False))
        case _:
            for name, entry in state.items():
                vars(value)[name] = put(vars(value).get(name), entry)
    return value


def _take_tensor(tensor: Tensor) -> Any:
    if tensor.grad_fn is not None:
        return None
    copy = tensor.detach().clone()
    if not tensor.requires_grad:
        return copy
    return {'value': copy, 'grad': None if tensor.grad is None else tensor.grad.detach().clone()}


def _put_parameter(parameter: Tensor, state: Mapping[str, Tensor | None]) -> Tensor:
    """Restore a parameter with its gradient, which a method may accumulate over several steps."""
    with torch.no_grad():
        parameter.copy_(state['value'])
    parameter.grad = state['grad']
    return parameter


def _rebuild(state: Any) -> Any:
    """Rebuild a value that the reset did not create; its only containers can be lists and named tuples."""
    if isinstance(state, list):
        return [_rebuild(entry) for entry in state]
    if not (isinstance(state, Mapping) and NAMED_TUPLE in state):
        return state
    module, name = state[NAMED_TUPLE]
    kind = getattr(sys.modules.get(module), name, None)
    if not (isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, '_fields')):
        raise ValueError(f'{module}.{name} is not a named tuple')  # never call an arbitrary object of a file
    return kind(*_rebuild(state['fields']))


def _is_constant(value: Any) -> bool:
    if isinstance(value, KernelEstimator | Restorer):
        return False
    if isinstance(value, nn.Module):
        parameters = list(value.parameters())
        return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)
    is_frozen = is_dataclass(value) and value.__dataclass_params__.frozen
    return is_frozen or callable(value) or not hasattr(value, '__dict__')
