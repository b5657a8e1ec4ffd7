"""The page on restored photographs, from records and files made by hand."""

import base64
import hashlib
import html
import io
import re
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from dkp_plugin.engine.confidence import Confidence, Inspection
from dkp_plugin.io.photo_files import write_photo
from dkp_plugin.photos import report
from dkp_plugin.photos.report import write_report
from dkp_plugin.physics.jpeg_coding import JpegCoding


@pytest.fixture
def make_record(tmp_path):
    """Write a photograph and its result, half and full red; return the record."""

    def make(name='a', dtype='uint8', doubts=(), jpeg=None):
        top = np.iinfo(dtype).max
        before, after = (
            np.full((side, 2 * side, 3), [level, 0, 0], dtype) for side, level in ((8, top // 2), (16, top))
        )
        write_photo(tmp_path / f'{name}.png', before)
        write_photo(tmp_path / f'out/{name}.png', after)
        return {
            'input': str(tmp_path / f'{name}.png'),
            'outputs': [str(tmp_path / f'out/{name}.png')],
            'width': 32,
            'height': 16,
            'seconds': 1.5,
            'noise': 0.0,
            'inspection': Inspection(0.0, jpeg, doubts=list(doubts)).record(),
            'confidence': asdict(Confidence(40.0)),
            'strength': 1.0,
            'kernel': np.eye(3).tolist(),
            'curve': [{'iteration': 1, 'l_x': 1.0}, {'iteration': 2, 'l_x': 0.5}],
        }

    return make


def page_of(tmp_path, records, options=None):
    write_report(tmp_path / 'report.html', records, options or {'scale': 2})
    return (tmp_path / 'report.html').read_text(encoding='utf-8')


def pictures(page, kind):
    texts = re.findall(rf'data:image/{kind};base64,([^"]+)', page)
    return [Image.open(io.BytesIO(base64.b64decode(text))) for text in texts]


@pytest.mark.parametrize('dtype', ['uint8', 'uint16'])
def test_before_and_after_have_one_size_and_their_colours(make_record, tmp_path, dtype):
    before, after = pictures(page_of(tmp_path, [make_record(dtype=dtype)]), 'webp')
    assert before.size == after.size == (32, 16)
    for image, red in ((before, 127), (after, 255)):
        np.testing.assert_allclose(np.asarray(image.convert('RGB'))[8, 16].astype(int), [red, 0, 0], atol=4)


def test_large_pictures_are_shrunk(make_record, tmp_path, monkeypatch):
    monkeypatch.setattr(report, 'MAX_SIDE', 20)
    assert {image.size for image in pictures(page_of(tmp_path, [make_record()]), 'webp')} == {(20, 10)}


def test_names_and_doubts_are_escaped_and_unfinished_images_counted(make_record, tmp_path):
    page = page_of(tmp_path, [make_record('<b>', doubts=['it is <i>bad</i>']), {}, {}])
    assert '&lt;b&gt;.png' in page and '<b>' not in page and 'it is &lt;i&gt;bad&lt;/i&gt;' in page
    assert '2 others are unfinished or failed' in page and '1 images' in page
    assert '<strong class="low">low</strong>' in page and '<strong class="good">good</strong>' not in page


def test_pictures_whose_files_are_gone_are_left_out(make_record, tmp_path):
    record = make_record()
    (tmp_path / 'a.png').unlink()
    page = page_of(tmp_path, [record])
    assert 'The files no longer exist at their paths.' in page
    assert not pictures(page, 'webp') and len(pictures(page, 'png')) == 1  # the kernel


def test_only_so_many_pictures_but_all_rows(make_record, tmp_path, monkeypatch):
    monkeypatch.setattr(report, 'MAX_PICTURES', 1)
    page = page_of(tmp_path, [make_record('a'), make_record('b')])
    assert len(pictures(page, 'webp')) == 2 and '<h2>b.png' not in page
    assert '<td>b.png</td>' in page


def test_settings_are_yaml_without_what_is_empty(make_record, tmp_path):
    page = page_of(tmp_path, [make_record()], {'scale': 2, 'network_g': {'type': 'DIP'}, 'path': {}})
    assert 'scale: 2\nnetwork_g:\n  type: DIP\n' in html.unescape(page) and 'path: {}' not in page


def test_the_security_policy_lets_the_one_script_run(make_record, tmp_path):
    page = page_of(tmp_path, [make_record()])
    (script,) = re.findall(r'<script>(.*?)</script>', page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page


def test_pages_name_files_and_not_the_folders_of_the_machine(make_record, tmp_path):
    records = [make_record('x/a'), make_record('y/a'), make_record('b')]
    page = page_of(tmp_path, records)
    assert str(tmp_path) not in page
    assert re.findall('<h2>(.*?)</h2>', page)[:3] == ['x/a.png', 'y/a.png', 'b.png']
    assert '>out/x/a.png</span>' in page


def test_short_names():
    assert report.short_names([]) == {}
    assert report.short_names(['/p/q/a.png']) == {'/p/q/a.png': 'a.png'}
    assert report.short_names(['/p/q/a.png', '/p/b.png']) == {'/p/q/a.png': 'q/a.png', '/p/b.png': 'b.png'}


def test_the_quality_of_a_jpeg_is_named(tmp_path, make_record):
    assert 'JPEG quality about 50' in page_of(tmp_path, [make_record(jpeg=JpegCoding.standard(50))])
    assert 'JPEG' not in page_of(tmp_path, [make_record()])


def test_a_field_of_kernels_is_shown(tmp_path, make_record):
    field = {'kernels': np.tile(np.eye(5) / 5, (2, 3, 1, 1)).tolist(), 'is_sure': [[True, False, True]] * 2}
    page = page_of(tmp_path, [make_record() | {'field': field}])
    picture = re.search(r'<figure class="field"><img src="data:image/png;base64,([^"]+)"', page).group(1)
    assert Image.open(io.BytesIO(base64.b64decode(picture))).size == (3 * (5 * 3 + 2), 2 * (5 * 3 + 2))
    assert 'class="field"' not in page_of(tmp_path, [make_record()])
