"""What the tests of the trainings on photographs alone share."""

import numpy as np
import skimage.data
import torch

from dkp_plugin.io.images import write_image

LOSS = {'type': 'L1Loss', 'loss_weight': 1.0}


def make_training(folder, names, model_type, network, train):
    """Options of a training at x2 on crops of pictures of scikit-image, which are written to ``folder / 'photos'``."""
    for name in names:
        crop = getattr(skimage.data, name)()[100:164, 180:252]
        write_image(folder / f'photos/{name}.png', np.ascontiguousarray(crop[..., ::-1]))
    return {
        'name': 'tiny',
        'model_type': model_type,
        'scale': 2,
        'num_gpu': 0,
        'manual_seed': 0,
        'datasets': {
            'train': {
                'name': 'photos',
                'type': 'PhotoCropDataset',
                'dataroot_gt': str(folder / 'photos'),
                'gt_size': 48,
                'num_worker_per_gpu': 0,
                'batch_size_per_gpu': 2,
                'dataset_enlarge_ratio': 8,
            }
        },
        'network_g': network,
        'path': {'pretrain_network_g': None, 'resume_state': None},
        'train': {
            'precision': 'float32',
            'ema_decay': 0.5,
            'max_grad_norm': 1.0,
            'optim_g': {'type': 'Adam', 'lr': 1e-3},
            'scheduler': {'type': 'CosineAnnealingRestartLR', 'periods': [6], 'eta_min': 0},
            'total_iter': 6,
            'warmup_iter': -1,
            'pixel_opt': LOSS,
        }
        | train,
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 3, 'use_tb_logger': False},
    }


def weights_of(folder, at='latest'):
    """The weights that such a training has saved."""
    return torch.load(folder / f'experiments/tiny/models/net_g_{at}.pth', weights_only=True)['params']


def add_validation(options, folder, **random_kernel):
    """Validate on the training photographs, blurred by random kernels with the options ``random_kernel``."""
    options['datasets']['val'] = {
        'name': 'made',
        'type': 'BlindSRDataset',
        'dataroot_gt': str(folder / 'photos'),
        'random_kernel': random_kernel,
    }
    psnr = {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': True}
    options['val'] = {'val_freq': 6, 'save_img': False, 'metrics': {'psnr': psnr}}
