#!/usr/bin/env bash
# Jobs with a rank in trouble: each must end by itself, in time, with the right exit code and words.
set -uo pipefail
program=$1 mpirun=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
log=$dir/log
export TMPDIR=$dir OMPI_MCA_btl_vader_backing_directory=$dir # what killed ranks leave behind goes with the folder
failed=0

# expect NAME CODE MOST_SECONDS TEXT COMMAND...: the command ends with that code in that time, and says TEXT.
expect() {
    local name=$1 code=$2 most_s=$3 text=$4 start=$SECONDS rc=0
    shift 4
    timeout --signal=KILL 60 "$@" >"$log" 2>&1 </dev/null || rc=$?
    local took=$((SECONDS - start))
    if [[ $rc != "$code" ]] || ((took > most_s)) || ! grep -q -- "$text" "$log"; then
        echo "FAILED $name: exit code $rc (expected $code), $took s (at most $most_s), expected words: $text"
        sed 's/^/    /' "$log"
        failed=1
    else
        echo "ok $name: exit code $rc, $took s"
    fi
}

# A stopped rank cannot speak: one that waits for it does. Deadline 2 s.
expect stopped 1 15 "rank 0 on $(hostname): barrier of the test number 1 has not ended within 2 s" "$mpirun" -n 2 "$program" stopped
# A rank that leaves with an error while another waits for it: 5 s of grace.
expect alone 3 20 "failed alone and ends the job, exit code 3" "$mpirun" -n 2 "$program" alone
expect together 3 15 "" "$mpirun" -n 2 "$program" together
expect fatal 1 15 "the test's last word" "$mpirun" -n 2 "$program" fatal
# Without a launcher, or with a single task, MPI stays out of it; a task that MPI does not see is refused.
expect no_launcher 0 10 "self 1" "$program" size
expect one_task 0 15 "self 1" "$mpirun" -n 1 "$program" size
expect two_tasks 0 15 "mpi 2" "$mpirun" -n 2 "$program" size
expect lost_tasks 2 15 "the launcher started 3 tasks but MPI sees 1" env OMPI_COMM_WORLD_SIZE=3 "$program" size
exit $failed
