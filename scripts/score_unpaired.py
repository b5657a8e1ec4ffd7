"""Score trained unpaired networks on Set5 and Set14: in one pass, with an estimator's kernels, and with the true ones.

python scripts/score_unpaired.py train_UnpairedSR_small_x4 --truth datasets/unpaired_BSDS400/truth/kernels

Prints two tables of means: PSNR-Y in dB, border 4, and kernel PSNR. The scores of a network are kept beside it, in
experiments/NAME/score.json. True images and kernels serve the scores alone.
"""

import argparse
import hashlib
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

import dkp_plugin  # noqa: F401, registers the estimators
from dkp_plugin.archs.unpaired_arch import UnpairedSR
from dkp_plugin.archs.unpaired_weights import load_unpaired
from dkp_plugin.data.blind_sr_dataset import BlindSRDataset
from dkp_plugin.engine.options import build_estimator
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.evaluation.evaluate import evaluate, to_uint8_bgr
from dkp_plugin.evaluation.kernel_metric import calculate_kernel_psnr
from dkp_plugin.evaluation.kernel_scores import score_kernels
from dkp_plugin.host.command import EXIT_USER_ERROR
from dkp_plugin.host.errors import UserError
from dkp_plugin.host.seeds import image_generator
from dkp_plugin.io.files import write_json
from dkp_plugin.models.kernel_bank import estimate_kernel

SETS = 'Set5', 'Set14'
CONVENTION = 'released'
METRICS = {'psnr': {'type': 'calculate_psnr', 'crop_border': 4, 'test_y_channel': True}}
COLUMNS = {  # of the tables: keys of the scores by heading
    'no kernel': 'intermediate',
    'one pass: kernel': 'own_kernel',
    'variational': 'own_variational',
    'result': 'own_result',
    'DKP: kernel': 'dkp_kernel',
    'variational ': 'dkp_variational',
    'result ': 'dkp_result',
    'true kernel: result': 'true_result',
}


def open_set(name: str, scale: int, shared_kernel: bool) -> BlindSRDataset:
    """Open a benchmark: its own LR images, or ones that share the kernel of ``prepare_unpaired.py --kernel one``."""
    root = Path('datasets', name)
    options = {'name': name, 'type': 'BlindSRDataset', 'phase': 'test', 'scale': scale, 'convention': CONVENTION}
    options['dataroot_gt'] = root / 'HR'
    if shared_kernel:
        return BlindSRDataset(options | {'random_kernel': {'shared': True}})
    folder = root / f'gaussian_x{scale}'
    return BlindSRDataset(options | {'dataroot_lq': folder / 'LR', 'dataroot_kernel': folder / 'kernels'})


def psnr(image: Tensor, gt: Tensor) -> float:
    """PSNR-Y of an image (1, 3, H, W) rounded to 8 bits."""
    data = {'img': to_uint8_bgr(image), 'img2': to_uint8_bgr(gt.expand(-1, 3, -1, -1))}
    return evaluate(METRICS, data)[0]['psnr']


def score(net: UnpairedSR, dataset: BlindSRDataset, kernels: Sequence[Tensor]) -> dict[str, float]:
    """Mean scores of a network.

    Args:
        net: The network.
        dataset: LR images with their truth.
        kernels: What an estimator found for each image, (1, 1, K, K).

    Returns:
        Means by name: the keys of ``COLUMNS``.
    """
    rows = []
    for index, found in enumerate(kernels):
        item = dataset[index]
        gt, true = item['gt'][None], item['kernel'][None]
        with torch.no_grad():
            look = net.look(item['lq'][None])
            restored = {'own': net.finish(look), 'dkp': net.finish(look, found), 'true': net.finish(look, true)}
        row = {'intermediate': psnr(restored['own'].intermediate, gt)}
        for way, images in restored.items():
            row[f'{way}_kernel'] = calculate_kernel_psnr(images.kernel[0, 0].numpy(), true[0, 0].numpy())
            row |= {f'{way}_{stage}': psnr(getattr(images, stage), gt) for stage in ('variational', 'result')}
        rows.append(row)
    return {name: statistics.mean(row[name] for row in rows) for name in COLUMNS.values()}


