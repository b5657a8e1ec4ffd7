"""Run BasicSR's train pipeline with the plug-in: ``python -m dkp_plugin.train -opt options/train/NAME.yml``."""

import sys

import basicsr.train

from dkp_plugin.models.pipelines import run_pipeline

if __name__ == '__main__':
    sys.exit(run_pipeline(basicsr.train, is_train=True))
