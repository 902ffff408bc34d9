#!/usr/bin/env bash
# test_slurm.sh PRLE MPIEXEC - both batch scripts on a private Slurm of two nodes: the static stage on both gives the maps of one rank;
# training that meets its time limit checkpoints, requeues itself, goes on and ends with the bits of a run that was never stopped.
set -euo pipefail
# shellcheck source=private.sh
source "$(dirname "$0")/private.sh"
missing=$(slurm_is_here) || { echo "SKIP: no $missing here (Debian: slurmctld slurmd slurm-client munge)"; exit 77; }
# shellcheck source=../jobs/train_lib.sh
source "$(dirname "$0")/../jobs/train_lib.sh"
trap 'slurm_down "$tmp"; rm -rf "$tmp"' EXIT
scripts=$(cd "$(dirname "$0")/../../slurm" && pwd)
store_make
slurm_up "$tmp" || fail "the private Slurm"

# Both nodes have one host name and one /dev/shm: ranks must not take each other for neighbours.
export OMPI_MCA_btl=self,tcp OMPI_MCA_btl_tcp_if_include=lo PRLE="$prle"
nodes=(--parsable --nodes 2 --ntasks-per-node 1 --cpus-per-task 1 --chdir "$tmp")

train=(--net meso4 --data "$tmp/faces.h5" --size 64 --batch 8 --lr 1e-3 --mask random --threads 1)
ranks 2 train "${train[@]}" --epochs 2 --run "$tmp/zoo" >"$tmp/zoo.log" 2>&1 || fail "train the zoo"
"$prle" cam --model "$tmp/zoo" --data "$tmp/faces.h5" --threads 1 -o "$tmp/here/cams" >"$tmp/cam.log" 2>&1 || fail cam
"$prle" fuse --cams "$tmp/here/cams" -o "$tmp/here/maps.h5" --threads 1 >"$tmp/fuse.log" 2>&1 || fail fuse
job=$(sbatch "${nodes[@]}" --output "$tmp/static.log" "$scripts/static-stage.sbatch" "$tmp/faces.h5" "$tmp/there" "$tmp/zoo")
state=$(slurm_wait "$job" 120)
[ "$state" = "COMPLETED 0" ] || fail "the static stage: $state"
same_datasets "$tmp/here/cams/meso4.h5" "$tmp/there/cams/meso4.h5" /cam || fail "attention differs on two nodes"
same_datasets "$tmp/here/maps.h5" "$tmp/there/maps.h5" /rank || fail "maps differ on two nodes"

state_of() { scontrol -o show job "$1" | grep -oE ' JobState=[A-Z_]+' | cut -d= -f2; }
restarts_of() { scontrol -o show job "$1" | grep -oE 'Restarts=[0-9]+' | cut -d= -f2; }

# A limit of one minute, and the signal 30 s before it. Slurm looks at its clock every half minute only: the signal comes 0 to 30 s after
# the start, and at about the same moment of each later run; so the second run gets time enough. A machine that is done
# before the signal gets more to do.
restarts=0
for epochs in 1000 5000; do
    rm -rf "$tmp/queued"
    job=$(sbatch "${nodes[@]}" --time 1 --signal USR1@30 --output "$tmp/job.log" "$scripts/train.sbatch" "${train[@]}" \
        --epochs "$epochs" --run "$tmp/queued")
    for _ in $(seq 150); do
        case "$(restarts_of "$job") $(state_of "$job")" in
        "0 PENDING" | "0 RUNNING" | "0 CONFIGURING" | "0 COMPLETING") sleep 1 ;;
        *) break ;;
        esac
    done
    scontrol update "JobId=$job" TimeLimit=60 || true # of a job that is over already: no
    state=$(slurm_wait "$job" 400)
    [ "$state" = "COMPLETED 0" ] || fail "training: $state"
    restarts=$(restarts_of "$job")
    [ "$restarts" -eq 0 ] || break
done
[ "$restarts" -ge 1 ] || fail "training was done before its limit"
grep -q 'going on at epoch' "$tmp/job.log" || fail "the requeued job did not go on"
ranks 2 train "${train[@]}" --epochs "$epochs" --run "$tmp/whole" --log-level warn >"$tmp/whole.log" 2>&1 || fail "the run without a limit"
same_datasets "$tmp/whole/last.h5" "$tmp/queued/last.h5" /state || fail "weights differ after $restarts restarts"
cmp "$tmp/whole/log.jsonl" "$tmp/queued/log.jsonl" || fail "the log differs after $restarts restarts"

# What cannot go on is not requeued.
job=$(sbatch "${nodes[@]}" --output "$tmp/wrong.log" "$scripts/train.sbatch" --net meso4 --data "$tmp/none.h5" --run "$tmp/wrong")
state=$(slurm_wait "$job" 60)
[ "$state" = "FAILED 1" ] || fail "a missing store: $state"
echo "two nodes, $restarts restarts, same bits"
