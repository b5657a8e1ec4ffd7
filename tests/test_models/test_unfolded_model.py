"""The unfolded network is trained on photographs alone by BasicSR's pipeline."""

import re
from pathlib import Path

import pytest
import safetensors.torch
import torch
from test_models.tiny_photos import add_validation, make_training, weights_of

import dkp_plugin
from dkp_plugin.archs.unfolded_weights import load_unfolded
from dkp_plugin.host.errors import UserError
from dkp_plugin.io.images import write_image
from dkp_plugin.physics.degradation import SCALES

PATHS = 'dataroot_lq', 'pretrain_network_g'


@pytest.fixture
def training(tmp_path):
    train = {'scales': [2, 4], 'families': {'gaussian': 1.0}, 'clean_share': 0.5}
    network = {'type': 'UnfoldedPrior', 'num_step': 1, 'lora_rank': 2}
    options = make_training(tmp_path, ('astronaut',), 'UnfoldedModel', network, train)
    options['datasets']['train'] |= {'batch_size_per_gpu': 1, 'dataset_enlarge_ratio': 16}
    add_validation(options, tmp_path, seed=1)
    return options


def test_a_training_restores_loads_and_validates(training, run_train, tmp_path):
    assert run_train(training) == 0
    log = next((tmp_path / 'experiments/tiny').glob('train_*.log')).read_text()
    assert len(re.findall(r'l_pix: \S+ l_steps: \S+', log)) == 6
    assert all(15 < float(psnr) < 45 for psnr in re.findall(r'# psnr: ([0-9.]+)', log))
    weights = weights_of(tmp_path)
    assert all(change.abs().max() > 0 for name, change in weights.items() if name.endswith('expand'))
    moved = (weights['schedule.weights'] != -6).any(1)  # of the scales that were drawn
    assert [scale for scale, has_moved in zip(SCALES, moved, strict=True) if has_moved] == [2, 4]
    net = load_unfolded(str(tmp_path / 'experiments/tiny/models/net_g_latest.pth'))
    assert len(net.schedule['gains']) == 1 and net.changes['first'].reduce.shape == (2, 12 * 9)


def test_a_resumed_training_ends_with_the_same_weights(training, run_train, tmp_path):
    rows = torch.linspace(-1, 1, 48)
    rings = (torch.hypot(rows.unsqueeze(1), rows) * 255).clamp(0, 255).byte()  # the same however it is turned
    write_image(tmp_path / 'photos/astronaut.png', rings.numpy())
    assert run_train(training) == 0
    expected = weights_of(tmp_path)
    for path in (tmp_path / 'experiments/tiny').rglob('*latest.pth'):
        path.unlink()
    training['path']['resume_state'] = str(tmp_path / 'experiments/tiny/training_states/3.state')
    assert run_train(training) == 0
    assert all(torch.equal(expected[name], weight) for name, weight in weights_of(tmp_path).items())


@pytest.mark.parametrize(
    ('block', 'change', 'message'),
    [
        ('train', {'scales': [5]}, 'scales'),
        ('train', {'scales': []}, 'scales'),
        ('train', {'own_share': 0.1}, 'own_share'),
        ('datasets', {'gt_size': 36}, 'gt_size: 36 is not a multiple of 8'),
        ('path', {'pretrain_network_g': 'net.pth'}, 'not the weights of this network'),
        ('network_g', {'ranks': 2}, 'ranks'),
        ('val', {'dataroot_lq': 'photos', 'random_kernel': None}, 'dataroot_kernel or random_kernel: missing'),
    ],
)
def test_mistakes_are_one_line(training, run_train, capsys, tmp_path, block, change, message):
    training['train']['scales'] = [2, 8]
    torch.save({'params': {'schedule.gains': torch.zeros(1, 3)}}, tmp_path / 'net.pth')
    place = {'val': training['datasets']['val'], 'datasets': training['datasets']['train']}.get(block, training[block])
    place |= {key: str(tmp_path / value) if key in PATHS else value for key, value in change.items()}
    assert run_train(training) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0]


def test_a_training_starts_from_weights_of_the_package_and_can_be_tested(training, run_train, run_test, tmp_path):
    weights = Path(dkp_plugin.__file__).parent / 'archs/weights/unfolded.safetensors'
    training |= {'network_g': {'type': 'UnfoldedPrior'}}
    training['path']['pretrain_network_g'] = str(weights)
    training['train'] |= {'total_iter': 1, 'optim_g': {'type': 'Adam', 'lr': 1e-9}, 'schedule_lr': 1e-9}
    training['val']['val_freq'] = 1
    assert run_train(training) == 0
    found, expected = weights_of(tmp_path), safetensors.torch.load_file(weights)
    assert all(torch.allclose(found[name], value.float(), atol=1e-6) for name, value in expected.items())
    opt = {key: training[key] for key in ('name', 'model_type', 'scale', 'num_gpu', 'manual_seed', 'network_g')}
    opt |= {'datasets': {'test_1': training['datasets']['val']}, 'path': {'pretrain_network_g': str(weights)}}
    assert run_test(opt | {'val': {'save_img': False, 'metrics': training['val']['metrics']}}) == 0


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({'params': {'schedule.gains': torch.zeros(3, 3)}}, tmp_path / 'net.pth')
    with pytest.raises(UserError, match=r'net\.pth: these are not the weights of UnfoldedPrior'):
        load_unfolded(str(tmp_path / 'net.pth'))
