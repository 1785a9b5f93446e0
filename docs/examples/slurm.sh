#!/bin/bash
#SBATCH --job-name=evoprompt
#SBATCH --nodes=3
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=08:00:00
# A run on the nodes of a Slurm job: sbatch slurm.sh. RUN and CONFIG are on a file system that all nodes have.
set -euo pipefail
CONFIG=${CONFIG:-$PWD/mine.yaml} RUN=${RUN:-$PWD/runs/mine}
export EVOPROMPT_CACHE=${EVOPROMPT_CACHE:-$PWD/cache}  # models are fetched once
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN
RAY_AUTH_TOKEN=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')

command=(evoprompt run "$CONFIG" --out "$RUN" --ray-address auto)
if [ -e "$RUN/config.yaml" ]; then # a job that was ended, by its time for one
  command=(evoprompt resume "$RUN" --set workers.ray_address=auto)
fi
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)  # not head, which would end the pipe
srun ray symmetric-run --address "$head:6379" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-gpus "$SLURM_GPUS_ON_NODE" -- "${command[@]}"
