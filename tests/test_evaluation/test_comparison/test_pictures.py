import numpy as np
import pytest

from dkp_plugin.evaluation.comparison.pictures import centre_crop, make_curves


def test_centre_crop_of_lr_and_hr_image_show_the_same():
    hr = np.arange(22 * 30).reshape(22, 30)
    # (22 - 8) // 2 = 7, down to a multiple of 4: 4; (30 - 8) // 2 = 11, down to 8.
    assert np.array_equal(centre_crop(hr, 8, 4), hr[4:12, 8:16])
    assert np.array_equal(centre_crop(hr, 100, 4), hr)


def test_curves_span_all_iterations_and_take_logarithms_of_positive_losses():
    rows = [
        {'iteration': 10, 'l_x': 1.0, 'l_k': -1.0, 'once': 1.0},
        {'iteration': 20, 'l_x': 0.1, 'l_k': -3.0},
        {'iteration': 40, 'l_x': 0.01, 'l_k': None},
    ]
    l_x, l_k = make_curves(rows)
    # 120 x 32: 10, 20 and 40 of 40 iterations; powers of ten are equally far apart, the largest is at the top.
    assert l_x.points == '30.0,0.0 60.0,16.0 120.0,32.0' and l_x.is_logarithmic
    assert l_k.points == '30.0,0.0 60.0,32.0' and not l_k.is_logarithmic
    assert (l_k.name, l_k.first, l_k.last, l_k.num_iter) == ('l_k', -1.0, -3.0, 20)


@pytest.mark.parametrize('rows', [[], [{'iteration': 1, 'l': 1.0}], [{'iteration': 1, 'l': None}] * 3])
def test_curves_need_two_values(rows):
    assert make_curves(rows) == []


def test_a_constant_loss_has_a_curve():
    (curve,) = make_curves([{'iteration': 1, 'l': 2.0}, {'iteration': 2, 'l': 2.0}])
    assert curve.points == '60.0,32.0 120.0,32.0'
