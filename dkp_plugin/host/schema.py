"""Check blocks of options; every error is one line that names the key and the allowed values."""

import difflib
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from types import UnionType
from typing import Any, TypeVar, get_args

from basicsr.utils.registry import ARCH_REGISTRY, Registry
from pydantic import BaseModel, BeforeValidator, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from dkp_plugin.host.errors import OptionError

# Keys that ``complete_options`` adds to an option file; messages and documents do not offer them.
ADDED_KEYS = frozenset({'dist', 'rank', 'world_size', 'auto_resume', 'is_train', 'experiments_root', 'results_root'})
ADDED_KEYS |= {'models', 'training_states', 'log', 'visualization'}
ALLOW_OFF = BeforeValidator(lambda value: 'off' if value is False else value)  # YAML reads an unquoted off as false
PART_OF_NAME = r'^[^/\\]*$'  # no separators, so that results stay in their folder

Kind = type | UnionType
Section = TypeVar('Section', bound=BaseModel)


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Suggest the allowed name that was probably meant, or list all of them."""
    by_lower_case = {candidate.lower(): candidate for candidate in sorted(allowed)}
    close = difflib.get_close_matches(name.lower(), by_lower_case, n=1)
    return (
        f'did you mean {by_lower_case[close[0]]}?'
        if close
        else f'allowed: {", ".join(by_lower_case.values()) or "none"}'
    )


def parse_section(section: type[Section], options: Mapping[str, Any], where: str) -> Section:
    """Parse a block of options.

    Args:
        section: Model of the block.
        options: The block.
        where: Name of the block for the message; may be empty.

    Returns:
        The parsed block.

    Raises:
        OptionError: for the first error; the message names the key, the value received and what is allowed.
    """
    try:
        return section.model_validate(dict(options))
    except ValidationError as error:
        errors = error.errors(include_url=False)
    # An unknown key is often a misspelt required one and is the more helpful error of the two.
    first = next((entry for entry in errors if entry['type'] == 'extra_forbidden'), errors[0])
    path = ':'.join(_existing_keys(first['loc'], options))
    key = f'{where}: {path}' if where else path
    if first['type'] == 'extra_forbidden':
        owner = section
        for part in first['loc'][:-1]:
            annotation = owner.model_fields[part].annotation
            owner = next(iter(get_args(annotation)), annotation)  # the model in "Model | None"
        raise OptionError(
            f'{key}: unknown key, {nearest(str(first["loc"][-1]), owner.model_fields.keys() - ADDED_KEYS)}'
        )
    if first['type'] == 'missing':
        raise OptionError(f'{key}: missing')
    raise OptionError(f'{key}: {first["input"]!r} is not allowed: {first["msg"][0].lower()}{first["msg"][1:]}')


def _existing_keys(location: Iterable[str | int], value: Any) -> list[str]:
    """The part of pydantic's location that consists of keys and indices; names of types follow it."""
    keys = []
    for part in location:
        if not isinstance(value, Mapping | list):
            break
        keys.append(str(part))
        value = value.get(part) if isinstance(value, Mapping) else value[part]
    return keys


def get_registered(registry: Registry, options: Mapping[str, Any], where: str, kind: Kind = object) -> Any:
    """Look up ``options['type']``; unlike ``Registry.get``, print nothing and suggest the nearest name.

    Args:
        registry: One of BasicSR's registries.
        options: A block of options with the key ``type``.
        where: Name of the block for the message.
        kind: Required base class of the result, or a union of several.

    Raises:
        OptionError: if the type is missing, unknown or of another kind.
    """
    if 'type' not in options:
        raise OptionError(f'{where}: missing key type')
    allowed = [name for name, entry in registry if kind is object or issubclass(entry, kind)]
    if options['type'] not in allowed and options['type'] in registry:
        raise OptionError(
            f'{where}: type: {options["type"]} is not a {_kind_names(kind)}; allowed: {", ".join(sorted(allowed))}'
        )
    if options['type'] not in allowed:
        raise OptionError(f'{where}: type: {options["type"]} is unknown, {nearest(str(options["type"]), allowed)}')
    return registry.get(options['type'])


def _kind_names(kind: Kind) -> str:
    return ' or '.join(part.__name__ for part in get_args(kind) or (kind,))


def build_network(options: Mapping[str, Any], where: str, kind: Kind) -> Any:
    """Build a network as BasicSR's ``build_network`` does, with readable errors.

    A class whose option keys have changed may define a class method ``translate(options) -> (options, note)``. It
    returns the block in its current form, possibly with another ``type``, and a note that names the new form, or None
    if the block is current. The note is logged as a warning.

    Args:
        options: A block ``network_k`` or ``network_g``: ``type`` and constructor arguments.
        where: Name of the block for the message.
        kind: Required base class, such as ``KernelEstimator``, or a union of several.

    Raises:
        OptionError: for an unknown type, an unknown or missing key, or a value that the constructor refuses.
    """
    constructor = get_registered(ARCH_REGISTRY, options, where, kind)
    if hasattr(constructor, 'translate'):
        options, note = constructor.translate(options)
        constructor = get_registered(ARCH_REGISTRY, options, where, kind)
        if note is not None:
            logging.getLogger('basicsr').warning(f'{where}: {note}')
    arguments = check_arguments(constructor, options, where)
    try:
        return constructor(**arguments)
    except (ValueError, TypeError) as error:
        raise OptionError(f'{where}: {error}') from None


def check_arguments(
    constructor: Callable[..., Any], options: Mapping[str, Any], where: str, given: int = 0
) -> dict[str, Any]:
    """Check a block of options against the signature of its constructor.

    Args:
        constructor: Class or function.
        options: The block: ``type`` and arguments.
        where: Name of the block for the message.
        given: Number of leading arguments that the caller passes itself, such as an optimiser's parameters.

    Returns:
        The arguments, converted to their annotated types.

    Raises:
        OptionError: for an unknown or missing key, or a value of the wrong type.
    """
    parameters = {
        name: parameter
        for name, parameter in list(inspect.signature(constructor).parameters.items())[given:]
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)  # nn.Module's, unused
    }
    arguments = {key: value for key, value in options.items() if key != 'type'}
    for key in arguments:
        if key not in parameters:
            name = options.get('type', constructor.__name__)
            raise OptionError(f'{where}: {key}: unknown key of {name}, {nearest(str(key), parameters)}')
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in arguments:
            raise OptionError(f'{where}: {name}: missing')
    return {key: _check_argument(parameters[key], value, where) for key, value in arguments.items()}


def _check_argument(parameter: inspect.Parameter, value: Any, where: str) -> Any:
    """Check an option against the type hint of its argument; return it converted to that type."""
    if parameter.annotation is parameter.empty or isinstance(parameter.annotation, str):
        return value
    try:
        adapter = TypeAdapter(parameter.annotation)
    except PydanticSchemaGenerationError:  # a foreign class, such as the Tensor in torch's own signatures
        return value
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        message = error.errors(include_url=False)[0]['msg']
        raise OptionError(
            f'{where}: {parameter.name}: {value!r} is not allowed: {message[0].lower()}{message[1:]}'
        ) from None
