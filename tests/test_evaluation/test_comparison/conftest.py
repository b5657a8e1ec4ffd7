"""Results that no run has made: option files, a benchmark of two small images, and metrics with round figures."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from dkp_plugin.data.blind_sr_dataset import BlindSRDataset
from dkp_plugin.evaluation.provenance import Provenance, options_hash
from dkp_plugin.evaluation.records import protocol, record_path
from dkp_plugin.io.files import write_json
from dkp_plugin.io.images import write_image
from dkp_plugin.io.kernel_files import write_kernel

SCALE, NAMES = 2, ('a', 'b')
FIGURES = ('psnr', 'kernel_psnr', 'seconds', 'peak_memory_mib')


class Workshop:
    """Makes option files and results under the current folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rng = np.random.default_rng(0)
        for name in NAMES:
            write_image(folder / 'data/HR' / f'{name}.png', rng.integers(0, 256, (32, 40, 3), np.uint8))
            write_image(folder / 'data/gaussian_x2/LR' / f'{name}.png', rng.integers(0, 256, (16, 20, 3), np.uint8))
            self.write_kernel(folder / 'data/gaussian_x2/kernels' / f'{name}.mat')

    @staticmethod
    def write_kernel(path: Path) -> None:
        write_kernel(path, torch.softmax(torch.randn(121), 0).view(1, 1, 11, 11), 'aligned', SCALE)

    def options(self, name: str = 'one') -> dict:
        return {
            'name': name,
            'model_type': 'BlindSRModel',
            'scale': SCALE,
            'num_gpu': 0,
            'manual_seed': 3,
            'datasets': {
                'test_1': {
                    'name': 'Tiny',
                    'type': 'BlindSRDataset',
                    'dataroot_lq': 'data/gaussian_x2/LR',
                    'dataroot_gt': 'data/HR',
                    'dataroot_kernel': 'data/gaussian_x2/kernels',
                }
            },
            'network_k': {'type': 'FixedKernel', 'source': 'bicubic'},
            'network_g': {'type': 'ClosedForm'},
            'path': {},
            'val': {
                'save_img': True,
                'suffix': None,
                'pbar': False,
                'metrics': {
                    'psnr': {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': True},
                    'kernel_psnr': {'type': 'calculate_kernel_psnr'},
                },
            },
        }

    def write_options(self, options: dict) -> Path:
        path = self.folder / f'{options["name"]}.yml'
        path.write_text(yaml.safe_dump(options, sort_keys=False))
        return path

    def write_metrics(self, options: dict, records: list[dict]) -> Path:
        """Metrics as the model writes them."""
        content = {
            'images': records,
            'means': {},
            'protocol': protocol(options['val']['metrics']),
            'options_hash': options_hash(options, options['datasets']['test_1']['name']),
            'versions': {'torch': '2.0'},
        }
        root = self.folder / 'results' / options['name']
        block = options['datasets']['test_1']
        path = root / 'metrics' / f'{block["name"]}.json'
        write_json(path, content)
        dataset = BlindSRDataset({**block, 'phase': 'test', 'scale': options['scale']})
        for record in records:
            made_from = Provenance(options).of(dataset[dataset.names.index(record['image'])])
            write_json(record_path(root, block['name'], record['image']), {'record': record, 'made_from': made_from})
        return path

    def write_results(self, options: dict, figures: dict[str, tuple], oracle: bool = False) -> Path:
        """Metrics, images, kernels and curves; ``figures`` maps an image's name to PSNR, kernel PSNR, s and MiB.

        A figure of None was not measured; one that is infinite is null in the file, as the model writes it.
        """
        root = self.folder / 'results' / options['name']
        for name in figures:
            write_image(root / 'visualization/Tiny' / f'{name}_{options["name"]}.png', np.zeros((32, 40, 3), np.uint8))
            self.write_kernel(root / 'kernels/Tiny' / f'{name}.mat')
            curve = [{'iteration': 10, 'l_x': 1.0}, {'iteration': 20, 'l_x': 0.1}, {'iteration': 30, 'l_x': None}]
            write_json(root / 'curves/Tiny' / f'{name}.json', curve)
        records = [
            {'image': name, **{k: v for k, v in zip(FIGURES, values, strict=True) if v is not None}, 'oracle': oracle}
            for name, values in figures.items()
        ]
        return self.write_metrics(options, records)

    def write_image_of(self, run: str, name: str, shape: tuple[int, ...] = (32, 40, 3)) -> None:
        """A restored image as BasicSR's models save it."""
        write_image(self.folder / f'results/{run}/visualization/Tiny/{name}_{run}.png', np.zeros(shape, np.uint8))

    def seeded(self, options: dict, seed: int) -> dict:
        """Options as ``--seeds`` changes them."""
        return copy.deepcopy(options) | {'name': f'{options["name"]}_seed{seed}', 'manual_seed': seed}

    @staticmethod
    def report(folder: str = 'out') -> dict:
        return json.loads(Path(folder, 'report.json').read_text())


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """A folder to compare in, which is the current one."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    return Workshop(tmp_path)


@pytest.fixture
def never():
    """In place of a run: there must be none."""

    def start(run):
        raise AssertionError(f'{run.name} was started')

    return start
