"""A room of the package imports only the rooms below it."""

import ast
from pathlib import Path

import pytest

import dkp_plugin

PACKAGE = Path(dkp_plugin.__file__).parent
FLOORS = (
    ('host',),
    ('physics',),
    ('io',),
    ('archs', 'losses'),
    ('data',),
    ('estimators', 'restorers'),
    ('engine',),
    ('evaluation',),
    ('models', 'photos'),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def imported_rooms(path):
    """The rooms that a module imports, at the top or within functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        modules = []
        if isinstance(node, ast.ImportFrom):
            modules = [node.module] if node.module != 'dkp_plugin' else [f'dkp_plugin.{a.name}' for a in node.names]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        for module in modules:
            if module and module.startswith('dkp_plugin.'):
                yield module.split('.')[1]


def test_every_folder_is_a_room():
    assert {path.name for path in PACKAGE.iterdir() if (path / '__init__.py').exists()} == set(FLOOR_OF)


@pytest.mark.parametrize('room', FLOOR_OF)
def test_imports_go_downwards(room):
    upward = [
        f'{path.relative_to(PACKAGE)} imports {other}'
        for path in (PACKAGE / room).rglob('*.py')
        for other in imported_rooms(path)
        if other != room and FLOOR_OF[other] >= FLOOR_OF[room]
    ]
    assert not upward
