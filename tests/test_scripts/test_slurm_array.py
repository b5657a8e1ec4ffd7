import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / 'scripts/slurm_array.sh'


@pytest.mark.parametrize(
    ('variables', 'expected'),
    [
        ({'SLURM_ARRAY_TASK_ID': '3', 'SLURM_ARRAY_TASK_COUNT': '8', 'SLURM_CPUS_PER_TASK': '4'}, '3 8 4'),
        ({}, '0 1 1'),
    ],
)
def test_a_task_is_numbered_like_a_process(tmp_path, variables, expected):
    python = tmp_path / 'python'
    python.write_text('#!/bin/bash\necho "$RANK $WORLD_SIZE $OMP_NUM_THREADS $*"\n')
    python.chmod(0o755)
    environment = {'PATH': f'{tmp_path}:{os.environ["PATH"]}', **variables}
    command = ['bash', str(SCRIPT), 'a.yml', '--force_yml', 'name=b']
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert output == f'{expected} -m dkp_plugin.test -opt a.yml --force_yml name=b\n'
