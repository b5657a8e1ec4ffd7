import hashlib
import io
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest

from dkp_plugin.data import benchmarks
from dkp_plugin.data.benchmarks import Benchmark, arrange, load_benchmarks, locate
from dkp_plugin.data.blur_manifest import BlurRecipe
from dkp_plugin.host.errors import ImageError, UserError
from dkp_plugin.io.formats import SUFFIXES
from dkp_plugin.io.images import decode_image

SIZE = 26, 40  # cut to a multiple of 12: 24, 36


def pixels(seed, size=SIZE):
    """An image, uint8 (H, W, 3), RGB."""
    return np.random.default_rng(seed).integers(256, size=(*size, 3), dtype=np.uint8)


def digest(image):
    height, width = (side - side % 12 for side in image.shape[:2])
    return hashlib.sha256(f'{height}x{width} uint8'.encode() + image[:height, :width].tobytes()).hexdigest()


def encode(image, suffix='.png'):
    return cv2.imencode(suffix, image[..., ::-1])[1].tobytes()


IMAGES = {'one': pixels(1), 'two': pixels(2), 'three': pixels(3)}


@pytest.fixture(autouse=True)
def small_sets(monkeypatch):
    """Set5 with three images, of the last of which no checksum is recorded, and RealSRSet with one."""
    content = {
        'Set5': {
            'folder': 'HR',
            'images': {
                'one': {'other_names': ['img_001', '3096'], 'sha256': digest(IMAGES['one'])},
                'two': {'other_names': ['img_002'], 'sha256': digest(IMAGES['two'])},
                'three': {'other_names': ['img_003']},
            },
        },
        'RealSRSet': {'folder': 'LQ', 'images': {'Lincoln': {}}},
    }
    sets = {name: Benchmark(**benchmark) for name, benchmark in content.items()}
    monkeypatch.setattr(benchmarks, 'load_benchmarks', lambda: sets)
    return sets


def write(root, contents):
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def write_zip(path, contents):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def write_tar(path, contents):
    with tarfile.open(path, 'w:gz' if path.suffix == '.gz' else 'w') as archive:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def read(path):
    """An image as uint8 (H, W, 3), RGB."""
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


LAYOUTS = {
    'flat': 'Set5/{}.png',
    'EDSR': 'benchmark/Set5/HR/{}.png',
    'BasicSR': 'Set5/GTmod12/{}.png',
    'original': 'Set5/original/{}.png',
    'VDSR': 'Test/Set5/{}_GT.bmp',
    'SelfExSR': 'data/Set5/image_SRF_4/{number}_SRF_4_HR.png',
    'numbers without underscore': 'Set5_SR/Set5/{number_alone}.png',
    'lower case': 'testsets/set5/{}.bmp',
}


def in_layout(layout):
    contents = {}
    for index, (name, image) in enumerate(IMAGES.items(), 1):
        path = LAYOUTS[layout].format(name, number=f'img_{index:03d}', number_alone=f'img{index:03d}')
        contents[path] = encode(image, Path(path).suffix)
    return contents


@pytest.mark.parametrize('kind', ['folder', 'zip', 'tar', 'tar.gz'])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_usual_layouts_are_arranged(layout, kind, tmp_path):
    source = tmp_path / f'downloaded.{kind}'
    {'folder': write, 'zip': write_zip, 'tar': write_tar, 'tar.gz': write_tar}[kind](source, in_layout(layout))
    (report,) = arrange([source], tmp_path / 'datasets')
    assert report.is_complete and report.written == ['one', 'two', 'three']
    assert sorted(tmp_path.glob('datasets/**/*.png')) == sorted(tmp_path / f'datasets/Set5/HR/{n}.png' for n in IMAGES)
    for name, image in IMAGES.items():
        assert np.array_equal(read(tmp_path / f'datasets/Set5/HR/{name}.png'), image)
    assert report.lines() == [
        f'{tmp_path}/datasets/Set5/HR: 3 of 3 images, 3 written, 0 kept',
        '  pixels match the record: 2',
        '  only names checked, pixels not recorded: three',
    ]


def test_archive_named_like_its_set(tmp_path):
    source = write_zip(tmp_path / 'Set5 (1).zip', {f'{name}.png': encode(image) for name, image in IMAGES.items()})
    assert arrange([source], tmp_path / 'out')[0].is_complete


def test_source_may_lie_within_the_set(tmp_path):
    write(tmp_path, in_layout('original'))
    assert arrange([tmp_path / 'Set5/original'], tmp_path / 'out')[0].is_complete


def test_images_without_truth_go_to_their_own_folder_uncropped(tmp_path):
    source = write(tmp_path / 'in', {'testsets/RealSRSet/Lincoln.png': encode(pixels(5))})
    (report,) = arrange([source], tmp_path / 'out', crop=True)
    assert report.is_complete and np.array_equal(read(tmp_path / 'out/RealSRSet/LQ/Lincoln.png'), pixels(5))


