"""Run variants of an option file, one after the other, and print a table of their means.

python scripts/ablate.py options/test/DiffDKP_Set5_x4.yml options/ablations/DiffDKP.yml [--only "L = 5" "metropolis"]

Each variant is a run of python -m dkp_plugin.test with a name of its own, results/ablation_<n>_<name of the file>.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import yaml


def run_variant(option_file: Path, run: str, changes: list[str]) -> dict[str, float]:
    """Run one variant; return the means of each data set, the sets' names before those of the metrics.

    Args:
        option_file: The option file.
        run: Name of the run.
        changes: Arguments of ``--force_yml``.
    """
    command = [sys.executable, '-m', 'dkp_plugin.test', '-opt', str(option_file)]
    command += ['--force_yml', f'name={run}', 'val:pbar=false', 'val:save_img=false', *changes]
    finished = subprocess.run(command, capture_output=True, text=True)
    if finished.returncode != 0:
        raise SystemExit(f'{" ".join(command)}\nfailed: {finished.stderr.strip().splitlines()[-1]}')
    means = {}
    for path in sorted(Path('results', run, 'metrics').glob('*.json')):
        for name, value in json.loads(path.read_text())['means'].items():
            means[f'{path.stem} {name}'] = value
    return means


def main() -> None:
    """Run the variants that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('option_file', type=Path)
    parser.add_argument('variants', type=Path)
    parser.add_argument('--only', nargs='+', help='names of variants')
    arguments = parser.parse_args()
    variants = yaml.safe_load(arguments.variants.read_text())
    for unknown in set(arguments.only or ()) - set(variants):
        parser.error(f'--only: {unknown} is not one of {", ".join(variants)}')
    header = None
    for index, (name, changes) in enumerate(variants.items()):
        if arguments.only and name not in arguments.only:
            continue
        means = run_variant(arguments.option_file, f'ablation_{index}_{arguments.option_file.stem}', changes)
        if header is None:
            header = list(means)
            print('| variant |', ' | '.join(header), '|\n|---|' + '---|' * len(header))
        print(f'| {name} |', ' | '.join(f'{means.get(key, float("nan")):.3f}' for key in header), '|', flush=True)


if __name__ == '__main__':
    main()
