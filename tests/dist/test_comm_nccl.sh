#!/usr/bin/env bash
# test_comm_nccl.sh PROGRAM MPIRUN - GPU ranks in trouble, on the simulator: each job ends by itself, in time, and says why.
set -uo pipefail
program=$1 mpirun=$2
here=$(cd "$(dirname "$0")/.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
log=$dir/log
export TMPDIR=$dir OMPI_MCA_btl_vader_backing_directory=$dir PRLE_DEADLINE=2
failed=0

# expect NAME CODE MOST_SECONDS TEXT DEVICES KIND: two ranks end with that code in that time, and say TEXT.
expect() {
    local name=$1 code=$2 most_s=$3 text=$4 devices=$5 kind=$6 start=$SECONDS rc=0
    CUDASIM_DEVICES=$devices timeout --signal=KILL 60 "$mpirun" -n 2 bash "$here/simulate.sh" lazy "$program" "$kind" > "$log" 2>&1 < /dev/null || rc=$?
    local took=$((SECONDS - start))
    if [[ $rc != "$code" ]] || ((took > most_s)) || { [[ -n $text ]] && ! grep -q -- "$text" "$log"; }; then
        echo "FAILED $name: exit code $rc (expected $code), $took s (at most $most_s), expected words: $text"
        sed 's/^/    /' "$log"
        failed=1
    else
        echo "ok $name: exit code $rc, $took s"
    fi
}

expect healthy 0 20 "" 2 healthy
expect hangs 3 25 "PRLE_ETIMEOUT: rank 0 on $(hostname): gradients, sum number 1 on GPU 0000:01:00.0: has not ended within 2 s" 2 hangs
expect counts 97 25 "elements of type" 2 counts # a GPU would hang, or sum what it should not; the simulator says it
expect shared 3 20 "ranks 0 and 1 would share GPU 0000:01:00.0" 2 shared
expect too_many 3 20 "rank 1 of this machine has no GPU: 1 GPUs are here" 1 too_many
exit $failed
