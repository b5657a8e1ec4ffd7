"""A training of a tiny unpaired network, for the tests of its model."""

import numpy as np
import skimage.data
import torch

from dkp_plugin.data.blur_manifest import BlurRecipe, prepare
from dkp_plugin.io.images import write_image

NETWORK = {'num_feat': 4, 'num_block': 1, 'num_block_refine': 1, 'num_feat_kernel': 4, 'num_block_kernel': 1}
TOTAL, START = 6, 3


def make_data(folder):
    """Two LR images and two exemplars, with the truth of the LR images beside them under the same names."""
    crops = {
        'a': skimage.data.astronaut()[40:104, 180:252],
        'b': skimage.data.chelsea()[90:154, 130:202],
        'c': skimage.data.coffee()[100:164, 200:272],
        'd': skimage.data.rocket()[200:264, 300:372],
    }
    for name, crop in crops.items():
        part = 'truth/HR' if name in 'ab' else 'exemplars'
        write_image(folder / part / f'{name}.png', np.ascontiguousarray(crop[..., ::-1]))
    prepare(folder / 'truth/HR', folder / 'truth/made', BlurRecipe(scale=2, convention='released'))
    (folder / 'truth/made/LR').rename(folder / 'LR')
    return folder


def make_training(data):
    loss = {'type': 'L1Loss', 'loss_weight': 1.0}
    return {
        'name': 'tiny',
        'model_type': 'UnpairedSRModel',
        'scale': 2,
        'num_gpu': 0,
        'manual_seed': 0,
        'datasets': {
            'train': {
                'name': 'halves',
                'type': 'UnpairedDataset',
                'dataroot_lq': str(data / 'LR'),
                'dataroot_exemplar': str(data / 'exemplars'),
                'lq_size': 20,
                'num_worker_per_gpu': 0,
                'batch_size_per_gpu': 2,
                'dataset_enlarge_ratio': 8,
            }
        },
        'degradation': {'convention': 'released'},
        'network_k': {'type': 'EvidenceDKP', 'num_samples': 8, 'num_units': 10, 'warmup_iters': 2},
        'network_g': {'type': 'UnpairedSR'} | NETWORK,
        'path': {'pretrain_network_g': None, 'pretrain_network_k': None, 'resume_state': None},
        'train': {
            'image_crop': 16,
            'precision': 'float32',
            'bank': {'start_iter': START, 'interval': 1, 'num_steps': 1},
            'ema_decay': 0.5,
            'max_grad_norm': 1.0,
            'optim_g': {'type': 'Adam', 'lr': 1e-3},
            'scheduler': {'type': 'CosineAnnealingRestartLR', 'periods': [TOTAL], 'eta_min': 0},
            'total_iter': TOTAL,
            'warmup_iter': -1,
            'pixel_opt': loss,
            'intermediate_opt': loss,
            'kernel_opt': {'type': 'KernelCrossEntropyLoss', 'loss_weight': 0.1},
        },
        'logger': {'print_freq': 1, 'save_checkpoint_freq': START, 'use_tb_logger': False},
    }


def weights_of(folder, name='net_g', at='latest'):
    return torch.load(folder / f'experiments/tiny/models/{name}_{at}.pth', weights_only=True)
