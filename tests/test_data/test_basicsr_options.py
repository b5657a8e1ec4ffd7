"""The keys of BasicSR's datasets are those that BasicSR's code reads."""

import inspect
import re

import basicsr.data
import basicsr.data.paired_image_dataset
import basicsr.data.single_image_dataset
import basicsr.train
import basicsr.utils.file_client
import pytest
from pydantic import ValidationError

from dkp_plugin.data.basicsr_options import BASICSR_DATASETS, BasicSRBackendOptions, LoaderOptions

DISK = {'type': 'disk'}


def keys_read(variable, *sources):
    """The keys that BasicSR's code reads from a dictionary of this name."""
    text = ''.join(map(inspect.getsource, sources))
    return set(re.findall(rf"\b{variable}(?:\.get\(|\[)['\"](\w+)['\"]", text))


@pytest.mark.parametrize('name', BASICSR_DATASETS)
def test_a_dataset_takes_the_keys_that_basicsr_reads(name):
    module = {
        'SingleImageDataset': basicsr.data.single_image_dataset,
        'PairedImageDataset': basicsr.data.paired_image_dataset,
    }[name]
    read = keys_read('opt', module)
    assert {'dataroot_lq', 'io_backend', 'mean'} <= read  # so that the search has found something
    assert read <= BASICSR_DATASETS[name].model_fields.keys()


def test_the_loader_takes_the_keys_that_basicsr_reads():
    functions = basicsr.data.build_dataset, basicsr.data.build_dataloader, basicsr.train.create_train_val_dataloader
    read = keys_read('dataset_opt', *functions)
    assert {'num_worker_per_gpu', 'batch_size_per_gpu', 'prefetch_mode', 'dataset_enlarge_ratio'} <= read
    assert read <= LoaderOptions.model_fields.keys()


def test_backends_are_those_of_basicsr():
    allowed = BasicSRBackendOptions.model_fields['type'].annotation.__args__
    assert set(allowed) == basicsr.utils.file_client.FileClient._backends.keys()


@pytest.mark.parametrize(
    ('name', 'changes', 'key'),
    [
        ('SingleImageDataset', {'dataroot_gt': 'HR'}, 'dataroot_gt'),
        ('PairedImageDataset', {}, 'dataroot_gt'),
        ('PairedImageDataset', {'dataroot_gt': 'HR', 'gt_size': 0}, 'gt_size'),
        ('PairedImageDataset', {'dataroot_gt': 'HR', 'batch_size_per_gpu': 1.5}, 'batch_size_per_gpu'),
        ('SingleImageDataset', {'prefetch_mode': 'gpu'}, 'prefetch_mode'),
        ('SingleImageDataset', {'color': 'rgb'}, 'color'),
        ('SingleImageDataset', {'io_backend': {'type': 'tape'}}, 'io_backend.type'),
    ],
)
def test_mistakes_name_their_key(name, changes, key):
    good = {'name': 'a', 'type': name, 'dataroot_lq': 'LR', 'io_backend': DISK}
    with pytest.raises(ValidationError) as error:
        BASICSR_DATASETS[name](**good | changes)
    assert ['.'.join(map(str, entry['loc'])) for entry in error.value.errors()] == [key]
