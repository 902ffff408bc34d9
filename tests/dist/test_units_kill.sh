#!/usr/bin/env bash
# Kills a stage 20 times at random moments, in its ranks or in mpirun, on 1, 2 and 4 ranks, then lets it end: no committed unit is
# made again, none is missing, and the result is as it should be.
set -uo pipefail
program=$1 mpirun=$2
units=4000
# In memory where there is such a place: thousands of fsyncs of a disk take long.
dir=$(mktemp -d -p "$([[ -w /dev/shm ]] && echo /dev/shm || echo /tmp)" prle_kill_XXXXXX)
trap 'rm -rf "$dir"' EXIT
export TMPDIR=$dir OMPI_MCA_btl_vader_backing_directory=$dir OMPI_MCA_odls_base_sigkill_timeout=0 # a life leaves nothing behind
RANDOM=${SEED:-$$}
echo "seed ${SEED:-$$}"

fail() {
    echo "FAILED: $*"
    exit 1
}

# The units that lie committed now.
committed() { find "$dir/parts" -name 'unit-??????.h5' -printf '%f\n' 2>/dev/null | sort; }

# life RANKS RANK MS: one run; afterwards the log of this life must not name a unit that was committed before it.
life() {
    committed >"$dir/before"
    : >"$dir/log"
    timeout --signal=KILL 60 "$mpirun" -n "$1" "$program" "$dir" $units "$2" "$3" >"$dir/out" 2>&1 </dev/null
    rc=$?
    sort "$dir/log" >"$dir/processed"
    [[ -z $(uniq -d "$dir/processed") ]] || fail "processed twice in one life: $(uniq -d "$dir/processed" | head -3)"
    [[ -z $(comm -12 "$dir/before" "$dir/processed") ]] || fail "done again: $(comm -12 "$dir/before" "$dir/processed" | head -3)"
}

for ((u = 0; u < units; u++)); do
    echo "items $((4 * u)) ... $((4 * u + 3))"
done >"$dir/expected"

ranks=(1 2 4)
for ((i = 0; i < 20; i++)); do
    n=${ranks[i % 3]}
    life "$n" $((RANDOM % n)) $((20 + RANDOM % 130))
    [[ $rc != 0 && ! -e $dir/result ]] || fail "life $i was not killed: raise the number of units"
    [[ $(committed | wc -l) -ge $(wc -l <"$dir/before") ]] || fail "a committed unit is gone"
done
echo "killed 20 times, $(committed | wc -l) of $units units committed"

# mpirun itself dies; its ranks live on for a while, and the next run waits for them. Only what each of the two had in hand when it
# died, one unit made and one begun, may be made again.
: >"$dir/log"
"$mpirun" -n 2 "$program" "$dir" $units -1 0 >"$dir/out" 2>&1 </dev/null &
for ((i = 0; i < 200; i++)); do
    [[ -s $dir/log ]] && break
    sleep 0.02
done
kill -KILL $! && wait $! 2>/dev/null
timeout --signal=KILL 60 "$mpirun" -n 2 "$program" "$dir" $units -1 0 >"$dir/out" 2>&1 </dev/null || fail "the last run: $(cat "$dir/out")"
sort "$dir/log" | uniq -d >"$dir/twice"
[[ $(wc -l <"$dir/twice") -le 4 ]] || fail "done again after mpirun died: $(cat "$dir/twice")"
cmp "$dir/expected" "$dir/result" || fail "another result"
[[ ! -e $dir/parts ]] || fail "the parts are still there"
echo "all $units units are in the result"
