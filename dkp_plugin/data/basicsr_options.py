"""Option keys of BasicSR's own image datasets and of its data loader, which BasicSR does not check."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt


class BasicSRBackendOptions(BaseModel):
    """Block ``io_backend`` of BasicSR's datasets."""

    model_config = ConfigDict(extra='forbid')
    type: Literal['disk', 'lmdb', 'memcached']
    db_paths: str | list[str] | None = None
    client_keys: str | list[str] | None = None
    server_list_cfg: str | None = None
    client_cfg: str | None = None
    sys_path: str | None = None


class LoaderOptions(BaseModel):
    """Keys that BasicSR's data loader takes from the block of any dataset; those of a training set are required."""

    model_config = ConfigDict(extra='forbid')
    name: str
    type: str
    phase: Literal['train', 'val', 'test'] = 'train'
    scale: PositiveInt | None = None
    use_shuffle: bool = True
    num_worker_per_gpu: NonNegativeInt | None = None
    batch_size_per_gpu: PositiveInt | None = None
    dataset_enlarge_ratio: PositiveInt = 1
    prefetch_mode: Literal['cpu', 'cuda'] | None = None
    num_prefetch_queue: PositiveInt = 1
    pin_memory: bool = False
    persistent_workers: bool = False


class TrainingLoaderOptions(LoaderOptions):
    """Keys of the data loader for a training set of this package."""

    phase: Literal['train'] = 'train'
    num_worker_per_gpu: NonNegativeInt  # BasicSR has no default for these two
    batch_size_per_gpu: PositiveInt


class SingleImageOptions(LoaderOptions):
    """Keys of BasicSR's ``SingleImageDataset``."""

    dataroot_lq: str
    io_backend: BasicSRBackendOptions
    meta_info_file: str | None = None
    color: Literal['y'] | None = None
    mean: list[float] | None = None
    std: list[float] | None = None


class PairedImageOptions(LoaderOptions):
    """Keys of BasicSR's ``PairedImageDataset``."""

    dataroot_lq: str
    dataroot_gt: str
    io_backend: BasicSRBackendOptions
    meta_info_file: str | None = None
    filename_tmpl: str = '{}'
    gt_size: PositiveInt | None = None
    use_hflip: bool | None = None
    use_rot: bool | None = None
    color: Literal['y'] | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    task: str | None = None


BASICSR_DATASETS = {'SingleImageDataset': SingleImageOptions, 'PairedImageDataset': PairedImageOptions}
