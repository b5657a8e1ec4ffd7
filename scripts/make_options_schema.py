"""Write options/schema.json, by which editors complete and check option files, from the code.

    python scripts/make_options_schema.py

The first line of an option file names it: ``# yaml-language-server: $schema=../schema.json``. Blocks come from the
models that check them, networks, losses and metrics from the signatures of what is registered. Names that are not
known here are allowed, since other packages may bring them; the program itself checks those.
"""

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import dkp_plugin  # noqa: F401  # before basicsr, which it repairs

# isort: split
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY
from make_options_reference import split_docstring
from option_words import WORDS
from pydantic import BaseModel, ConfigDict, PydanticUserError, create_model
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from dkp_plugin.archs.one_shot import OneShotNetwork
from dkp_plugin.data.basicsr_options import BASICSR_DATASETS
from dkp_plugin.engine.options import BlindSROptions
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.evaluation.checks import METRIC_DATA, MetricOptions
from dkp_plugin.evaluation.provenance import ADDED_TO_DATASETS
from dkp_plugin.host.schema import ADDED_KEYS, Kind
from dkp_plugin.models.training_options import OPTIMISERS, SCHEDULERS
from dkp_plugin.restorers.base import Restorer

TARGET = Path(__file__).resolve().parents[1] / 'options/schema.json'
TEXT = {'type': 'string'}
# What an option file may hold before the entry point completes it.
IN_FILE = {
    'num_gpu': {'anyOf': [{'const': 'auto'}, {'type': 'integer', 'minimum': 0}], 'description': 'GPUs; 0: the CPU.'},
    'manual_seed': {'type': ['integer', 'null']},
}
OPTIONAL = {'manual_seed'}

Schema = dict[str, Any]


