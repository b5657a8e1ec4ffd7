from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_psnr
from PIL import Image

from dkp_plugin.evaluation.comparison.baseline import bicubic_result
from dkp_plugin.evaluation.comparison.compare import compare
from dkp_plugin.evaluation.comparison.runs import check_run, read_runs
from dkp_plugin.io.images import write_image
from dkp_plugin.io.kernel_files import write_kernel

METRICS = {
    'psnr': {'type': 'calculate_psnr', 'crop_border': 8, 'test_y_channel': True},
    'kernel_psnr': {'type': 'calculate_kernel_psnr'},
}


def smooth(rng, shape):
    return cv2.GaussianBlur(rng.integers(0, 256, (*shape, 3), np.uint8), (0, 0), 2)


def test_figures_are_those_of_pillow(workshop):
    """Inside the border: Pillow repeats the last pixel, the forward model is periodic."""
    rng = np.random.default_rng(0)
    lq, gt = smooth(rng, (16, 20)), smooth(rng, (32, 40))
    write_image(Path('data/gaussian_x2/LR/a.png'), lq)
    write_image(Path('data/HR/a.png'), gt)
    (data_set,) = check_run(read_runs([workshop.write_options(workshop.options())])[0])
    record = bicubic_result(data_set, METRICS).records['Tiny']['a']
    enlarged = np.array(Image.fromarray(lq).resize((40, 32), Image.Resampling.BICUBIC))
    assert record.keys() == {'image', 'psnr'}  # there is no kernel to measure
    # Pillow rounds to 8 bits between rows and columns.
    assert record['psnr'] == pytest.approx(calculate_psnr(enlarged, gt, 8, test_y_channel=True), abs=0.05)


def test_every_report_has_its_row_and_picture(workshop, never):
    options = workshop.options()
    workshop.write_results(options, {'a': (30.0, 50.0, 2.0, 100.0), 'b': (20.0, 40.0, 4.0, 120.0)})
    assert compare([workshop.write_options(options)], Path('out'), start=never) == []
    one, bicubic = workshop.report()['tables'][0]['rows']
    assert (one['method'], bicubic['method']) == ('one', 'bicubic enlargement')
    assert bicubic['means'].keys() == {'psnr'} and bicubic['num_images'] == 2 and bicubic['seeds'] == []
    assert '| bicubic enlargement | Bicubic | 2/2 |  |' in Path('out/report.md').read_text()
    assert 'centre crop of a: bicubic enlargement' in Path('out/report.html').read_text()


def test_the_grid_is_that_of_whichever_file_names_it(workshop, never):
    """A file of BasicSR's own data set does not say where its LR pixels lie, one of ours for the same images does."""
    blind, paired = workshop.options('blind'), workshop.options('paired')
    block = blind['datasets']['test_1'] | {'convention': 'released'}
    for name in 'ab':
        path = Path(f'data/gaussian_x2/kernels/{name}.mat')
        write_kernel(path, torch.full((1, 1, 11, 11), 1 / 121), 'released', 2)
    blind |= {'datasets': {'test_1': block}, 'degradation': {'convention': 'released'}}
    keys = ('name', 'dataroot_lq', 'dataroot_gt')
    block = {'type': 'PairedImageDataset', 'io_backend': {'type': 'disk'}} | {key: block[key] for key in keys}
    paired |= {'datasets': {'test_1': block}}

    def psnr(*files):
        compare(files, Path('out'), start=never)
        return workshop.report()['tables'][0]['rows'][-1]['means']['psnr']

    figures = {'a': (30.0, 50.0, 2.0, 100.0), 'b': (20.0, 40.0, 4.0, 120.0)}
    workshop.write_results(blind, figures)
    workshop.write_results(paired, figures)
    released, aligned = workshop.write_options(blind), workshop.write_options(paired)
    assert psnr(aligned, released) == psnr(released) != psnr(aligned)


def test_images_that_cannot_be_read_have_no_figures(workshop):
    (data_set,) = check_run(read_runs([workshop.write_options(workshop.options())])[0])
    Path('data/HR/a.png').write_bytes(b'no image')
    assert list(bicubic_result(data_set, METRICS).records['Tiny']) == ['b']