@pytest.mark.parametrize(
    ('path', 'expected'),
    [
        ('/a/Set5/one.png', 'Set5'),
        ('/a/Set5/HR/one.png', 'Set5'),
        ('/RealSRSet/Set5/GTmod12/one.png', 'Set5'),
        ('/Set5/RealSRSet/Lincoln.png', 'RealSRSet'),
        ('/realsrset/LQ/Lincoln.png', 'RealSRSet'),
        ('/a/Set5_SR.zip/one.png', 'Set5'),
        ('/a/Set5/LRbicx4/one.png', None),
        ('/a/Set5/LR_bicubic/X2/one.png', None),
        ('/a/Set5/gaussian_x4/LR/one.png', None),
        ('/a/Set5/LQ/one.png', None),
        ('/a/Set5_LRx4/one.png', None),
        ('/a/Set55/one.png', None),
        ('/a/Set5.png', None),
        ('/RealSRSet/HR/Lincoln.png', None),
    ],
)
def test_set_of_a_file(path, expected, small_sets):
    assert locate(PurePosixPath(path), small_sets) == expected


@pytest.mark.parametrize(
    ('stem', 'expected'),
    [
        ('one', 'one'),
        ('One_HR', 'one'),
        ('3096', 'one'),
        ('img_1', 'one'),
        ('img_001_SRF_2_HR', 'one'),
        ('img_001_SRF_2_LR', None),
        ('img_001_SRF_2_SRCNN', None),
        ('img_004', None),
        ('onex2', None),
    ],
)
def test_image_of_a_file(stem, expected, small_sets):
    assert small_sets['Set5'].find_name(stem) == expected


def test_images_are_cut_at_the_top_left_on_demand(tmp_path):
    source = write(tmp_path / 'in', in_layout('flat'))
    (report,) = arrange([source], tmp_path / 'out', crop=True)
    assert report.is_complete
    assert np.array_equal(read(tmp_path / 'out/Set5/HR/one.png'), IMAGES['one'][:24, :36])


def test_alpha_channel_is_dropped_and_gray_stays_gray(tmp_path):
    gray = pixels(7)[..., 0]
    alpha = np.dstack([IMAGES['one'][..., ::-1], gray])
    contents = {'Set5/one.png': cv2.imencode('.png', alpha)[1], 'Set5/three.png': cv2.imencode('.png', gray)[1]}
    source = write(tmp_path / 'in', {name: content.tobytes() for name, content in contents.items()})
    arrange([source], tmp_path / 'out')
    assert decode_image((tmp_path / 'out/Set5/HR/one.png').read_bytes(), '').shape == (3, *SIZE)
    assert cv2.imread(str(tmp_path / 'out/Set5/HR/one.png'), -1).shape == (*SIZE, 3)
    assert np.array_equal(cv2.imread(str(tmp_path / 'out/Set5/HR/three.png'), -1), gray)


def test_the_right_and_then_the_largest_copy_is_taken(tmp_path):
    one, three = IMAGES['one'], IMAGES['three']
    contents = {
        'Set5/GTmod12/one.png': encode(one[:24, :36]),
        'Set5/image_SRF_2/img_001_SRF_2_HR.png': encode(one),
        'Set5/original/one.png': encode(pixels(8, (60, 60))),  # larger, but another image
        'Set5/image_SRF_3/img_003_SRF_3_HR.png': encode(three[:24, :39]),
        'Set5/image_SRF_4/img_003_SRF_4_HR.png': encode(three[:24, :40]),
    }
    arrange([write(tmp_path / 'in', contents)], tmp_path / 'out')
    assert np.array_equal(read(tmp_path / 'out/Set5/HR/one.png'), one)
    assert np.array_equal(read(tmp_path / 'out/Set5/HR/three.png'), three[:24])


def test_missing_and_changed_images_are_named(tmp_path):
    changed = IMAGES['two'].copy()
    changed[0, 0, 0] ^= 1
    contents = {
        'Set5/two.png': encode(changed),
        'Set5/One more.png': encode(IMAGES['one']),
        'Set5/three.png': b'broken',
    }
    (report,) = arrange([write(tmp_path / 'in', contents)], tmp_path / 'out')
    assert not report.is_complete
    assert report.lines() == [
        f'{tmp_path}/out/Set5/HR: 1 of 3 images, 1 written, 0 kept',
        f'  missing: one, {tmp_path}/in/Set5/three.png: not a readable image; formats: {", ".join(SUFFIXES)}',
        '  files not recognised: One more.png',
        '  pixels differ from the record, so results are not comparable: two',
        '  pixels match the record: 0',
    ]


