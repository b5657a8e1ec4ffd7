"""The one-pass network is trained on photographs alone by BasicSR's pipeline."""

import re

import numpy as np
import pytest
import torch
from test_models.tiny_photos import LOSS, add_validation, make_training, weights_of

from dkp_plugin.archs.unpaired_arch import UnpairedSR
from dkp_plugin.io.images import write_image

NETWORK = {'num_feat': 4, 'num_block': 1, 'num_block_refine': 1, 'num_feat_kernel': 4, 'num_block_kernel': 1}


@pytest.fixture
def training(tmp_path):
    train = {
        'families': {'gaussian': 0.5, 'motion': 0.2, 'disc': 0.3},
        'intermediate_opt': LOSS,
        'kernel_opt': {'type': 'KernelCrossEntropyLoss', 'loss_weight': 0.1},
    }
    network = {'type': 'UnpairedSR', 'takes_noise': True} | NETWORK
    options = make_training(tmp_path, ('astronaut', 'coffee'), 'PhotoSRModel', network, train)
    options['datasets']['train']['more_roots_gt'] = [str(tmp_path / 'photos')]
    return options


def losses_of(folder, name):
    log = next((folder / 'experiments/tiny').glob('train_*.log')).read_text()
    return [float(value) for value in re.findall(rf'{name}: (\S+)', log)]


@pytest.mark.parametrize('clean_share', [0.0, 1.0])
def test_all_parts_are_trained(training, run_train, tmp_path, clean_share):
    training['train'] |= {'clean_share': clean_share}
    assert run_train(training) == 0
    weights = weights_of(tmp_path)
    for part in ('s.tail.weight', 'n.kernel.weight', 'n.weight.weight', 'r.0.tail.weight'):  # they start at zero
        assert weights[part].abs().max() > 0
    assert (weights['r.0.log_precisions'] == 6).all() == (clean_share == 1)
    for name in ('l_intermediate', 'l_kernel', 'l_pix'):
        assert len(losses_of(tmp_path, name)) == 6


@pytest.mark.parametrize('parts', [['n'], ['r'], ['s', 'n']])
def test_parts_can_be_trained_alone(training, run_train, tmp_path, parts):
    training['train'] |= {'parts': parts}
    assert run_train(training) == 0
    first, last = (weights_of(tmp_path, at) for at in (3, 'latest'))
    moved = {name for name in last if not torch.equal(first[name], last[name])}
    assert {name.split('.')[0] for name in moved if not name.startswith('n.weight')} == set(parts)


def test_the_losses_fall(training, run_train, tmp_path):
    total = 80
    training['train'] |= {'total_iter': total, 'optim_g': {'type': 'Adam', 'lr': 5e-3}, 'clean_share': 1.0}
    training['train']['scheduler']['periods'] = [total]
    training['datasets']['train'] |= {'dataset_enlarge_ratio': total, 'gt_size': 64}
    training['logger']['save_checkpoint_freq'] = total
    assert run_train(training) == 0
    for name in ('l_intermediate', 'l_pix', 'l_kernel'):
        losses = losses_of(tmp_path, name)
        assert np.mean(losses[-20:]) < 0.97 * np.mean(losses[:20]), name


def test_a_resumed_training_ends_with_the_same_weights(training, run_train, tmp_path):
    rows = torch.linspace(-1, 1, 64)
    rings = (torch.hypot(rows.unsqueeze(1), rows) * 255).clamp(0, 255).byte()  # the same however it is turned
    for path in (tmp_path / 'photos').iterdir():
        write_image(path, rings.numpy())
    training['datasets']['train']['gt_size'] = 64
    assert run_train(training) == 0
    expected = weights_of(tmp_path)
    for path in (tmp_path / 'experiments/tiny').rglob('*latest.pth'):
        path.unlink()
    training['path']['resume_state'] = str(tmp_path / 'experiments/tiny/training_states/3.state')
    training['path']['pretrain_network_g'] = None
    torch.manual_seed(1)
    assert run_train(training) == 0
    assert all(torch.equal(expected[name], weight) for name, weight in weights_of(tmp_path).items())


def test_validation_with_the_own_and_the_true_kernel(training, run_train, tmp_path):
    add_validation(training, tmp_path, jpeg_quality=60)
    assert run_train(training) == 0
    for name in ('psnr', 'psnr_variational', 'psnr_intermediate', 'psnr_oracle'):
        found = re.findall(rf'one pass: .*?\b{name}: ([0-9.]+)', next(tmp_path.rglob('train_*.log')).read_text())
        assert found and all(10 < float(value) < 40 for value in found)


def test_crops_with_a_mirrored_border_are_seen_as_photographs_are(training, run_train, tmp_path, monkeypatch):
    """R restores the part within the border; x2 reaches 5 LR pixels: 11 // 4 + 1 + 2."""
    seen = []
    estimate = UnpairedSR.estimate_inside
    monkeypatch.setattr(
        UnpairedSR, 'estimate_inside', lambda net, lq, *rest: seen.append(lq) or estimate(net, lq, *rest)
    )
    training['train'] |= {'mirror_share': 0.5, 'total_iter': 12, 'clean_share': 1.0}
    training['train']['scheduler']['periods'] = [12]
    assert run_train(training) == 0
    is_mirrored = [torch.equal(lq[..., :5], lq[..., 5:10].flip(-1)) and lq.shape[-1] == 24 for lq in seen]
    assert len(seen) >= 12 and 2 < sum(is_mirrored) < 10
    assert len(losses_of(tmp_path, 'l_pix')) == len(seen)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'families': {}}, 'families'),
        ({'families': {'gaussian': 0.0}}, 'families'),
        ({'families': {'box': 1.0}}, 'families'),
        ({'clean_share': 2.0}, 'clean_share'),
        ({'quality_range': [0, 90]}, 'quality_range'),
        ({'num_lq': 1}, 'num_lq'),
    ],
)
def test_mistakes_are_one_line(training, run_train, capsys, change, message):
    training['train'] |= change
    assert run_train(training) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0]
