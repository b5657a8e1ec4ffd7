#!/bin/bash
# Restore the images of an option file by a SLURM job array: each task takes its share of the images.
#
#     sbatch --array=0-7 scripts/slurm_array.sh options/test/DIPDKP_gaussian_x4.yml
#     sbatch --dependency=afterany:JOBID scripts/slurm_array.sh options/test/DIPDKP_gaussian_x4.yml
#
# The tasks need not run at the same time and do not communicate; results/<name> must be on a file system that all tasks
# share. The second command is a single task. It keeps finished images, restores those of failed tasks, and writes the
# metrics of all images. On SIGTERM, which SLURM sends before the time limit, a task saves the state of its current
# image; submit the same array again to resume.
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
