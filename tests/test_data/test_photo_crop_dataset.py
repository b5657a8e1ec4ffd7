import cv2
import numpy as np
import pytest
import skimage.data
import torch
from basicsr.utils.registry import DATASET_REGISTRY

from dkp_plugin.host.errors import ImageError, OptionError
from dkp_plugin.io.images import write_image


@pytest.fixture
def folder(tmp_path):
    """A colour photograph of 48x64 pixels and a gray one of 40x40."""
    image = skimage.data.astronaut()[..., ::-1]
    write_image(tmp_path / 'photos/a.png', np.ascontiguousarray(image[:48, 180:244]))
    write_image(tmp_path / 'photos/b.png', np.ascontiguousarray(image[60:100, 200:240, 1]))
    return tmp_path / 'photos'


@pytest.fixture
def build(folder):
    def build_dataset(**options):
        given = {
            'name': 'photos',
            'type': 'PhotoCropDataset',
            'dataroot_gt': str(folder),
            'gt_size': 16,
            'num_worker_per_gpu': 0,
            'batch_size_per_gpu': 2,
            'phase': 'train',
        }
        return DATASET_REGISTRY.get('PhotoCropDataset')(given | options)

    return build_dataset


def photo(folder, name):
    """Pixels of a file in the order (channel, row, column), by OpenCV."""
    return torch.from_numpy(cv2.imread(str(folder / name))[..., ::-1].transpose(2, 0, 1).copy())


def variants(crop):
    """The eight symmetries of a square crop."""
    turned = [crop.rot90(turns, (-2, -1)) for turns in range(4)]
    return turned + [image.flip(-1) for image in turned]


def test_crops_are_turned_pieces_of_the_photograph(build, folder):
    torch.manual_seed(0)
    dataset, image = build(), photo(folder, 'a.png')
    windows = image.unfold(1, 16, 1).unfold(2, 16, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)
    found = set()
    for _ in range(40):
        gt = dataset[0]['gt']
        assert gt.shape == (3, 16, 16) and gt.dtype == torch.float32
        pixels = (gt * 255).round().byte()
        assert torch.equal(pixels.float() / 255, gt)
        found.add(next(i for i, crop in enumerate(variants(pixels)) if (windows == crop).flatten(1).all(1).any()))
    assert found == set(range(8))  # each has missed 40 draws with a probability of 0.5 %


def test_one_item_per_photograph_and_gray_ones_get_three_channels(build, folder):
    dataset = build()
    assert len(dataset) == 2
    gray = dataset[1]['gt']
    assert torch.equal(gray[0], gray[1]) and torch.equal(gray[1], gray[2])


def test_a_crop_as_large_as_the_photograph(build, folder):
    gt = build(gt_size=40)[1]['gt']
    assert any(torch.equal(crop, photo(folder, 'b.png').float() / 255) for crop in variants(gt))


@pytest.mark.parametrize(('gray_share', 'low', 'high'), [(0.0, 0, 0), (0.3, 8, 64), (1.0, 100, 100)])
def test_share_of_gray_crops(gray_share, low, high, build):
    torch.manual_seed(0)
    dataset = build(gray_share=gray_share)
    crops = [dataset[0]['gt'] for _ in range(100)]
    num = sum(torch.equal(crop[0], crop[1]) and torch.equal(crop[1], crop[2]) for crop in crops)
    assert low <= num <= high  # 30 +- 22: beyond four standard deviations with a probability of 1e-4


def test_resized_photographs(build, folder):
    dataset = build(resize_factors=[0.5, 1.0], gt_size=24)
    assert [tuple(size.shape) for size in dataset.photos[0]] == [(3, 48, 64), (3, 24, 32)]
    assert [tuple(size.shape) for size in dataset.photos[1]] == [(3, 40, 40)]  # half of it is too small
    assert torch.equal(dataset.photos[0][0], photo(folder, 'a.png'))
    # Half the size, far from edges: about the mean of 2x2 pixels, in the mean.
    means = torch.nn.functional.avg_pool2d(photo(folder, 'a.png').float(), 2)
    assert (dataset.photos[0][1].float() - means).abs().mean() < 3


def test_crops_come_from_all_sizes(build):
    torch.manual_seed(0)
    dataset = build(resize_factors=[1.0, 0.5])
    dataset.photos = [[torch.zeros(3, 20, 20, dtype=torch.uint8), torch.full((3, 16, 16), 255, dtype=torch.uint8)]]
    values = [dataset[0]['gt'].mean().item() for _ in range(60)]
    assert set(values) == {0.0, 1.0} and 15 < sum(values) < 45


def test_the_global_seed_decides(build):
    dataset = build(gray_share=0.5)
    items = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        items.append(torch.stack([dataset[0]['gt'] for _ in range(5)]))
    assert torch.equal(items[0], items[1]) and not torch.equal(items[0], items[2])


@pytest.mark.parametrize('factor', [0.0, -0.5, 1.5])
def test_impossible_factors_are_refused(factor, build):
    with pytest.raises(OptionError, match=rf'^datasets: photos: resize_factors: {factor} is not in \(0, 1\]$'):
        build(resize_factors=[factor])


def test_photographs_that_are_too_small_are_refused(build):
    with pytest.raises(ImageError, match=r'b\.png: 40x40 pixels are fewer than gt_size 44$'):
        build(gt_size=44)


def test_folders_that_are_missing_or_empty_are_refused(build, tmp_path):
    with pytest.raises(OptionError, match=r'^dataroot_gt: .*no is not a folder$'):
        build(dataroot_gt=str(tmp_path / 'no'))
    (tmp_path / 'empty').mkdir()
    with pytest.raises(OptionError, match=r'^dataroot_gt: .*empty has no file that ends in \.png'):
        build(dataroot_gt=str(tmp_path / 'empty'))


def test_damaged_file_is_named(build, folder):
    (folder / 'c.png').write_bytes((folder / 'a.png').read_bytes()[:500])
    with pytest.raises(ImageError, match=r'c\.png: not a readable image'):
        build()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'gt_sise': 3}, 'gt_sise: unknown key, did you mean gt_size'),
        ({'gray_share': 1.5}, 'gray_share: 1.5 is not allowed'),
        ({'resize_factors': []}, 'resize_factors'),
        ({'gt_size': 0}, 'gt_size: 0 is not allowed'),
        ({'phase': 'val'}, "phase: 'val' is not allowed"),
    ],
)
def test_wrong_options_are_one_line(options, message, build):
    with pytest.raises(OptionError, match=f'^datasets: photos: {message}') as caught:
        build(**options)
    assert '\n' not in str(caught.value)
