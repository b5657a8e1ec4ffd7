"""Run the scripts in this process."""

import importlib.util
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / 'scripts'


@pytest.fixture
def run_script(capsys):
    """Function ``run_script(name, *arguments)`` that gives exit status, standard output and standard error."""

    def run(name, *arguments):
        spec = importlib.util.spec_from_file_location(name, SCRIPTS / f'{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        status = module.main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run
