#!/usr/bin/env bash
# simulate.sh SCHEDULES COMMAND... - runs a GPU program on the simulator (tests/cudasim), once under each schedule. PRLE_CUDASIM: the
# library; PRLE_CUDASIM_DRIVER: the folder of the stand-in for the driver.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
schedules=$1
shift
export CUDASIM_DEVICE_JSON=${CUDASIM_DEVICE_JSON:-$here/cudasim/devices/h100.json}
export PRLE_CACHE=${PRLE_CACHE-} # plans on disk: only where a test asks for them
export LD_LIBRARY_PATH=$PRLE_CUDASIM_DRIVER${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
for schedule in $schedules; do
    LD_PRELOAD=$PRLE_CUDASIM CUDASIM_SCHED=$schedule "$@" || { rc=$?; echo "under $schedule: exit $rc"; exit "$rc"; }
done
