"""Methods of other packages, by entry point and by option file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.imports import import_custom
from dkp_plugin.host.option_files import read_option_file
from dkp_plugin.io.images import write_image

ROOT = Path(__file__).parents[2]
DELTA = """
import torch
from basicsr.utils.registry import ARCH_REGISTRY

from dkp_plugin.estimators.base import KernelEstimator


@ARCH_REGISTRY.register()
class Delta(KernelEstimator):
    def reset(self, lq, degradation, generator):
        self.kernel = torch.zeros(1, 1, degradation.kernel_size, degradation.kernel_size)
        self.kernel[..., round(degradation.centre), round(degradation.centre)] = 1

    def forward(self):
        return self.kernel

    def step(self, x):
        return {'l_k_none': x.new_zeros(())}
"""
CHEAP = """
model_type: BlindSRModel
scale: 2
network_k: {type: Delta}
network_g: {type: ClosedForm}
custom_imports: [my_project.delta]
"""


def run(folder, *arguments, path=()):
    environment = os.environ | {'PYTHONPATH': os.pathsep.join(map(str, [*path, ROOT]))}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (
            '- absent_module\n',
            'line: custom_imports:0: absent_module cannot be imported: ModuleNotFoundError: No module',
        ),
        ('- json\n- broken\n', 'line: custom_imports:1: broken cannot be imported: ValueError: in two lines'),
        ('- leaves\n', 'line: custom_imports:0: leaves cannot be imported: SystemExit: 3'),
        ('- .relative\n', 'line: custom_imports:0: .relative cannot be imported: TypeError'),
        ('- 7\n', 'custom_imports: [7] is not allowed: a list of names of modules is'),
    ],
)
def test_what_cannot_be_imported_is_one_line(text, message, tmp_path, monkeypatch):
    (tmp_path / 'broken.py').write_text("raise ValueError('in\\ntwo lines')")
    (tmp_path / 'leaves.py').write_text('raise SystemExit(3)')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', list(sys.path))
    Path('a.yml').write_text(f'name: a\n\ncustom_imports:\n{text}')
    file = read_option_file(Path('a.yml'))
    line = 3 if message.startswith('custom') else 3 + text.count('\n')
    with pytest.raises(OptionError) as error, file.naming_places():
        import_custom(file.options)
    assert str(error.value).startswith(f'a.yml:{line}: {message.removeprefix("line: ")}')


def test_modules_of_the_current_folder_are_found_by_a_command_that_lies_elsewhere(tmp_path, photo, start_process):
    (tmp_path / 'my_project').mkdir()
    (tmp_path / 'my_project/delta.py').write_text(DELTA)
    (tmp_path / 'delta.yml').write_text(CHEAP)
    write_image(tmp_path / 'a.png', (photo[0] * 255).byte().permute(1, 2, 0).numpy())
    process = start_process('dkp_restore', 'a.png', '--opt', 'delta.yml', folder=tmp_path)
    assert process.wait() == 0, process.read()
    assert (tmp_path / 'restored/a.png').is_file()


def test_an_entry_point_that_fails_is_one_warning(tmp_path):
    for name, module in (('good', 'good_method'), ('bad', 'bad_method')):
        folder = tmp_path / f'{name}_package-1.0.dist-info'
        folder.mkdir()
        (folder / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}-package\nVersion: 1.0\n')
        (folder / 'entry_points.txt').write_text(f'[dkp_plugin.methods]\ndelta = {module}\n')
    (tmp_path / 'good_method.py').write_text(DELTA)
    (tmp_path / 'bad_method.py').write_text('import not_there')
    code = (
        'import dkp_plugin\n'
        'from basicsr.utils.registry import ARCH_REGISTRY\n'
        'from mmengine.registry import MODELS\n'
        "assert MODELS.get('Delta') is ARCH_REGISTRY.get('Delta')\n"
        "print(ARCH_REGISTRY.get('DKP').__name__)\n"
    )
    done = run(tmp_path, '-c', code, path=[tmp_path])
    assert done.stdout == 'DKP\n'
    assert done.stderr.splitlines() == [
        'warning: bad-package: entry point delta = bad_method cannot be imported: '
        "ModuleNotFoundError: No module named 'not_there'"
    ]
