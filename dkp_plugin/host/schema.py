"""Check blocks of options: every mistake becomes one line that names the key and what is allowed."""

import difflib
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, get_args

from basicsr.utils.registry import ARCH_REGISTRY, Registry
from pydantic import BaseModel, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from dkp_plugin.host.errors import OptionError

# Keys that ``complete_options`` adds to an option file; messages and documents do not offer them.
ADDED_KEYS = frozenset({'dist', 'rank', 'world_size', 'auto_resume', 'is_train', 'experiments_root', 'results_root'})
ADDED_KEYS |= {'models', 'training_states', 'log', 'visualization'}
PART_OF_NAME = r'^[^/\\]*$'  # results stay in their folder

Section = TypeVar('Section', bound=BaseModel)


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Say which allowed name was probably meant, or all of them."""
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
        section: What the block may hold.
        options: The block.
        where: Names the block in the message; may be empty.

    Returns:
        The parsed block.

    Raises:
        OptionError: for the first mistake: the key, the value received and what is allowed.
    """
    try:
        return section.model_validate(dict(options))
    except ValidationError as error:
        errors = error.errors(include_url=False)
    # A key that is missing may be there under a wrong name, which says more.
    first = next((entry for entry in errors if entry['type'] == 'extra_forbidden'), errors[0])
    path = ':'.join(_existing_keys(first['loc'], options))
    key = f'{where}: {path}' if where else path
    if first['type'] == 'extra_forbidden':
        owner = section
        for part in first['loc'][:-1]:
            annotation = owner.model_fields[part].annotation
            owner = next(iter(get_args(annotation)), annotation)  # of "Model | None" the model
        raise OptionError(
            f'{key}: unknown key, {nearest(str(first["loc"][-1]), owner.model_fields.keys() - ADDED_KEYS)}'
        )
    if first['type'] == 'missing':
        raise OptionError(f'{key}: missing')
    raise OptionError(f'{key}: {first["input"]!r} is not allowed: {first["msg"][0].lower()}{first["msg"][1:]}')


def _existing_keys(location: Iterable[str | int], value: Any) -> list[str]:
    """The part of pydantic's location that leads through blocks and lists; after it come names of types."""
    keys = []
    for part in location:
        if not isinstance(value, Mapping | list):
            break
        keys.append(str(part))
        value = value.get(part) if isinstance(value, Mapping) else value[part]
    return keys


def get_registered(registry: Registry, options: Mapping[str, Any], where: str, kind: type = object) -> Any:
    """Look up ``options['type']``; unlike ``Registry.get`` it prints nothing and offers the nearest name.

    Args:
        registry: One of BasicSR's.
        options: A block of options with the key ``type``.
        where: Names the block in the message.
        kind: Base class that what is found must have.

    Raises:
        OptionError: if there is no type or none of this name and kind.
    """
    if 'type' not in options:
        raise OptionError(f'{where}: missing key type')
    allowed = [name for name, entry in registry if kind is object or issubclass(entry, kind)]
    if options['type'] not in allowed and options['type'] in registry:
        raise OptionError(
            f'{where}: type: {options["type"]} is not a {kind.__name__}; allowed: {", ".join(sorted(allowed))}'
        )
    if options['type'] not in allowed:
        raise OptionError(f'{where}: type: {options["type"]} is unknown, {nearest(str(options["type"]), allowed)}')
    return registry.get(options['type'])


def build_network(options: Mapping[str, Any], where: str, kind: type) -> Any:
    """Build an estimator or a restorer as BasicSR's ``build_network`` does, with readable errors.

    A class whose option keys have changed may define a class method ``translate(options) -> (options, note)``. It gets
    the block and returns it in today's form, perhaps with another ``type``, and a note that names the new form, or
    None if nothing has changed. The note is logged, once in a run: while options are checked nothing is logged yet.

    Args:
        options: A block ``network_k`` or ``network_g``: ``type`` and constructor arguments.
        where: Names the block in the message.
        kind: ``KernelEstimator`` or ``Restorer``.

    Raises:
        OptionError: for an unknown type, an unknown or missing key, or a value that the constructor refuses.
    """
    constructor = get_registered(ARCH_REGISTRY, options, where, kind)
    if hasattr(constructor, 'translate'):
        options, note = constructor.translate(options)
        constructor = get_registered(ARCH_REGISTRY, options, where, kind)
        if note is not None:
            logging.getLogger('basicsr').info(f'{where}: {note}')
    arguments = check_arguments(constructor, options, where)
    try:
        return constructor(**arguments)
    except (ValueError, TypeError) as error:
        raise OptionError(f'{where}: {error}') from None


def check_arguments(
    constructor: Callable[..., Any], options: Mapping[str, Any], where: str, given: int = 0
) -> dict[str, Any]:
    """Check a block of options against the signature of what it builds.

    Args:
        constructor: Class or function.
        options: The block: ``type`` and arguments.
        where: Names the block in the message.
        given: Number of leading arguments that the caller passes itself, such as an optimiser's parameters.

    Returns:
        The arguments, converted to their annotated types.

    Raises:
        OptionError: for an unknown or missing key, or a value of the wrong type.
    """
    parameters = {
        name: parameter
        for name, parameter in list(inspect.signature(constructor).parameters.items())[given:]
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)  # nn.Module's own, unused
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
    """Check an option against the type hint of the constructor's argument; return it converted to that type."""
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
