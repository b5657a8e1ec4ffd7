import numpy as np

from dkp_plugin.evaluation.comparison.pictures import page_crop


def test_crops_of_lr_and_hr_image_show_the_same():
    hr = np.arange(22 * 30).reshape(22, 30)
    # (22 - 8) // 2 = 7, down to a multiple of 4: 4; (30 - 8) // 2 = 11, down to 8.
    assert np.array_equal(page_crop(hr, 8, 4), hr[4:12, 8:16])
    assert np.array_equal(page_crop(hr, 100, 4), hr)
