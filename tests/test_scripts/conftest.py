"""Run the scripts in this process."""

import importlib

import pytest


@pytest.fixture
def run_script(capsys):
    """Function ``run_script(name, *arguments)`` that gives exit status, standard output and standard error."""

    def run(name, *arguments):
        status = importlib.import_module(name).main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run
