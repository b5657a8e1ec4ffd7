import json
import os
import pickle
import struct

import pytest
import torch

from dkp_plugin.host.errors import UserError
from dkp_plugin.io.weight_files import read_weights, write_safetensors


class Malicious:
    """Unpickled by a careless reader, it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def safetensors_bytes(header, data):
    encoded = json.dumps(header).encode()
    return struct.pack('<Q', len(encoded)) + encoded + data


def test_a_safetensors_file_written_by_hand(tmp_path):
    header = {
        '__metadata__': {'license': 'Apache-2.0'},
        'a': {'dtype': 'F32', 'shape': [2, 1], 'data_offsets': [0, 8]},
        'b': {'dtype': 'I64', 'shape': [1], 'data_offsets': [8, 16]},
    }
    path = tmp_path / 'x.safetensors'
    path.write_bytes(safetensors_bytes(header, struct.pack('<ffq', 1.5, -2, 7)))
    tensors, about = read_weights(path)
    assert tensors['a'].tolist() == [[1.5], [-2.0]] and tensors['b'].tolist() == [7]
    assert about == {'license': 'Apache-2.0'}


def test_what_is_written_is_read(tmp_path, rng):
    tensors = {
        'w': torch.randn(3, 4, generator=rng),
        'h': torch.ones(2).half(),
        't': torch.randn(4, 3, generator=rng).T,
        's': torch.tensor(3.0),
    }
    write_safetensors(tmp_path / 'x.safetensors', tensors, {'steps': '3'})
    read, about = read_weights(tmp_path / 'x.safetensors')
    assert about == {'steps': '3'} and read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) and read[name].dtype == tensors[name].dtype for name in read)


def test_both_ways_with_the_library(tmp_path, rng):
    library = pytest.importorskip('safetensors.torch')
    tensors = {'w': torch.randn(3, 4, generator=rng), 'b': torch.randn(5, generator=rng).bfloat16()}
    write_safetensors(tmp_path / 'ours.safetensors', tensors, {'steps': '3'})
    library.save_file(tensors, tmp_path / 'theirs.safetensors', {'steps': '3'})
    theirs, ours = library.load_file(tmp_path / 'ours.safetensors'), read_weights(tmp_path / 'theirs.safetensors')
    assert ours[1] == {'steps': '3'}
    for name, tensor in tensors.items():
        assert torch.equal(theirs[name], tensor) and torch.equal(ours[0][name], tensor)


@pytest.mark.parametrize('save', ['torch', 'torch, old format', 'pickle'])
@pytest.mark.parametrize('suffix', ['.pt', '.safetensors'])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, save, suffix):
    path, harm = tmp_path / f'evil{suffix}', tmp_path / 'harm'
    content = {'model_state': Malicious(harm)}
    if save == 'pickle':
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=save == 'torch')
    with pytest.raises(UserError) as caught:
        read_weights(path)
    assert str(path) in str(caught.value) and '\n' not in str(caught.value)
    assert not harm.exists()


@pytest.mark.parametrize('share', [0, 0.01, 0.3, 0.7, 0.999])
@pytest.mark.parametrize('suffix', ['.pt', '.safetensors'])
def test_a_truncated_file_is_one_line(tmp_path, suffix, share):
    path = tmp_path / f'x{suffix}'
    tensors = {'w': torch.zeros(500)}
    torch.save(tensors, path) if suffix == '.pt' else write_safetensors(path, tensors, {})
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError) as caught:
        read_weights(path)
    assert str(caught.value).startswith(f'{path}: ') and '\n' not in str(caught.value)


@pytest.mark.parametrize(
    'entry',
    [
        {'dtype': 'F32', 'shape': [3], 'data_offsets': [0, 16]},
        {'dtype': 'F32', 'shape': [4], 'data_offsets': [0, 17]},
        {'dtype': 'F32', 'shape': [4]},
    ],
)
def test_a_wrong_header_is_one_line(tmp_path, entry):
    path = tmp_path / 'x.safetensors'
    path.write_bytes(safetensors_bytes({'a': entry}, bytes(16)))
    with pytest.raises(UserError, match=r'x\.safetensors: not a readable file of weights') as caught:
        read_weights(path)
    assert '\n' not in str(caught.value)


def test_no_such_file(tmp_path):
    for name in ('x.pt', 'x.safetensors'):
        with pytest.raises(UserError, match=f'{name}: No such file'):
            read_weights(tmp_path / name)