def test_what_is_there_counts_and_is_checked(tmp_path):
    first = write(tmp_path / 'a', {'Set5/one.png': encode(IMAGES['one'])})
    second = write(tmp_path / 'b', {'Set5/two.png': encode(IMAGES['two']), 'Set5/three.png': encode(IMAGES['three'])})
    arrange([first], tmp_path / 'out')
    before = (tmp_path / 'out/Set5/HR/one.png').stat().st_mtime_ns
    (report,) = arrange([second, first], tmp_path / 'out')
    assert report.is_complete and report.kept == ['one'] and report.written == ['two', 'three']
    (tmp_path / 'out/Set5/HR/two.png').write_bytes(encode(pixels(9)))
    (report,) = arrange([first], tmp_path / 'out')
    assert report.changed == ['two'] and not report.is_complete
    assert (tmp_path / 'out/Set5/HR/one.png').stat().st_mtime_ns == before


def test_nothing_is_overwritten(tmp_path):
    source = write(tmp_path / 'in', in_layout('flat'))
    target = write(tmp_path / 'out', {'Set5/HR/two.png': encode(pixels(9))}) / 'Set5/HR'
    with pytest.raises(UserError, match=r'existing files have different pixels: .*two\.png; nothing was written'):
        arrange([source], tmp_path / 'out')
    assert [path.name for path in target.iterdir()] == ['two.png'] and np.array_equal(
        read(target / 'two.png'), pixels(9)
    )
    (target / 'two.png').write_bytes(b'no image')
    with pytest.raises(ImageError, match=r'two\.png: not a readable image'):
        arrange([source], tmp_path / 'out')
    assert (target / 'two.png').read_bytes() == b'no image'


def test_sources_without_images_are_refused(tmp_path):
    source = write(tmp_path / 'in', {'Set5/LR/one.png': encode(IMAGES['one']), 'readme.txt': b''})
    with pytest.raises(UserError, match=r'in: no image of Set5, RealSRSet; known layouts: Set5/baby\.png, '):
        arrange([source], tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_hidden_files_are_passed_over(tmp_path):
    contents = in_layout('flat') | {'__MACOSX/Set5/._one.png': b'', 'Set5/.one.png': b''}
    (report,) = arrange([write_zip(tmp_path / 'in.zip', contents)], tmp_path / 'out')
    assert report.is_complete and not report.unknown


# The sets themselves


def test_sets_have_their_published_sizes():
    sets = load_benchmarks()
    assert {name: len(benchmark.images) for name, benchmark in sets.items()} == {
        'Set5': 5,
        'Set14': 14,
        'BSD100': 100,
        'Urban100': 100,
        'RealSRSet': 20,
        'kernels/levin': 8,
    }
    digests = [image.sha256 for benchmark in sets.values() for image in benchmark.images.values() if image.sha256]
    assert len(digests) == len(set(digests)) == 5 + 14 + 100 + 20 + 10 + 8
    for benchmark in sets.values():
        names = [*benchmark.images, *(other for image in benchmark.images.values() for other in image.other_names)]
        assert len(names) == len(set(names))


def test_berkeley_numbers_are_in_the_order_of_selfexsr():
    sets = load_benchmarks()
    numbers = [image.other_names[0] for image in sets['BSD100'].images.values()]
    assert numbers == sorted(numbers) and [numbers[0], numbers[66], numbers[-1]] == ['101085', '3096', '97033']
    assert locate(PurePosixPath('/benchmark/B100/HR/3096.png'), sets) == 'BSD100'
    assert sets['BSD100'].find_name('3096') == 'img_067'  # a bomber before a gray sky


def test_recorded_checksums_are_those_of_the_images(shared_data, tmp_path, monkeypatch):
    monkeypatch.undo()
    reports = {report.name: report for report in arrange([shared_data / 'benchmarks/Set5'], tmp_path)}
    assert reports['Set5'].is_complete and not reports['Set5'].unrecorded
    for name, benchmark in load_benchmarks().items():
        parent = shared_data if name == 'kernels/levin' else shared_data / 'benchmarks'
        paths = sorted((parent / name / benchmark.folder).glob('*.png'))
        assert [path.stem for path in paths] == sorted(n for n, image in benchmark.images.items() if image.sha256)
        for path in paths[:3]:
            assert not benchmark.is_changed(path.stem, decode_image(path.read_bytes(), str(path)))


def test_the_kernels_of_levin_go_where_the_recipes_look_for_them(shared_data, tmp_path, monkeypatch):
    monkeypatch.undo()
    (report,) = arrange([shared_data / 'kernels'], tmp_path / 'datasets')
    assert report.is_complete and len(report.written) == 8 and report.lines()[0].startswith(str(tmp_path / 'datasets'))
    monkeypatch.chdir(tmp_path)
    made = BlurRecipe(family='levin').build()
    assert made.family.names == tuple(f'kernel{number}.png' for number in range(1, 9))
