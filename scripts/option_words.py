"""Descriptions of the option keys that have none in the code that checks them, for the reference and the schema."""

BASICSR = "BasicSR's."
PHOTO_TRAIN = {
    'families': 'Shares of the kernel families: `gaussian`, `disc`, `line`, `motion`.',
    'perturbation': "Largest error, as a share of each parameter's range, of half of the kernels.",
    'clean_share': 'Of the crops that are rounded only; of the others a third each has noise, is a JPEG, is both.',
    'noise_range': 'Standard deviations of the noise, out of 255.',
    'quality_range': 'Qualities of the JPEGs.',
    'precision': 'Of the hidden layers; `auto`: bf16 where it is faster.',
    'max_grad_norm': 'Longest gradient.',
    'ema_decay': 'Of the averaged weights.',
    'optim_g': BASICSR,
    'scheduler': BASICSR,
    'total_iter': BASICSR,
    'warmup_iter': BASICSR,
    'pixel_opt': 'Loss `l_pix`, of the result.',
}
WORDS = {
    'the top level': {
        'name': 'Name of the run; results go to `results/<name>`.',
        'model_type': 'Model that runs the estimator and the restorer.',
        'scale': 'Scale factor s.',
        'num_gpu': '0: the CPU; `auto`: all available GPUs.',
        'manual_seed': 'Seed; with the image names it determines all random numbers. Drawn at random if missing.',
        'datasets': 'Blocks `test_1`, `test_2`, ..., sorted as text, one for each data set, see below. Data sets with '
        'missing folders are skipped; `--only NAME` runs only the named data sets; `~` removes a data set.',
        'network_k': 'The kernel estimator, see below.',
        'network_g': 'The restorer, see below.',
        'degradation': 'The forward model without its kernel.',
        'alternation': 'The loop of estimator and restorer.',
        'early_stopping': 'Criterion for ending the loop early.',
        'restorer': 'Restorer of the final image, which uses the kernel from the alternation.',
        'local_kernels': 'Estimate a kernel for every part of about 96x96 LR pixels, for blur that varies over the '
        'image. Parts of low confidence take the kernels of their neighbours, and the results are blended.',
        'tile': 'Side of the tiles for larger images, in HR pixels, at least 128; `auto`: 1024 with '
        'the compact prior, 2048 with one-pass networks, 768 with other restorers that need the whole image.',
        'path': 'Weights.',
        'val': 'Outputs and metrics.',
        'custom_imports': 'Your modules to import before the file is checked, see [the tutorial](tutorial.md).',
        'logger': "BasicSR's, for trainings; tests ignore it.",
        'dist_params': "BasicSR's, for `--launcher slurm`: `backend` and `port`.",
    },
    'degradation': {
        'convention': 'Position of the kernel centre, see [conventions](conventions.md): `aligned` for photographs, '
        '`released` for the benchmarks of FKP and DKP.',
        'kernel_size': 'Odd side K of the kernel, in HR pixels; `auto`: min(4 s + 3, 21), at scale 1 15; larger '
        'for photographs whose kernel reaches the border.',
        'noise': 'Standard deviation of white noise in the LR image, out of 255; `auto`: estimated from each image.',
        'jpeg': 'JPEG quality of the LR image, 1 to 100, from which its compression error is estimated; `auto`: the '
        'tables of a JPEG file; `off`: none.',
        'border': 'Border condition of the image: `mirror`, or `periodic` as in the benchmarks; `auto`: `mirror` for '
        'the convention `aligned`, `periodic` for `released`.',
    },
    'alternation': {
        'num_iter': 'Iterations. `DIP` requires it; restorers that set their own number of iterations do not allow it.',
        'averaging': "Decay of the exponential average over the restorer's images that is returned; 0: the last image.",
    },
    'early_stopping': {
        'method': 'Keep the image at the minimum of the variance of successive images, over a window (`wmv`) or with '
        'exponential weights (`emv`).',
        'window': 'Number of images in the window.',
        'patience': 'Stop after this many iterations without a new minimum.',
        'min_iter': 'First iteration that may become a minimum.',
    },
    'restorer': {
        'final': 'Name of a restorer, or a block like `network_g`.',
        'pretrain': 'Weights of this restorer.',
        'num_iter': 'Iterations of this restorer, unless it sets its own number.',
    },
    'path': {
        'pretrain_network_g': 'Weights of the restorer, in the format of safetensors or `torch.save`. `~`: the shipped '
        'weights, if any.',
        'strict_load_g': "As in BasicSR's files; weights must always match.",
        'resume_state': 'For trainings. Tests resume automatically.',
    },
    'val': {
        'save_img': 'Save images and kernels.',
        'suffix': 'Suffix of the image file names; `~`: the name of the run.',
        'pbar': 'Show a progress bar.',
        'checkpoint_freq': 'Iterations between saved states, from which an interrupted image resumes; 0: save only '
        'when the run is asked to stop.',
        'curve_freq': "Iterations between rows of an image's trajectory; 0: none.",
        'metrics': 'Metrics, under names of your choice, see below.',
    },
    'BlindSRDataset': {
        'name': 'Name of the data set and of its results folders.',
        'type': '`BlindSRDataset`.',
        'dataroot_lq': 'LR images: a folder or an lmdb.',
        'dataroot_gt': 'HR images, paired with the LR images by name.',
        'dataroot_kernel': 'True kernels (`.mat`, `.npy`), paired by name; used only by metrics and the oracle.',
        'io_backend': '`{type: disk}` or `{type: lmdb}`.',
        'convention': 'Convention of the kernels; must match `degradation`.',
        'random_kernel': 'Generate LR images and kernels from `dataroot_gt`, see below.',
    },
    'random_kernel': {
        'family': '`gaussian`, `motion`, `line`, `levin`, or a folder of kernel files.',
        'kernel_size': 'Odd; `~`: min(4 s + 3, 21), at scale 1 15.',
        'variance_range': 'Variances of `gaussian`, in squared HR pixels; `~`: 0.175 s to min(2.5 s, 10).',
        'length_range': 'Lengths of `motion` and `line`, in HR pixels; `~`: s / 2 to 0.8 K.',
        'seed': 'Seed of kernels and noise, combined with the image name.',
        'noise': 'Standard deviation of Gaussian noise, out of 255.',
        'jpeg_quality': 'JPEG quality of the LR image; `~`: no compression.',
        'shared': 'One kernel for all images, as of one camera.',
    },
    'KernelDataset': {
        'name': 'Name of the data set.',
        'type': '`KernelDataset`.',
        'kernel_family': '`gaussian`, `motion` or `line`.',
        'kernel_size': 'Odd; `~`: min(4 s + 3, 21), at scale 1 15.',
        'variance_range': 'As for `random_kernel`.',
        'length_range': 'As for `random_kernel`.',
        'noise': 'Upper bound of the uniform noise added to each pixel of a kernel.',
        'num_kernels': 'Kernels per epoch.',
        'seed': 'Seed; kernel i depends only on it and on i.',
    },
    'PhotoCropDataset': {
        'name': 'Name of the data set.',
        'type': '`PhotoCropDataset`.',
        'dataroot_gt': 'Folder of photographs.',
        'more_roots_gt': 'Further folders of photographs.',
        'gt_size': 'Side of the crops.',
        'resize_factors': 'Sizes, at most 1, at which each photograph is used.',
        'gray_share': 'Share of the crops that are converted to gray.',
    },
    'UnpairedDataset': {
        'name': 'Of the data set.',
        'type': '`UnpairedDataset`.',
        'dataroot_lq': 'LR images without truth: a folder or an lmdb.',
        'dataroot_exemplar': 'Sharp photographs that have nothing to do with them.',
        'lq_size': 'Side of the LR crops.',
        'exemplar_size': 'Side of the crops of exemplars; `~`: `scale` times `lq_size`.',
        'resize_factors': 'Sizes, at most 1, at which each exemplar is used.',
        'leak_check': 'What happens where a photograph is in both folders, by its name or its content.',
        'io_backend': '`{type: disk}` or `{type: lmdb}`.',
    },
    'UnpairedSRModel: train': {
        'image_crop': 'LR pixels of the crops that S and R see; N sees all of a crop.',
        'num_lq': 'Crops of LR images per step and process.',
        'perturbation': 'How far kernels of the bank are moved, at most, for a third of the pairs.',
        'intermediate_kernels': 'What blurs the exemplars of S; `bank` is for an ablation.',
        'bank': 'When the kernels of the LR images are estimated, and how they are used, see below.',
        'precision': 'Of the hidden layers; `auto`: bf16 where it is faster.',
        'parts': 'Of the network that are trained; the weight head of N belongs to R.',
        'own_shares': "Of the pairs that R restores with N's kernel, at the start and at the end.",
        'max_grad_norm': 'Longest gradient of each of S, N and R.',
        'ema_decay': 'Of the averaged weights, which judge the kernels and teach.',
        'optim_g': BASICSR,
        'scheduler': BASICSR,
        'total_iter': BASICSR,
        'warmup_iter': BASICSR,
        'pixel_opt': 'Loss `l_exemplar`.',
        'intermediate_opt': 'Loss `l_intermediate`.',
        'kernel_opt': 'Loss `l_kernel`: `KernelCrossEntropyLoss`.',
        'distill_opt': 'Loss `l_distill`.',
        'affinity_opt': 'Loss `l_affinity`: `FeatureAffinityLoss`.',
        'aux_opt': 'Loss `l_aux`.',
        'data_opt': 'Loss `l_data`.',
    },
    'PhotoSRModel: train': PHOTO_TRAIN
    | {
        'perturbation': "Largest error, as a share of each parameter's range, of half of the kernels that R gets.",
        'own_share': "Of the pairs that R restores with N's kernel.",
        'mirror_share': 'Of the iterations whose LR crops have a mirrored border, as photographs have it.',
        'parts': 'Of the network that are trained; the weight head of N belongs to R.',
        'max_grad_norm': 'Longest gradient of each of S, N and R.',
        'intermediate_opt': 'Loss `l_intermediate`, of the image of S.',
        'kernel_opt': 'Loss `l_kernel`, of N: `KernelCrossEntropyLoss`.',
    },
    'UnfoldedModel: train': PHOTO_TRAIN
    | {
        'scales': 'Each iteration draws one; a scale that stands there twice is drawn twice as often.',
        'schedule_lr': 'Learning rate of the schedule, a few numbers for each scale.',
    },
    'UnpairedSRModel: train: bank': {
        'start_iter': 'First iteration that uses the kernels of the LR images.',
        'interval': 'Iterations between two estimates from then on.',
        'num_steps': 'Steps of the estimator for a kernel.',
        'share': 'Of the bank among the kernels that N learns; the others are random.',
        'source': '`random` leaves the bank as it starts, for an ablation.',
    },
    'DASRModel: train': {
        'encoder_iter': 'Iterations that train the encoder alone, at the start.',
        'contrast_weight': 'Weight of the contrastive loss, `l_contrast`.',
        'ema_decay': '0, because BasicSR would not average the statistics of the batch norms.',
        'optim_g': BASICSR,
        'scheduler': BASICSR,
        'total_iter': BASICSR,
        'warmup_iter': BASICSR,
        'pixel_opt': 'Loss `l_pix`.',
    },
    'an entry of option_files': {
        'file': 'An option file.',
        'only': 'Names of the data sets to run; by default all.',
        'needs': 'Files, such as weights, without which the entry is left out; the report says so.',
        'variants': 'Changes to the file, by variant name; a block with a `type` replaces the existing block.',
    },
}
# Keys of BasicSR's data loader.
OF_LOADER = {
    'use_shuffle',
    'num_worker_per_gpu',
    'batch_size_per_gpu',
    'dataset_enlarge_ratio',
    'prefetch_mode',
    'pin_memory',
    'num_prefetch_queue',
    'persistent_workers',
}
# Keys that BasicSR adds to a block of a data set.
ADDED_TO_DATASETS = {'phase', 'scale'}
