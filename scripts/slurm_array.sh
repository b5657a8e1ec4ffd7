#!/bin/bash
# Restore the images of an option file by a SLURM job array: each task takes its share of the images.
#
#     sbatch --array=0-7 scripts/slurm_array.sh options/test/DIPDKP_gaussian_x4.yml
#     sbatch --dependency=afterany:JOBID scripts/slurm_array.sh options/test/DIPDKP_gaussian_x4.yml
#
# The tasks need not run at the same time and do not talk to each other; results/<name> must lie on a file system that
# all of them see. The second command is a single task: it restores what a lost task has left, keeps all else, and
# writes the metrics of all images. A task that is sent SIGTERM, as before its time limit, saves the state of the image
# in work; the same array, submitted again, goes on from there.
#
#SBATCH --job-name=dkp_plugin
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=4
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@60
set -euo pipefail

# The array starts at 0 with step 1, so that its tasks are numbered like processes.
export RANK="${SLURM_ARRAY_TASK_ID:-0}" WORLD_SIZE="${SLURM_ARRAY_TASK_COUNT:-1}"
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"

# In place of the shell, so that SLURM's signal reaches it.
exec python -m dkp_plugin.test -opt "$@"
