"""Blocks of options against a model, a registry and a signature."""

from typing import Literal

import pytest
from basicsr.utils.registry import ARCH_REGISTRY, Registry
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor, nn, optim

from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.schema import build_network, check_arguments, get_registered, nearest, parse_section


class Inner(BaseModel):
    model_config = ConfigDict(extra='forbid')
    freq: PositiveInt = 1
    rank: int = 0  # a key that is added to option files


class Outer(BaseModel):
    model_config = ConfigDict(extra='forbid')
    name: str = Field(pattern='^[a-z]*$')
    inner: Inner | None = None
    mode: Literal['one', 'two'] = 'one'
    sides: list[int] = []


class Base(nn.Module):
    pass


class Method(Base):
    def __init__(self, size: PositiveInt, other: float = 0.5, free=None) -> None:
        super().__init__()
        if size == 13:
            raise ValueError('size: 13 brings bad luck')
        self.size, self.other, self.free = size, other, free


class Renamed(Base):
    @classmethod
    def translate(cls, options):
        return {'type': 'Method', 'size': options['length']}, 'length is called size today'


@pytest.fixture
def registry(monkeypatch):
    """A registry with the classes of this file, in place of BasicSR's architectures."""
    monkeypatch.setattr(ARCH_REGISTRY, '_obj_map', {})
    for entry in (Method, Renamed, nn.Linear):
        ARCH_REGISTRY.register(entry)
    return ARCH_REGISTRY


@pytest.mark.parametrize(
    ('name', 'allowed', 'hint'),
    [
        ('sacle', ['scale', 'name'], 'did you mean scale?'),
        ('dkp', ['FKP', 'DKP'], 'did you mean DKP?'),
        ('x', ['scale', 'name'], 'allowed: name, scale'),
        ('x', [], 'allowed: none'),
    ],
)
def test_nearest(name, allowed, hint):
    assert nearest(name, allowed) == hint


def test_a_good_section_is_parsed():
    parsed = parse_section(Outer, {'name': 'a', 'inner': {'freq': 3}, 'sides': [1, 2]}, 'block')
    assert parsed == Outer(name='a', inner=Inner(freq=3), sides=[1, 2])


@pytest.mark.parametrize(
    ('options', 'where', 'message'),
    [
        ({}, '', 'name: missing'),
        ({}, 'block', 'block: name: missing'),
        ({'nmae': 'a'}, 'block', 'block: nmae: unknown key, did you mean name?'),  # rather than that name is missing
        ({'name': 'a', 'inner': {'frq': 1}}, '', 'inner:frq: unknown key, did you mean freq?'),
        ({'name': 'a', 'inner': {'x': 1}}, '', 'inner:x: unknown key, allowed: freq'),  # rank is not offered
        ({'name': 'a', 'inner': {'freq': 0}}, 'b', 'b: inner:freq: 0 is not allowed: input should be greater than 0'),
        ({'name': 'a', 'mode': 'three'}, '', "mode: 'three' is not allowed: input should be 'one' or 'two'"),
        ({'name': 'a', 'sides': [1, 'x']}, '', "sides:1: 'x' is not allowed: input should be a valid integer"),
    ],
)
def test_the_first_mistake_of_a_section_is_one_line(options, where, message):
    with pytest.raises(OptionError) as error:
        parse_section(Outer, options, where)
    assert str(error.value).startswith(message) and '\n' not in str(error.value)


def test_get_registered():
    registry = Registry('toys')
    registry.register(Method)
    registry.register(nn.Linear)
    assert get_registered(registry, {'type': 'Linear'}, 'here') is nn.Linear
    assert get_registered(registry, {'type': 'Method'}, 'here', Base) is Method
    for options, message in (
        ({}, 'here: missing key type'),
        ({'type': 'Methud'}, 'here: type: Methud is unknown, did you mean Method?'),
        ({'type': 'Linear'}, 'here: type: Linear is not a Base; allowed: Method'),
    ):
        with pytest.raises(OptionError) as error:
            get_registered(registry, options, 'here', Base)
        assert str(error.value) == message


def test_networks_are_built_with_converted_values(registry):
    net = build_network({'type': 'Method', 'size': 3, 'other': 2, 'free': {'a': [1]}}, 'network_k', Base)
    assert (net.size, net.other, net.free) == (3, 2.0, {'a': [1]}) and type(net.other) is float


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'type': 'Method'}, 'network_k: size: missing'),
        ({'type': 'Method', 'size': 1, 'ohter': 2}, 'network_k: ohter: unknown key of Method, did you mean other?'),
        ({'type': 'Method', 'size': -1}, 'network_k: size: -1 is not allowed: input should be greater than 0'),
        ({'type': 'Method', 'size': 13}, 'network_k: size: 13 brings bad luck'),  # says the constructor
        ({'type': 'Linear', 'size': 1}, 'network_k: type: Linear is not a Base; allowed: Method, Renamed'),
    ],
)
def test_networks_that_cannot_be_built(registry, options, message):
    with pytest.raises(OptionError) as error:
        build_network(options, 'network_k', Base)
    assert str(error.value) == message


def test_old_options_are_translated_with_a_warning(registry, caplog):
    options = {'type': 'Renamed', 'length': 4}
    with caplog.at_level('WARNING', 'basicsr'):
        net = build_network(options, 'network_k', Base)
    assert type(net) is Method and net.size == 4
    assert caplog.messages == ['network_k: length is called size today']
    assert options == {'type': 'Renamed', 'length': 4}


def test_arguments_that_the_caller_passes_itself_are_no_options():
    arguments = check_arguments(optim.Adam, {'type': 'Adam', 'lr': 1e-3}, 'optim_g', given=1)
    assert arguments == {'lr': 1e-3}
    with pytest.raises(OptionError, match='optim_g: params: unknown key of Adam'):
        check_arguments(optim.Adam, {'type': 'Adam', 'params': []}, 'optim_g', given=1)


def test_types_that_cannot_be_checked_are_left_to_the_constructor():
    def function(weight: Tensor, text: 'undefined', **rest):  # noqa: F821
        pass

    assert check_arguments(function, {'weight': 3, 'text': 4}, 'here') == {'weight': 3, 'text': 4}
    with pytest.raises(OptionError, match=r'more: unknown key of function, allowed: text, weight$'):
        check_arguments(function, {'weight': 3, 'text': 4, 'more': 1}, 'here')
