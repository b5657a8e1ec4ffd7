"""Unpaired training data, and the search for photographs that are in both of its folders."""

import logging

import numpy as np
import pytest
import skimage.data
import torch

from dkp_plugin.data import leak_check
from dkp_plugin.data.leak_check import find_leaks
from dkp_plugin.data.unpaired_dataset import UnpairedDataset
from dkp_plugin.host.errors import ImageError, OptionError
from dkp_plugin.io.images import write_image
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernel_families import GaussianFamily

PHOTOS = {name: getattr(skimage.data, name)() for name in ('astronaut', 'chelsea', 'coffee', 'rocket')}


def to_tensor(array):
    return torch.from_numpy(array[:296, :296].copy()).permute(2, 0, 1).float()


def shrunk(array, variance):
    """Blurred by a Gaussian and shrunk by 4."""
    degradation = Degradation(4, 19)
    kernel = GaussianFamily(4, 19, degradation.centre, (variance, variance)).render(torch.full((1, 3), 0.5))
    return degradation.A(to_tensor(array)[None] / 255, kernel)[0]


@pytest.fixture
def options(tmp_path):
    for name, folder in (('astronaut', 'lq'), ('chelsea', 'lq'), ('coffee', 'exemplars'), ('rocket', 'exemplars')):
        pixels = (255 * shrunk(PHOTOS[name], 4)).byte().permute(1, 2, 0).numpy() if folder == 'lq' else PHOTOS[name]
        write_image(tmp_path / folder / f'{name}.png', np.ascontiguousarray(pixels[..., ::-1]))
    return {
        'name': 'unpaired',
        'type': 'UnpairedDataset',
        'scale': 4,
        'dataroot_lq': str(tmp_path / 'lq'),
        'dataroot_exemplar': str(tmp_path / 'exemplars'),
        'lq_size': 16,
        'num_worker_per_gpu': 0,
        'batch_size_per_gpu': 1,
    }


def test_items(options):
    dataset = UnpairedDataset(options)
    assert len(dataset) == 2
    items = [dataset[index % 2] for index in range(20)]
    for item in items:
        assert item['exemplar'].shape == (3, 64, 64) and item['lq'].shape == (3, 16, 16)
        assert all(item[key].min() >= 0 and item[key].max() <= 1 for key in ('exemplar', 'lq'))
    assert {item['lq_index'] for item in items} == {0, 1}


def test_crops_are_of_the_image_that_the_index_names(options, tmp_path):
    """LR images of one colour each, in the order of their names."""
    for path in (tmp_path / 'lq').iterdir():
        path.unlink()
    for level, name in ((10, 'b'), (200, 'a')):
        write_image(tmp_path / f'lq/{name}.png', np.full((20, 24, 3), level, np.uint8))
    dataset = UnpairedDataset(options)
    for _ in range(8):
        item = dataset[0]
        torch.testing.assert_close(255 * item['lq'], torch.full((3, 16, 16), (200.0, 10.0)[item['lq_index']]))


def test_exemplars_are_used_at_all_sizes_that_hold_a_crop(options):
    """A white photograph of half size among black ones: about half of the crops are white."""
    dataset = UnpairedDataset(options | {'resize_factors': [0.5, 1.0, 0.1]})
    assert [tuple(image.shape) for image in dataset.exemplars[0]] == [(3, 400, 600), (3, 200, 300)]  # coffee
    assert torch.equal(dataset.exemplars[0][0], torch.from_numpy(PHOTOS['coffee']).permute(2, 0, 1))
    dataset.exemplars[0] = [torch.zeros_like(dataset.exemplars[0][0]), torch.full((3, 70, 70), 255, dtype=torch.uint8)]
    values = [dataset[0]['exemplar'].mean().item() for _ in range(60)]
    assert set(values) == {0.0, 1.0} and 15 < sum(values) < 45


@pytest.mark.parametrize('variance', [0.7, 10.0])
@pytest.mark.parametrize('index', [0, 3, 6])
def test_a_blurred_shrunk_and_turned_copy_is_found(variance, index):
    lq = {name: shrunk(PHOTOS[name], variance) for name in ('astronaut', 'chelsea')}
    exemplars = {
        'other': to_tensor(PHOTOS['coffee']),
        'copy': leak_check.transform(to_tensor(PHOTOS['chelsea'])[None], index)[0],
    }
    ((name, other, correlation),) = find_leaks(lq, exemplars)
    assert (name, other) == ('chelsea', 'copy') and correlation > 0.95


def test_equal_names_are_a_leak_and_different_photographs_none():
    lq = {name: shrunk(PHOTOS[name], 2.0) for name in ('astronaut', 'chelsea')}
    exemplars = {name: to_tensor(PHOTOS[name]) for name in ('coffee', 'rocket')}
    assert find_leaks(lq, exemplars) == []
    assert [leak[:2] for leak in find_leaks(lq, exemplars | {'chelsea': exemplars['coffee']})] == [('chelsea',) * 2]


def test_what_happens_where_a_photograph_leaks(options, tmp_path, caplog, monkeypatch):
    write_image(tmp_path / 'exemplars/again.png', np.ascontiguousarray(PHOTOS['chelsea'][:296, :296, ::-1]))
    logger = logging.getLogger('basicsr')
    monkeypatch.setattr(logger, 'handlers', [*logger.handlers, caplog.handler])
    for off in ('off', False):  # YAML reads an unquoted off as false
        UnpairedDataset(options | {'leak_check': off})
    assert not caplog.records
    UnpairedDataset(options)
    (message,) = {record.getMessage() for record in caplog.records}
    assert 'chelsea' in message and 'again' in message
    with pytest.raises(OptionError, match='chelsea and the exemplar again'):
        UnpairedDataset(options | {'leak_check': 'error'})


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        ({'dataroot_lq': 'nowhere'}, OptionError, 'dataroot_lq: nowhere is not a folder'),
        ({'lq_size': 100}, ImageError, '74x74 pixels are fewer than lq_size 100'),
        ({'exemplar_size': 500}, ImageError, 'fewer than exemplar_size 500'),
        ({'resize_factors': [0.1]}, ImageError, '60x40 pixels are fewer than exemplar_size 64'),
        ({'resize_factors': [1.0, 2.0]}, OptionError, r'resize_factors: 2.0 is not in \(0, 1\]'),
        ({'lq_sise': 4}, OptionError, 'did you mean lq_size'),
        ({'leak_check': 'maybe'}, OptionError, 'leak_check'),
    ],
)
def test_what_is_wrong_is_one_line(options, change, error, message):
    with pytest.raises(error, match=message) as caught:
        UnpairedDataset(options | change)
    assert '\n' not in str(caught.value)


def test_one_folder_cannot_be_both(options):
    with pytest.raises(OptionError, match='dataroot_lq, too'):
        UnpairedDataset(options | {'dataroot_exemplar': options['dataroot_lq'] + '/../lq'})


def test_an_unreadable_image_is_named(options, tmp_path):
    (tmp_path / 'lq/b.png').write_bytes(b'no image')
    with pytest.raises(ImageError, match=r'lq/b\.png: not a readable image'):
        UnpairedDataset(options)
