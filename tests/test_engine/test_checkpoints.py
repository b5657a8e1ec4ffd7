import hashlib
import io
import logging
import pickle
import signal

import pytest
import torch

from dkp_plugin.engine.alternation import alternate
from dkp_plugin.engine.checkpoints import Checkpoints
from dkp_plugin.engine.early_stopping import EarlyStopping
from dkp_plugin.estimators.dkp_estimator import DKP
from dkp_plugin.host.interruption import Interrupted, stopping_gently
from dkp_plugin.host.seeds import image_generator
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.dip_restorer import DIP

LOGGER = logging.getLogger('test_checkpoints')
LQ = torch.rand(1, 3, 14, 12, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def image(tmp_path):
    """The checkpoints of an image."""
    return lambda identity='x', freq=4, beside=None: Checkpoints(tmp_path / 'a', identity, freq, LOGGER, beside)


@pytest.fixture
def make(image):
    """The checkpoint of its only stage."""
    return lambda *arguments, **keywords: image(*arguments, **keywords).open('search', torch.device('cpu'))


def run(checkpoint=None, on_iteration=None):
    return alternate(
        DKP(num_units=9, warmup_iters=1),
        DIP(num_feat=4, num_skip=2, num_scales=2, non_local_scales=(2,)),
        LQ,
        Degradation(2, 11),
        image_generator(0, 'a'),
        27,
        averaging=0.9,
        early_stopping=EarlyStopping('emv', window=4, patience=5, min_iter=6),
        on_iteration=on_iteration,
        checkpoint=checkpoint,
    )


def assert_same(one, other):
    assert torch.equal(one.x, other.x) and torch.equal(one.kernel, other.kernel)
    assert (one.num_iter, one.best_iter, one.curve) == (other.num_iter, other.best_iter, other.curve)
    assert one.expected_kernel_psnr == other.expected_kernel_psnr


@pytest.mark.parametrize('last', [1, 5, 9, 14])
def test_an_interrupted_run_ends_as_if_it_had_not_been(make, last):
    class Broken(Exception):
        pass

    def break_off(iteration):
        if iteration == last:
            raise Broken

    whole = run()
    assert 14 < whole.num_iter < 27  # early stopping ends it
    with pytest.raises(Broken):
        run(make(), break_off)
    heard = []
    assert_same(run(make(), heard.append), whole)
    assert heard[0] == 4 * ((last - 1) // 4) + 1


def test_a_signal_saves_and_stops(make):
    whole, checkpoint = run(), make(freq=0)

    def stop(iteration):
        if iteration == 7:
            signal.raise_signal(signal.SIGTERM)

    with stopping_gently('all'), pytest.raises(Interrupted):
        run(checkpoint, stop)
    heard = []
    assert_same(run(make(freq=0), heard.append), whole)
    assert heard[0] == 8


def test_no_file_without_need(make):
    run(make(freq=28))
    assert not make().path.exists()


def test_a_stage_that_is_finished_gives_its_result(make):
    result = run(make())
    make().finish(vars(result))
    again = make()
    assert_same(type(result)(**again.result()), result)
    again.restore(None)  # there is no state of a loop
    assert make('other').result() is None


def test_stages_have_files_of_their_own(image):
    checkpoints = image()
    first, second = (checkpoints.open(stage, torch.device('cpu')) for stage in ('search', 'tile-1'))
    first.finish({'x': torch.ones(2)})
    second.finish({'x': torch.zeros(2)})
    assert image().open('search', torch.device('cpu')).result()['x'].tolist() == [1, 1]
    assert image().open('tile-1', torch.device('cpu')).result()['x'].tolist() == [0, 0]
    checkpoints.remove()
    checkpoints.remove()
    assert not checkpoints.folder.exists()


class Loop:
    def __init__(self):
        self.count, self.x = 0, torch.zeros(2)


def save_one(checkpoint):
    loop = Loop()
    loop.count, loop.x = 5, torch.ones(2)
    checkpoint.save(5, loop)


def damage(path):
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)


DAMAGES = {
    'a bit': damage,
    'cut off': lambda path: path.write_bytes(path.read_bytes()[:-10]),
    'empty': lambda path: path.write_bytes(b''),
    'something else': lambda path: path.write_bytes(b'\x89PNG' * 100),
    'a folder': lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize('damage', DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_ignored_with_one_line(make, caplog, damage):
    checkpoint = make()
    save_one(checkpoint)
    damage(checkpoint.path)
    loop = Loop()
    make().restore(loop)
    assert loop.count == 0 and len(caplog.records) == 1
    assert 'search.pt: ignoring this checkpoint: ' in caplog.text and len(caplog.text.splitlines()) == 1


def test_a_foreign_checkpoint_is_ignored_with_one_line(make, caplog):
    save_one(make('other'))
    loop = Loop()
    make().restore(loop)
    assert loop.count == 0
    assert 'ignoring this checkpoint: it belongs to other options, another input or another version' in caplog.text


def test_a_checkpoint_runs_no_code(make, caplog, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / 'evil'), 'w'))

    buffer = io.BytesIO()
    torch.save({'identity': 'x', 'state': Evil()}, buffer, pickle_module=pickle)
    path = make().path
    path.parent.mkdir(parents=True)
    path.write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())
    make().restore(Loop())
    assert 'reading it failed with UnpicklingError' in caplog.text and not (tmp_path / 'evil').exists()


def test_seconds_and_what_stands_beside_travel(image):
    beside = Loop()
    beside.count = 3
    first = image(beside=beside)
    first.seconds_before = 100
    save_one(first.open('search', torch.device('cpu')))
    beside, loop = Loop(), Loop()
    again = image(beside=beside)
    again.open('search', torch.device('cpu')).restore(loop)
    assert (loop.count, loop.x.tolist(), beside.count) == (5, [1, 1], 3)
    assert 100 < again.seconds < 110
