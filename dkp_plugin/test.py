"""Run BasicSR's test pipeline with the plug-in: ``python -m dkp_plugin.test -opt options/test/NAME.yml``."""

import sys

import basicsr.test

from dkp_plugin.models.pipelines import run_pipeline

if __name__ == '__main__':
    sys.exit(run_pipeline(basicsr.test, is_train=False))
