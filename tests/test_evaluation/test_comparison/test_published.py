"""Quoted figures: those of the paper's table 2, and none where the paper has none."""

import pytest

from dkp_plugin.evaluation.comparison.published import published_figures, published_note


@pytest.mark.parametrize(
    ('family', 'scale', 'data_set'), [(None, 4, 'Set5'), ('gaussian', 2, 'Set5'), ('line', 4, 'Set5')]
)
def test_there_are_none_for_other_benchmarks(family, scale, data_set):
    assert published_figures(data_set, family, scale) == {}
    assert published_figures('Set6', 'gaussian', 4) == {}


@pytest.mark.parametrize('family', ['gaussian', 'motion'])
@pytest.mark.parametrize('data_set', ['Set5', 'Set14', 'BSD100', 'Urban100'])
def test_figures_are_those_of_images(data_set, family):
    figures = published_figures(data_set, family, 4)
    assert {'DIP-DKP', 'Diff-DKP'} <= figures.keys()
    for figure in figures.values():
        assert list(figure) == ['psnr', 'ssim']
        assert figure['psnr'] is None or 10 < figure['psnr'] < 40
        assert figure['ssim'] is None or 0 < figure['ssim'] < 1


def test_a_caller_cannot_change_them():
    published_figures('Set5', 'motion', 4)['Diff-DKP']['psnr'] = 0
    assert published_figures('Set5', 'motion', 4)['Diff-DKP'] == {'psnr': 28.74, 'ssim': 0.8313}


def test_the_note_says_which_table():
    assert published_note('Set5').endswith('not measured here; Table 2, Set5')
    assert 'Table 4, image PSNR by hidden layers x units' in published_note('table4')


def test_ablations_have_tables_of_their_own():
    table1, table4 = (published_figures(name, 'gaussian', 4) for name in ('table1', 'table4'))
    assert len(table1) == 14 and table1['Diff-DKP, column 5 of 7'] == {'psnr': 29.76, 'ssim': None}
    assert len(table4) == 16 and table4['5x10000'] == {'psnr': 26.65, 'ssim': None}
    assert published_figures('table4', 'motion', 4) == {}
