"""Every way to spoil the option file of a training: one line with file, line and key, and nothing written."""

import re
from pathlib import Path

import basicsr.train
import numpy as np
import pytest
import torch
import yaml

from dkp_plugin.host.arguments import make_train_parser
from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.option_files import complete_options, read_option_file
from dkp_plugin.io.images import write_image
from dkp_plugin.models.pipelines import check_options, run_pipeline
from dkp_plugin.models.training_options import check_train_block

FILES = sorted((Path(__file__).parents[2] / 'options/train').glob('*.yml'))

DENOISER = """\
name: tiny
model_type: DenoiserModel
scale: 1
num_gpu: 0
manual_seed: 0

datasets:
  train:
    name: crops
    type: PhotoCropDataset
    dataroot_gt: photos
    gt_size: 16
    num_worker_per_gpu: 0
    batch_size_per_gpu: 2
  val:
    name: photos
    type: SingleImageDataset
    dataroot_lq: photos
    io_backend:
      type: disk

network_g:
  type: CompactPrior
  num_feats: [4, 8]
  num_blocks: [1, 1]

path:
  pretrain_network_g: ~
  resume_state: ~

train:
  sigma_range: [0.002, 3.0]
  sigma_median: 0.1
  sigma_spread: 1.4
  max_grad_norm: 0.5
  optim_g:
    type: Adam
    lr: !!float 1e-3
    betas: [0.9, 0.99]
  scheduler:
    type: CosineAnnealingRestartLR
    periods: [10]
  total_iter: !!float 1e1
  pixel_opt:
    type: MSELoss
    reduction: mean

val:
  val_freq: 5
  save_img: false
  sigmas: [15, 50]

logger:
  print_freq: 1
  save_checkpoint_freq: 5
  use_tb_logger: false
"""
FLOW = """\
name: tiny
model_type: KernelFlowModel
scale: 2
num_gpu: 0
manual_seed: 0
datasets:
  train:
    name: some
    type: KernelDataset
    kernel_size: 7
    num_kernels: 50
    batch_size_per_gpu: 5
    num_worker_per_gpu: 0
network_g:
  type: KernelFlow
  kernel_size: 7
train:
  optim_g: {type: Adam, lr: 0.001}
  scheduler: {type: MultiStepLR, milestones: [5]}
  total_iter: 10
logger: {print_freq: 1, save_checkpoint_freq: 5, use_tb_logger: false}
"""
TEXT = 'is text in YAML; write a number such as 0.0001, 1.0e-4 or !!float 1e-4'