class _Lenient(GenerateJsonSchema):
    """Allows everything for a type that JSON does not have, such as a tensor."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:
        return {}


def model_schema(model: type[BaseModel], removed: Iterable[str] = ADDED_KEYS) -> Schema:
    """The schema of a block, without the keys that the program adds; nested blocks are written out."""
    schema = model.model_json_schema(schema_generator=_Lenient)
    definitions = schema.pop('$defs', {})
    return _simplify(schema, definitions, set(removed))


def _simplify(node: Any, definitions: Mapping[str, Any], removed: set[str]) -> Any:
    """Write out references; drop titles, defaults of whole blocks and removed keys."""
    if isinstance(node, list):
        return [_simplify(entry, definitions, removed) for entry in node]
    if not isinstance(node, dict):
        return node
    if '$ref' in node:
        rest = {key: value for key, value in node.items() if key not in ('$ref', 'default')}
        return _simplify(definitions[node['$ref'].rpartition('/')[2]] | rest, definitions, removed)
    if 'properties' in node:
        node = node | {'properties': {key: entry for key, entry in node['properties'].items() if key not in removed}}
        required = [key for key in node.get('required', []) if key not in removed]
        node = {key: value for key, value in node.items() if key != 'required'} | (
            {'required': required} if required else {}
        )
    kept = {key: value for key, value in node.items() if key != 'title' or not isinstance(value, str)}
    if 'description' in kept and isinstance(kept['description'], str):
        kept['description'] = split_docstring(kept['description'])[0]
    return {key: _simplify(value, definitions, removed) for key, value in kept.items()}


def signature_schema(name: str, function: Callable[..., Any], given: int = 0, hidden: Iterable[str] = ()) -> Schema:
    """The schema of a block that names a class or function by ``type`` and holds its arguments.

    Args:
        name: Its registered name.
        function: The class or function.
        given: Number of leading arguments that the program passes itself.
        hidden: Further arguments that it passes itself.
    """
    fields: dict[str, Any] = {}
    parameters = list(inspect.signature(function).parameters.values())[given:]
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or parameter.name in hidden:
            continue
        annotation = parameter.annotation if _is_usable(parameter.annotation) else Any
        # BasicSR has arguments without type hints whose default None does not stand for the type.
        fields[parameter.name] = (annotation, ... if parameter.default is parameter.empty else parameter.default)
    model = create_model(name, __config__=ConfigDict(extra='forbid', arbitrary_types_allowed=True), **fields)
    schema = model_schema(model)
    body, meanings = split_docstring(function.__doc__ or '')
    for key, entry in schema.get('properties', {}).items():
        if key in meanings:
            entry['description'] = meanings[key]
    schema['properties'] = {'type': {'const': name}} | schema.get('properties', {})
    return schema | ({'description': body} if body else {})


def _is_usable(annotation: Any) -> bool:
    if annotation is inspect.Parameter.empty or isinstance(annotation, str):
        return False
    try:
        create_model('Probe', __config__=ConfigDict(arbitrary_types_allowed=True), key=(annotation, ...))
    except PydanticUserError:
        return False
    return True


def choice(blocks: Mapping[str, Schema], also: Iterable[str] = (), others: bool = True) -> Schema:
    """A block whose keys depend on its ``type``.

    Args:
        blocks: Schemas by type.
        also: Further known types, whose keys are not checked.
        others: Whether other types are allowed, too.
    """
    names = {'enum': sorted([*blocks, *also])}
    return {
        'type': 'object',
        'required': ['type'],
        'properties': {'type': {'anyOf': [names, TEXT]} if others else names},
        'allOf': [
            {'if': {'properties': {'type': {'const': name}}, 'required': ['type']}, 'then': block}
            for name, block in sorted(blocks.items())
        ],
    }


def networks(kind: Kind, is_kind: bool = True) -> Schema:
    """A block of a network of this package, of a kind or not of it; those of BasicSR may be named."""
    ours, stock = {}, []
    for name, network in ARCH_REGISTRY:
        if issubclass(network, kind) != is_kind:
            continue
        if network.__module__.startswith('dkp_plugin.'):
            ours[name] = signature_schema(name, network)
        elif network.__module__.startswith('basicsr.'):
            stock.append(name)
    return choice(ours, stock)


def datasets() -> Schema:
    """Block ``datasets``."""
    blocks = {name: model_schema(model, ADDED_TO_DATASETS) for name, model in BASICSR_DATASETS.items()}
    stock = []
    for name, dataset in DATASET_REGISTRY:
        model = getattr(sys.modules[dataset.__module__], f'{name}Options', None)
        if dataset.__module__.startswith('dkp_plugin.') and model is not None:
            blocks[name] = model_schema(model, ADDED_TO_DATASETS)
            for key, words in WORDS.get(name, {}).items():
                blocks[name]['properties'].get(key, {})['description'] = words
        elif name not in blocks and dataset.__module__.startswith('basicsr.'):
            stock.append(name)
    keys = {'^(train|(val|test)(_.*)?)$': choice(blocks, stock)}
    return {'type': 'object', 'patternProperties': keys, 'additionalProperties': False}


def metrics() -> Schema:
    """Block ``val: metrics``."""
    options = model_schema(MetricOptions)['properties']
    blocks = {}
    for name, function in METRIC_REGISTRY:
        if function.__module__.partition('.')[0] not in ('basicsr', 'dkp_plugin'):
            continue
        schema = signature_schema(name, function, hidden=METRIC_DATA)
        known = {key: options.get(key, entry) for key, entry in schema['properties'].items()}
        blocks[name] = schema | {'properties': known | {'better': options['better']}}
    return {'type': ['object', 'null'], 'additionalProperties': choice(blocks)}


def definitions() -> dict[str, Schema]:
    """The blocks that several files or keys share; others refer to them by :func:`shared`."""
    schedulers = {name: signature_schema(name, entry, 1) for name, entry in SCHEDULERS.items()}
    return {
        'datasets': datasets(),
        'estimator': networks(KernelEstimator),
        'loss': choice({name: signature_schema(name, loss) for name, loss in LOSS_REGISTRY if _is_public(loss)}),
        'metrics': metrics(),
        'network': networks(KernelEstimator | Restorer, is_kind=False),
        'optimiser': choice({name: signature_schema(name, entry, 1) for name, entry in OPTIMISERS.items()}),
        'restorer': networks(Restorer | OneShotNetwork),
        'scheduler': choice(schedulers, others=False),
    }


def shared(name: str) -> Schema:
    """A reference to one of :func:`definitions`."""
    return {'$ref': f'#/$defs/{name}'}


def train_block(schema: Schema) -> Schema:
    """Fill optimisers, schedulers and losses into a block ``train``."""
    for key, entry in schema['properties'].items():
        if key.startswith('optim_') or key == 'scheduler':
            schema['properties'][key] = shared('scheduler' if key == 'scheduler' else 'optimiser')
        elif key.endswith('_opt'):
            is_optional = {'type': 'null'} in entry.get('anyOf', [])
            loss = shared('loss')
            schema['properties'][key] = {'anyOf': [loss, {'type': 'null'}]} if is_optional else loss
    return schema


def _is_public(loss: type) -> bool:
    return loss.__module__.partition('.')[0] in ('basicsr', 'dkp_plugin')


def file_schema(model: type[BaseModel], name: str) -> Schema:
    """The schema of a whole option file.

    Args:
        model: What checks it.
        name: Its ``model_type``.
    """
    schema = model_schema(model)
    properties = schema['properties']
    for key, words in WORDS['the top level'].items():
        if key in properties:
            properties[key]['description'] = words
    for block in [key for key in WORDS if key in properties]:
        nested = _objects(properties[block])
        for key, words in WORDS[block].items():
            for entry in nested:
                entry['properties'].get(key, {})['description'] = words
    properties |= IN_FILE | {'model_type': {'const': name}, 'datasets': shared('datasets')}
    properties['network_g'] = shared('network')
    if 'network_k' in properties:
        properties['network_k'] = shared('estimator')
    if name == 'BlindSRModel':
        properties['network_g'] = shared('restorer')
        _objects(properties['restorer'])[0]['properties']['final'] = {'anyOf': [TEXT, shared('restorer')]}
        early = _objects(properties['early_stopping'])[0]['properties']
        early['method'] = {'anyOf': [early['method'], {'const': False}]}  # YAML reads a bare off as false
    for entry in _objects(properties.get('val', {})):
        if 'metrics' in entry['properties']:
            entry['properties']['metrics'] = shared('metrics')
    for entry in _objects(properties.get('train', {})):
        train_block(entry)
    for key in ('path', 'val'):
        properties[key] = {'anyOf': [properties[key], {'type': 'null'}]}
    schema['required'] = [key for key in schema['required'] if key not in OPTIONAL]
    return schema


def _objects(schema: Schema) -> list[Schema]:
    """The blocks that a schema allows."""
    return [entry for entry in (schema, *schema.get('anyOf', [])) if 'properties' in entry]


def options_schema() -> Schema:
    """The whole schema."""
    files = {'BlindSRModel': file_schema(BlindSROptions, 'BlindSRModel')}
    for name, model in MODEL_REGISTRY:
        if model.__module__.startswith('dkp_plugin.') and hasattr(model, 'options'):
            files[name] = file_schema(model.options, name)
    stock = sorted(name for name, model in MODEL_REGISTRY if model.__module__.startswith('basicsr.'))
    return {
        '$schema': 'https://json-schema.org/draft/2020-12/schema',
        'title': 'Option file of BasicSR with dkp_plugin',
        'type': 'object',
        'required': ['name', 'model_type', 'num_gpu', 'datasets'],
        'properties': {
            'model_type': {'anyOf': [{'enum': sorted(files) + stock}, TEXT]},
        },
        'allOf': [
            {'if': {'properties': {'model_type': {'const': name}}, 'required': ['model_type']}, 'then': schema}
            for name, schema in sorted(files.items())
        ],
        '$defs': definitions(),
    }


def render() -> str:
    """The content of options/schema.json."""
    return re.sub(r'[ ]+$', '', json.dumps(options_schema(), indent=1), flags=re.MULTILINE) + '\n'


if __name__ == '__main__':
    TARGET.write_text(render(), encoding='utf-8')
