"""Trained networks are scored in one pass, with an estimator's kernels and with the true ones."""

import json

import numpy as np
import pytest
import skimage.data
import torch
from skimage.metrics import peak_signal_noise_ratio

from dkp_plugin.archs.unpaired_arch import UnpairedSR
from dkp_plugin.data.blur_manifest import BlurRecipe, prepare
from dkp_plugin.io.images import write_image
from dkp_plugin.physics.degradation import Degradation


@pytest.fixture
def network(tmp_path, monkeypatch):
    """A fresh network, whose intermediate image is the bicubic enlargement, and one image for each of two sets."""
    for name, corner in (('Set5', 40), ('Set14', 80)):
        crop = skimage.data.astronaut()[corner : corner + 48, 200:240, ::-1]
        write_image(tmp_path / 'datasets' / name / 'HR/a.png', np.ascontiguousarray(crop))
        folder = tmp_path / 'datasets' / name
        prepare(folder / 'HR', folder / 'gaussian_x2', BlurRecipe(scale=2, convention='released'))
    net = UnpairedSR(2, num_feat=4, num_block=1, num_block_refine=1, num_feat_kernel=4, num_block_kernel=1)
    (tmp_path / 'experiments/tiny/models').mkdir(parents=True)
    torch.save({'params': net.state_dict()}, tmp_path / 'experiments/tiny/models/net_g_latest.pth')
    monkeypatch.chdir(tmp_path)
    return tmp_path


SEARCH = ('--network-k', '{type: FixedKernel, source: bicubic}', '--num-steps', 1)


def test_the_tables(run_script, network):
    status, text, _ = run_script('score_unpaired', 'tiny', *SEARCH)
    assert status == 0
    scores = json.loads((network / 'experiments/tiny/score.json').read_text())
    gt = skimage.data.astronaut()[40:88, 200:240]
    lq = skimage.io.imread(network / 'datasets/Set5/gaussian_x2/LR/a.png')
    degradation = Degradation(2, 11, 'released')
    large = degradation.enlarge(torch.from_numpy(lq).permute(2, 0, 1)[None] / 255).clamp(0, 1)
    large = (255 * large[0]).round().permute(1, 2, 0).numpy()
    luma = (image[4:-4, 4:-4] @ np.array([65.481, 128.553, 24.966]) / 255 for image in (gt, large))
    assert scores['Set5']['intermediate'] == pytest.approx(peak_signal_noise_ratio(*luma, data_range=255), abs=1e-3)
    assert scores['Set5']['true_result'] > scores['Set5']['dkp_result']
    assert f'| tiny |  | {scores["Set5"]["intermediate"]:.2f} |' in text and text.count('| tiny |') == 2


def test_scores_are_kept(run_script, network):
    first = run_script('score_unpaired', 'tiny', *SEARCH)
    (network / 'experiments/tiny/models/net_g_latest.pth').unlink()
    assert run_script('score_unpaired', 'tiny', *SEARCH) == first


def test_a_shared_kernel_replaces_those_of_the_benchmark(run_script, network):
    assert run_script('score_unpaired', 'tiny', '--shared-kernel', *SEARCH)[0] == 0
    scores = json.loads((network / 'experiments/tiny/score.json').read_text())
    assert scores['Set5']['dkp_kernel'] == pytest.approx(scores['Set14']['dkp_kernel'], abs=1e-6)


def test_a_missing_training_is_one_line(run_script, network):
    status, _, error = run_script('score_unpaired', 'none', *SEARCH)
    assert status == 2 and error.count('\n') == 1 and 'experiments/none/models/net_g_latest.pth' in error