# The file, what stands in it, what stands there instead, and the message.
SPOILED = [
    (DENOISER, 'sigma_range: [', 'sigma_rnge: [', 'train:sigma_rnge: unknown key, did you mean sigma_range?'),
    (DENOISER, '  max_grad_norm', '  max_gard_norm', 'train:max_gard_norm: unknown key, did you mean max_grad_norm?'),
    (DENOISER, '  sigma_median: 0.1\n', '', 'train:sigma_median: missing'),
    (DENOISER, '[0.002, 3.0]', '[3.0, 0.002]', 'train:sigma_range: [3.0, 0.002] is not allowed: value error, the fir'),
    (DENOISER, 'median: 0.1', 'median: 1e-1', f"train:sigma_median: '1e-1' is not allowed: value error, '1e-1' {TEXT}"),
    (DENOISER, '  max_grad_norm: 0.5', '  precision: fp16', "train:precision: 'fp16' is not allowed: input should be"),
    (DENOISER, 'total_iter: !!float 1e1', 'total_iter: 10.5', 'train:total_iter: 10.5 is not allowed: input should b'),
    (DENOISER, '    type: Adam\n', '    type: Adan\n', 'train: optim_g: type: Adan is unknown, did you mean Adam?'),
    (DENOISER, '    type: Adam\n', '', 'train: optim_g: missing key type'),
    (DENOISER, '    betas:', '    beta:', 'train: optim_g: beta: unknown key of Adam, did you mean betas?'),
    (DENOISER, '!!float 1e-3', '1e-3', f"train: optim_g: lr: '1e-3' {TEXT}"),
    (DENOISER, '!!float 1e-3', '-1.0', 'train: optim_g: Invalid learning rate: -1.0'),
    (DENOISER, 'Annealing', 'Anealing', 'train: scheduler: type: CosineAnealingRestartLR is unknown, did you mean Co'),
    (DENOISER, 'periods:', 'period:', 'train: scheduler: period: unknown key of CosineAnnealingRestartLR, did you me'),
    (DENOISER, '    periods: [10]\n', '', 'train: scheduler: periods: missing'),
    (DENOISER, 'periods: [10]', 'periods: [5, 5]', 'train: scheduler: periods and restart_weights should have the sa'),
    (DENOISER, 'periods: [10]', 'periods: 10', "train: scheduler: object of type 'int' has no len()"),
    (DENOISER, 'MSELoss', 'MSLoss', 'train: pixel_opt: type: MSLoss is unknown, did you mean MSELoss?'),
    (DENOISER, '    reduction:', '    reducton:', 'train: pixel_opt: reducton: unknown key of MSELoss, did you mean'),
    (DENOISER, 'reduction: mean', 'reduction: men', 'train: pixel_opt: Unsupported reduction mode: men'),
    (DENOISER, '  pixel_opt:', '  percep_opt:', 'train:percep_opt: unknown key'),
    (DENOISER, 'sigmas:', 'sigma:', 'val:sigma: unknown key, did you mean sigmas?'),
    (DENOISER, '  val_freq: 5\n', '', 'val: val_freq: missing'),
    (DENOISER, '[15, 50]', '[15, -50]', 'val:sigmas:1: -50 is not allowed: input should be greater than 0'),
    (DENOISER, 'print_freq', 'print_frq', 'logger:print_frq: unknown key, did you mean print_freq?'),
    (DENOISER, '  use_tb_logger: false\n', '', 'logger:use_tb_logger: missing'),
    (DENOISER, 'logger:\n', 'loger:\n', 'loger: unknown key, did you mean logger?'),
    (DENOISER, 'CompactPrior', 'CompactPriot', 'network_g: type: CompactPriot is unknown, did you mean CompactPrior?'),
    (DENOISER, 'CompactPrior', 'RRDBNet', 'network_g: type: RRDBNet is not a Denoiser; allowed: CompactPrior'),
    (DENOISER, '  num_feats:', '  num_feat:', 'network_g: num_feat: unknown key of CompactPrior, did you mean num_fe'),
    (DENOISER, 'network_g: ~', 'network_g: no.pth', 'path: pretrain_network_g: no.pth: no such file'),
    (DENOISER, '  resume_state', '  resume_stat', 'path:resume_stat: unknown key, did you mean resume_state?'),
    (DENOISER, '    gt_size', '    gt_siz', 'datasets: train: gt_siz: unknown key, did you mean gt_size?'),
    (DENOISER, 'dataroot_gt: photos', 'dataroot_gt: foto', 'datasets: train: dataroot_gt: foto'),
    (DENOISER, '    batch_size_per_gpu: 2\n', '', 'datasets: train: batch_size_per_gpu: missing'),
    (DENOISER, '    dataroot_lq', '    dataroot_lr', 'datasets: val: dataroot_lr: unknown key, did you mean dataroot'),
    (DENOISER, '  val:\n    name', '  vla:\n    name', 'datasets: vla: not the key of a dataset; allowed: train, val'),
    (DENOISER, '  train:\n    name', '  val_2:\n    name', 'datasets: train: missing; found: val_2, val'),
    (DENOISER, 'PhotoCropData', 'PhotoCopData', 'datasets: train: type: PhotoCopDataset is unknown, did you mean Pho'),
    (DENOISER, 'scale: 1', 'scale: 0', 'scale: 0 is not allowed: input should be greater than 0'),
    (DENOISER, 'num_gpu: 0', 'num_gpu: 99', 'num_gpu: 99 is not allowed'),
    (FLOW, 'scale: 2', 'scale: 5', 'scale: 5 is not allowed: input should be 1, 2, 3'),
    (FLOW, '  total_iter', '  ema_decay: 0.9\n  total_iter', 'train:ema_decay: 0.9 is not allowed: input should be l'),
    (FLOW, '  total_iter', '  pixel_opt: {type: L1Loss}\n  total_iter', 'train:pixel_opt: unknown key'),
    (FLOW, 'milestones:', 'milestone:', 'train: scheduler: milestone: unknown key of MultiStepLR, did you mean miles'),
    (FLOW, '  kernel_size: 7\ntrain', '  kernel_size: 9\ntrain', 'datasets: train: kernel_size: 7 does not match '),
    (FLOW, 'num_kernels', 'num_kernel', 'datasets: train: num_kernel: unknown key, did you mean num_kernels?'),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write_image(tmp_path / 'photos/a.png', np.zeros((20, 20, 3), np.uint8))
    write_image(tmp_path / 'exemplars/b.png', np.zeros((20, 20, 3), np.uint8))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(text):
    """Check an option file as the pipeline does."""
    Path('a.yml').write_text(text)
    file = read_option_file(Path('a.yml'))
    with file.naming_places():
        check_options(
            complete_options(file.options, make_train_parser().parse_args(['-opt', 'a.yml']), Path.cwd(), is_train=True)
        )


@pytest.mark.parametrize('text', [DENOISER, FLOW], ids=['denoiser', 'flow'])
def test_good_files_pass_and_leave_the_random_numbers_alone(text, folder):
    torch.manual_seed(0)
    expected = torch.rand(2)
    check(text)
    torch.manual_seed(0)  # complete_options seeds with manual_seed 0, too
    assert torch.equal(torch.rand(2), expected)
    before = torch.random.get_rng_state()
    check_options(
        complete_options(
            yaml.safe_load(text), make_train_parser().parse_args(['-opt', 'a.yml']), Path.cwd(), is_train=True
        )
    )
    torch.manual_seed(0)
    torch.rand(2)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(('text', 'old', 'new', 'message'), SPOILED, ids=[entry[3][:60] for entry in SPOILED])
def test_a_mistake_is_one_line(text, old, new, message, folder):
    assert text.count(old) == 1
    with pytest.raises(OptionError) as error:
        check(text.replace(old, new))
    place, _, found = str(error.value).partition(' ')
    assert found.startswith(message) and '\n' not in found
    number = place.removesuffix(':').rpartition(':')[2]
    if number.isdecimal():  # the line of a key that the message names
        line = Path('a.yml').read_text().splitlines()[int(number) - 1]
        assert line.partition(':')[0].strip() in re.split(':+ ?', found)
    else:  # a block that is missing, or a key of none
        assert place == 'a.yml:' and 'missing' in found


def test_the_pipeline_writes_nothing(folder, monkeypatch, capsys):
    (folder / 'a.yml').write_text(DENOISER.replace('max_grad_norm', 'max_gard_norm'))
    monkeypatch.setattr('sys.argv', ['train.py', '-opt', 'a.yml'])
    assert run_pipeline(basicsr.train, is_train=True) == 2
    line = 'error: a.yml:35: train:max_gard_norm: unknown key, did you mean max_grad_norm?\n'
    assert capsys.readouterr().err == line
    assert {path.name for path in folder.iterdir()} == {'a.yml', 'photos', 'exemplars'}


def test_a_test_of_a_trained_model_needs_no_training_blocks(folder):
    options = yaml.safe_load(DENOISER)
    options = {key: value for key, value in options.items() if key not in ('train', 'logger')}
    options['datasets'] = {'test_1': options['datasets']['val']}
    options['val'] = {'sigmas': [15]}
    arguments = make_train_parser().parse_args(['-opt', 'a.yml'])
    check_options(complete_options(options, arguments, folder, is_train=False))
    options['val']['sigmas'] = []
    with pytest.raises(OptionError, match=r'^val:sigmas: \[\] is not allowed'):
        check_options(complete_options(options, arguments, folder, is_train=False))


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_shipped_files_pass(path, folder):
    options = yaml.safe_load(path.read_text()) | {'num_gpu': 0}
    for dataset in options['datasets'].values():
        roots = {key for key in dataset if key.startswith('dataroot')}
        dataset |= {key: {'dataroot_exemplar': 'exemplars'}.get(key, 'photos') for key in roots}
        if dataset.pop('dataroot_kernel', None):  # LR images made of photographs need none
            dataset |= {'random_kernel': {'seed': 0}, 'dataroot_lq': None}
        dataset |= {'more_roots_gt': ['photos']} if 'more_roots_gt' in dataset else {}
    options['logger']['use_tb_logger'] = False  # tensorboard is an extra
    check_options(complete_options(options, make_train_parser().parse_args(['-opt', 'a.yml']), folder, is_train=True))


def test_every_optimiser_and_loss_of_a_block_is_checked():
    adam = {'type': 'Adam', 'lr': 0.001}
    train = {'optim_g': adam, 'optim_d': adam, 'scheduler': {'type': 'MultiStepLR', 'milestones': [1]}}
    check_train_block(
        train | {'gan_opt': {'type': 'GANLoss', 'gan_type': 'vanilla', 'loss_weight': 0.1}, 'a_opt': None}
    )
    with pytest.raises(OptionError, match=r'^train: optim_d: lrr: unknown key of Adam'):
        check_train_block(train | {'optim_d': {'type': 'Adam', 'lrr': 1}})
    with pytest.raises(OptionError, match=r'^train: gan_opt: GAN type hinges is not implemented'):
        check_train_block(train | {'gan_opt': {'type': 'GANLoss', 'gan_type': 'hinges'}})
    with pytest.raises(OptionError, match=r'^train: percep_opt: layer_weigths: unknown key of PerceptualLoss'):
        check_train_block(train | {'percep_opt': {'type': 'PerceptualLoss', 'layer_weigths': {}}})