class Search:
    """Finds the kernels of data sets by an estimator, once for networks with the same S.

    Args:
        estimator: The estimator.
        num_steps: Its steps for an image.
    """

    def __init__(self, estimator: KernelEstimator, num_steps: int) -> None:
        self.estimator, self.num_steps = estimator, num_steps
        self.found: dict[tuple[str, str], list[Tensor]] = {}

    def __call__(self, net: UnpairedSR, dataset: BlindSRDataset) -> list[Tensor]:
        """Kernels (1, 1, K, K) of all images, each judged on the network's intermediate image."""
        digest = hashlib.sha256(b''.join(value.numpy().tobytes() for value in net.s.state_dict().values()))
        key = digest.hexdigest(), dataset.opt['name']
        if key not in self.found:
            items = (dataset[index] for index in range(len(dataset)))
            self.found[key] = [self._search(net, item['lq'][None], item['lq_path']) for item in items]
        return self.found[key]

    def _search(self, net: UnpairedSR, lq: Tensor, path: str) -> Tensor:
        generator = image_generator(0, Path(path).stem)
        return estimate_kernel(self.estimator, net.intermediate, lq, net.degradation, generator, self.num_steps)


def bank_psnr(experiment: Path, truth: Path | None) -> float | None:
    """Mean kernel PSNR of the bank of a training; None without a bank or its truth."""
    folder = experiment / 'kernels'
    if truth is None or not folder.is_dir():
        return None
    return statistics.mean(score_kernels(folder, truth, CONVENTION).values())


def table(name: str, scores: Mapping[str, Mapping[str, Any]]) -> str:
    """A table in Markdown of one data set, a row for each network."""
    headings = ' | '.join(heading.strip() for heading in COLUMNS)
    lines = [f'| {name} | bank | {headings} |', '|---' * (2 + len(COLUMNS)) + '|']
    for network, found in scores.items():
        bank = '' if found['bank'] is None else f'{found["bank"]:.1f}'
        values = (format(found[name][key], '.1f' if 'kernel' in key else '.2f') for key in COLUMNS.values())
        lines.append(f'| {network} | {bank} | {" | ".join(values)} |')
    return '\n'.join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Score the networks that have no scores yet and print the tables; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='+', metavar='NAME', help='trainings, folders of experiments/')
    parser.add_argument('--shared-kernel', action='store_true', help='blur all images by one kernel')
    parser.add_argument('--truth', type=Path, help='true kernels of the LR images of the training')
    parser.add_argument('--network-k', default='{type: EvidenceDKP, pke_weight: 0.0}', help='the estimator, as in YAML')
    parser.add_argument('--num-steps', type=int, default=4, help='its steps for an image; default 4')
    arguments = parser.parse_args(argv)
    scores, search = {}, None
    try:
        for name in arguments.names:
            experiment = Path('experiments', name)
            if not (experiment / 'score.json').is_file():
                net = load_unpaired(str(experiment / 'models/net_g_latest.pth'), convention=CONVENTION)
                estimator = build_estimator(yaml.safe_load(arguments.network_k), net.degradation)
                search = search or Search(estimator, arguments.num_steps)
                sets = [open_set(each, net.degradation.scale, arguments.shared_kernel) for each in SETS]
                found: dict[str, Any] = {each.opt['name']: score(net, each, search(net, each)) for each in sets}
                found['bank'] = bank_psnr(experiment, arguments.truth)
                write_json(experiment / 'score.json', found)
            scores[name] = json.loads((experiment / 'score.json').read_text(encoding='utf-8'))
    except (UserError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return EXIT_USER_ERROR
    print('\n\n'.join(table(name, scores) for name in SETS))
    return 0


if __name__ == '__main__':
    sys.exit(main())
