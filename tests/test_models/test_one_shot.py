"""Restorers of one step, and estimators that are done before it, through BasicSR's test pipeline."""

import json

import pytest
import torch

from dkp_plugin.archs.usrnet_arch import USRNetwork

KERNELGAN = {'type': 'KernelGAN', 'num_iter': 2, 'num_feat': 4, 'crop_size': 27}


@pytest.fixture
def means(options, run_test, tmp_path):
    """Run the options with other networks; return the means of the metrics."""

    def run(network_k, network_g, **path):
        options.update(network_k=network_k, network_g=network_g, path=path)
        if network_g['type'] != 'DIP':
            options.pop('alternation', None)  # one step is all
        assert run_test(options) == 0
        return json.loads((tmp_path / 'results/tiny/metrics/Tiny.json').read_text())['means']

    return run


def test_closed_form_gains_by_the_true_kernel(means):
    oracle = means({'type': 'FixedKernel', 'source': 'gt'}, {'type': 'ClosedForm'})
    assert oracle['lr_psnr'] > 40
    assert oracle['psnr'] > means({'type': 'FixedKernel', 'source': 'delta'}, {'type': 'ClosedForm'})['psnr']


def test_kernelgan_hands_its_kernel_to_closed_form(means, naive_kernel_psnr):
    """After two steps the kernel is still close to the bicubic one of the start, which suits the benchmark better."""
    found = means(KERNELGAN, {'type': 'ClosedForm'})['kernel_psnr']
    assert found > max(naive_kernel_psnr.values()) + 1


def test_kernelgan_hands_its_kernel_to_usrnet(means, naive_kernel_psnr, tmp_path):
    weights = tmp_path / 'usrnet.pth'
    torch.save(USRNetwork(2, (2, 3, 4, 5), num_blocks=1, num_units=4).state_dict(), weights)
    found = means(KERNELGAN, {'type': 'USRNet'}, pretrain_network_g=str(weights))['kernel_psnr']
    assert found > max(naive_kernel_psnr.values()) + 1


def test_bsrdm_follows_the_image_of_dip(means, options, naive_kernel_psnr):
    found = means({'type': 'BSRDM'}, options['network_g'])['kernel_psnr']
    assert found > max(naive_kernel_psnr.values()) + 2


def test_usrnet_without_weights_is_reported_before_any_work(options, run_test, tmp_path, capsys):
    options['network_g'] = {'type': 'USRNet'}
    del options['alternation']
    assert run_test(options) == 2
    assert ': path: pretrain_network_g: missing; USRNet needs' in capsys.readouterr().err
    assert not (tmp_path / 'results').exists()
