"""The records of a one-pass network hold the PSNR of the images that led to its result."""

import json

import pytest
import torch

from dkp_plugin.archs.unpaired_arch import UnpairedSR
from dkp_plugin.engine.restoration import Restoration

STAGES = 'intermediate', 'variational'


@pytest.fixture
def one_pass(options, tmp_path):
    """The options of the tiny benchmark with a random network, all of whose parts change the image."""
    torch.manual_seed(0)
    net = UnpairedSR(2, num_feat=4, num_block=1, num_block_refine=1, num_feat_kernel=4, num_block_kernel=1)
    for tail in (net.s.tail, net.r[0].tail):
        torch.nn.init.normal_(tail.weight, std=0.02)
    torch.save(net.state_dict(), tmp_path / 'net.pth')
    options['network_k'] = {'type': 'FixedKernel'}
    options['network_g'] = {'type': 'OnePass', 'kernel_iters': 1}
    options['path'] = {'pretrain_network_g': str(tmp_path / 'net.pth')}
    del options['alternation']
    return options


def summary(folder):
    return json.loads((folder / 'results/tiny/metrics/Tiny.json').read_text())


def test_each_stage_has_the_psnr_that_it_has_as_the_result(one_pass, run_test, tmp_path):
    assert run_test(one_pass) == 0
    records, means = summary(tmp_path)['images'], summary(tmp_path)['means']
    for stage in STAGES:
        one_pass['network_g']['stage'] = stage
        assert run_test(one_pass) == 0
        for record, other in zip(records, summary(tmp_path)['images'], strict=True):
            assert record[f'psnr_{stage}'] == other['psnr'] != record['psnr']
        assert means[f'psnr_{stage}'] == summary(tmp_path)['means']['psnr']
    assert not [name for record in records for name in record if name.startswith(('lr_psnr_', 'kernel_psnr_'))]


def test_without_the_truth_there_is_none(one_pass, run_test, tmp_path):
    del one_pass['datasets']['test_1']['dataroot_gt']
    assert run_test(one_pass) == 0
    assert not [name for record in summary(tmp_path)['images'] for name in record if name.endswith(STAGES)]


def test_an_image_in_tiles_has_none(one_pass, rng):
    lq = torch.rand(1, 1, 80, 70, generator=rng)
    stages = Restoration(one_pass, 'cpu')(lq, 'a').stages
    assert {name: image.shape for name, image in stages.items()} == dict.fromkeys(STAGES, (1, 1, 160, 140))
    assert Restoration(one_pass, 'cpu', tile=128)(lq, 'a').stages == {}


def test_values_of_another_protocol_go(one_pass, run_test, run_again, tmp_path):
    """Results are measured again from their files, and there are no files of the stages."""
    assert run_test(one_pass) == 0
    before = summary(tmp_path)['images']
    one_pass['val']['metrics']['psnr']['crop_border'] = 3
    assert run_again(one_pass) == 0
    for record, old in zip(summary(tmp_path)['images'], before, strict=True):
        assert record['psnr'] != old['psnr'] and f'psnr_{STAGES[0]}' in old
        assert not [name for name in record if name.endswith(STAGES)]
