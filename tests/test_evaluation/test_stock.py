import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from basicsr.data.paired_image_dataset import PairedImageDataset

from dkp_plugin.data.blind_sr_dataset import BlindSRDataset
from dkp_plugin.evaluation.records import record_path
from dkp_plugin.evaluation.stock import find_finished, image_names, load_item
from dkp_plugin.host.errors import ImageError
from dkp_plugin.io.files import write_json
from dkp_plugin.io.images import write_image

EXPECTED = {'options': {'scale': 2}, 'version': '1', 'input': 'i', 'figures': 'f'}


def finished(folder, found=None, record=None, files=()):
    content = {'record': {'image': 'a', 'psnr': 30.0} if record is None else record, 'made_from': found or EXPECTED}
    write_json(record_path(folder, 'Set', 'a'), content)
    return find_finished(folder, 'Set', 'a', EXPECTED, files)


def test_a_result_of_the_same_stands(tmp_path):
    result = finished(tmp_path)
    assert result.stands and result.is_measured and result.record['psnr'] == 30.0


def test_nothing_a_failure_and_a_damaged_record_do_not_stand(tmp_path):
    assert not find_finished(tmp_path, 'Set', 'a', EXPECTED).stands
    assert not finished(tmp_path, record={'image': 'a', 'error': 'diverged'}).stands
    path = record_path(tmp_path, 'Set', 'a')
    path.write_text(path.read_text()[:20])
    assert not find_finished(tmp_path, 'Set', 'a', EXPECTED).stands


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        ({'options': {'scale': 3}}, 'scale: 3 before, 2 now'),
        ({'version': '0'}, 'version: 0 before, 1 now'),
        ({'input': 'j'}, 'the LR image has changed'),
    ],
)
def test_a_result_of_something_else_does_not_stand(tmp_path, change, reason):
    result = finished(tmp_path, EXPECTED | change)
    assert not result.stands and result.changes == [reason] and result.record


def test_missing_files(tmp_path):
    file = tmp_path / 'a.png'
    assert finished(tmp_path, files=[file]).changes == ['files of the result are missing']
    file.write_bytes(b'')
    assert finished(tmp_path, files=[file]).stands


def test_other_metrics_are_measured_on_the_saved_image(tmp_path):
    file = tmp_path / 'a.png'
    file.write_bytes(b'')
    result = finished(tmp_path, EXPECTED | {'figures': 'g'}, files=[file])
    assert result.stands and not result.is_measured
    result = finished(tmp_path, EXPECTED | {'figures': 'g'})
    assert not result.stands and 'no image was saved' in result.changes[0]


@pytest.mark.parametrize(('height', 'width'), [(32, 40), (33, 41)])
def test_a_pair_that_fits(tmp_path, height, width):
    assert load_pair(tmp_path, height, width)['gt'].shape == (3, 32, 40)


@pytest.mark.parametrize(('height', 'width'), [(31, 40), (32, 42), (64, 80)])
def test_basicsrs_pairs_are_refused_as_ours_are(tmp_path, height, width):
    """BasicSR cuts an HR image of any size to the LR image times the scale."""
    messages = []
    for dataset in (PairedImageDataset, BlindSRDataset):
        with pytest.raises(ImageError, match=f'{width}x{height} pixels do not fit an LR image of 20x16') as caught:
            load_pair(tmp_path, height, width, dataset)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def load_pair(folder: Path, height: int, width: int, dataset: type = PairedImageDataset):
    for name, size in (('LR', (16, 20, 3)), ('HR', (height, width, 3))):
        shutil.rmtree(folder / name, ignore_errors=True)
        write_image(folder / name / 'a.png', np.zeros(size, np.uint8))
    options = {'name': 'Set', 'type': dataset.__name__, 'phase': 'test', 'scale': 2, 'io_backend': {'type': 'disk'}}
    roots = {'dataroot_lq': str(folder / 'LR'), 'dataroot_gt': str(folder / 'HR')}
    return load_item(dataset(options | roots), 0)


class OwnDataset(torch.utils.data.Dataset):
    """A data set of one's own: BasicSR's contract and nothing else."""

    def __init__(self, *images):
        self.images, self.opt = images, {'name': 'Own'}

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return {'lq': self.images[index], 'lq_path': f'folder/{index}.png'}


@pytest.mark.parametrize(
    'image',
    [
        torch.full((3, 4, 5), 51 / 255),
        torch.full((3, 4, 5), 51 / 255, dtype=torch.float64),
        torch.full((3, 4, 5), 51, dtype=torch.uint8),
        np.full((3, 4, 5), 51 / 255),
        np.full((3, 4, 5), 51, np.uint8),
    ],
)
def test_images_of_a_data_set_of_ones_own(image):
    dataset = OwnDataset(image, image[0])
    assert image_names(dataset) == ['0', '1']
    for index, channels in enumerate((3, 1)):
        lq = load_item(dataset, index)['lq']
        assert lq.dtype == torch.float32
        torch.testing.assert_close(lq, torch.full((channels, 4, 5), 0.2))


@pytest.mark.parametrize('image', [torch.zeros(4, 5, 3), torch.zeros(1, 3, 4, 5), torch.zeros(3, 4, 5).long()])
def test_images_of_another_form_are_one_line(image):
    dataset = OwnDataset(image)
    with pytest.raises(
        ImageError, match=r'^folder/0\.png: lq has shape .*; allowed: \(h, w\) or \(C, h, w\), C 1 or 3'
    ):
        load_item(dataset, 0)


def test_a_data_set_that_raises_is_one_line():
    class Broken(OwnDataset):
        def __getitem__(self, index):
            raise KeyError('file')

    with pytest.raises(ImageError, match=r"^image 1: cannot be read \(KeyError: 'file'\)$"):
        load_item(Broken(None), 0)
