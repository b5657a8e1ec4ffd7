"""BasicSR's own models beside ours: checked, run by BasicSR's pipeline, measured on the images that they save."""

import json
import re
from pathlib import Path

import cv2
import pytest
import torch
from basicsr.archs.srresnet_arch import MSRResNet
from basicsr.metrics import calculate_psnr

from dkp_plugin.evaluation.comparison.compare import compare
from dkp_plugin.evaluation.comparison.complexity import measure_complexity
from dkp_plugin.evaluation.comparison.runs import check_run, read_runs
from dkp_plugin.host.errors import OptionError

NETWORK = {'type': 'MSRResNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 1, 'upscale': 2}


def stock_options(workshop):
    """An option file of BasicSR's shape, without ``network_k`` and ``val: suffix``."""
    torch.save({'params': MSRResNet(**{k: v for k, v in NETWORK.items() if k != 'type'}).state_dict()}, 'net.pth')
    options = workshop.options('stock') | {'model_type': 'SRModel', 'network_g': dict(NETWORK)}
    del options['network_k'], options['val']['suffix'], options['val']['metrics']['kernel_psnr'], options['manual_seed']
    options['path'] = {'pretrain_network_g': 'net.pth', 'strict_load_g': True}
    options['logger'] = {'print_freq': 100}
    options['datasets']['test_1'] = {
        'name': 'Tiny',
        'type': 'PairedImageDataset',
        'dataroot_lq': 'data/gaussian_x2/LR',
        'dataroot_gt': 'data/HR',
        'io_backend': {'type': 'disk'},
    }
    return options


def test_a_stock_network_beside_ours(workshop):
    files = [workshop.write_options(options) for options in (workshop.options('ours'), stock_options(workshop))]
    assert compare(files, Path('out')) == []
    (table,) = workshop.report()['tables']
    _, stock, bicubic = table['rows']
    assert (stock['method'], stock['parts'], stock['num_images'], stock['oracle']) == ('stock', 'MSRResNet', 2, False)
    figures = [
        calculate_psnr(
            cv2.imread(f'results/stock/visualization/Tiny/{name}_stock.png'),
            cv2.imread(f'data/HR/{name}.png'),
            crop_border=2,
            test_y_channel=True,
        )
        for name in 'ab'
    ]
    assert stock['means']['psnr'] == pytest.approx(sum(figures) / 2, abs=1e-9)
    assert stock['num_parameters'] == sum(p.numel() for p in MSRResNet(num_feat=4, num_block=1, upscale=2).parameters())
    assert bicubic['method'] == 'bicubic enlargement'

    def start(run):
        raise AssertionError(f'{run.name} was started')

    assert compare(files, Path('again'), start=start) == []
    assert Path('again/report.csv').read_bytes() == Path('out/report.csv').read_bytes()


def test_other_weights_are_run_again(workshop):
    file = workshop.write_options(stock_options(workshop))
    started = []

    def start(run):
        started.append(run.name)
        for name in 'ab':
            workshop.write_image_of(run.name, name)

    compare([file], Path('out'), start=start)
    compare([file], Path('out'), start=start)
    assert started == ['stock']
    state = torch.load('net.pth', weights_only=True)
    state['params']['conv_last.bias'] += 1
    torch.save(state, 'net.pth')
    compare([file], Path('out'), start=start)
    assert started == ['stock'] * 2


def test_saved_images_of_another_size_are_failures(workshop):
    file = workshop.write_options(stock_options(workshop))

    def start(run):
        workshop.write_image_of(run.name, 'a')
        workshop.write_image_of(run.name, 'b', (16, 20, 3))

    (failure,) = compare([file], Path('out'), start=start)
    assert failure.endswith('b_stock.png: 20x16 pixels, but the LR image at scale 2 needs 40x32')
    assert json.loads(Path('results/stock/metrics/Tiny.json').read_text())['images'][0].keys() == {
        'image',
        'psnr',
        'seed',
    }


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'network_g': {'type': 'RRDBNEt'}}, 'network_g: type: RRDBNEt is unknown, did you mean RRDBNet?'),
        ({'network_g': {'type': 'DIP'}}, 'network_g: type: DIP needs model_type: BlindSRModel'),
        ({'network_g': NETWORK | {'num_fea': 3}}, 'network_g: TypeError: .*num_fea'),
        ({'network_g': 'RRDBNet'}, "network_g: 'RRDBNet' is not a block of options"),
        ({'path': {'pretrain_network_g': 'gone.pth'}}, 'path: pretrain_network_g: gone.pth does not exist'),
        (
            {'val': {'metrics': {'k': {'type': 'calculate_kernel_psnr'}}}},
            'val: metrics: k: calculate_kernel_psnr needs kernel, kernel_gt, which SRModel does not have',
        ),
        ({'val': {'save_img': False}}, 'val: save_img: False is not allowed in a comparison'),
        ({'val': {'metrics': {'psnr': {'type': 'calculate_psnr'}}}}, 'val: metrics: psnr: missing key crop_border'),
    ],
)
def test_mistakes_in_stock_files_are_one_line_with_their_place(workshop, changes, message):
    file = workshop.write_options(stock_options(workshop) | changes)
    with pytest.raises(OptionError, match=rf'stock\.yml:\d+: {message}'):
        check_run(read_runs([file])[0])


def test_rrdbnet_is_accepted_in_a_stock_file_and_named_in_ours(workshop):
    network = {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'scale': 2, 'num_feat': 4, 'num_block': 1}
    options = stock_options(workshop) | {'network_g': network, 'path': {}}
    assert [data_set.name for data_set in check_run(read_runs([workshop.write_options(options)])[0])] == ['Tiny']
    with pytest.raises(OptionError, match=re.escape('network_g: type: RRDBNet is not a Restorer')):
        check_run(read_runs([workshop.write_options(workshop.options() | {'network_g': network})])[0])


def test_complexity_by_hand():
    # EDSR without blocks has four of 3x3 and a shuffle.
    network = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 2, 'num_block': 0, 'upscale': 2}
    complexity = measure_complexity({'scale': 2, 'network_g': network})
    first, body, up, last = 9 * 3 * 2, 9 * 2 * 2, 9 * 2 * 8, 9 * 2 * 3
    assert complexity.num_parameters == first + body + up + last + 2 + 2 + 8 + 3
    assert complexity.flops == (first + body + up) * 128**2 + last * 256**2
