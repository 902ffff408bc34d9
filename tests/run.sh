#!/usr/bin/env bash
# run.sh - the whole of CI, the same on a laptop: packages, house rules, gcc and clang, all tests, sanitizers on the unit tests and
# on what has threads, and the list of skipped tests. Installs what is missing from Debian (jobs/setup.sh says what). Under 25 minutes
# on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=../jobs/setup.sh
source jobs/setup.sh
# shellcheck disable=SC2086
prle_packages $PRLE_BUILD_PACKAGES $PRLE_TEST_PACKAGES
# shellcheck disable=SC2086
(prle_packages $PRLE_SLURM_PACKAGES) || echo "Slurm cannot be installed: its test is skipped"

step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

step "house rules"
bash tests/lint.sh

step "build with gcc"
prle_build dev
step "all tests"
ctest --test-dir build/dev --output-on-failure -j 2 -LE hw | tee build/ctest.log

step "skipped tests are the expected ones"
skips_expected() {
    [ -d ../shared/data/london ] || cat tests/skips.txt
    PATH=$PATH:/usr/sbin command -v slurmctld >/dev/null || echo slurm
    unshare -rm mount -t tmpfs tmpfs /mnt 2>/dev/null || echo full_disk
    [ -e build/dev/tests/cudasim/libcudasim.so ] || echo cudasim # no CUDA toolkit here
}
sed -n 's/.*- \([^ ]*\) (Skipped)$/\1/p' build/ctest.log | sort >build/skips.txt
diff <(skips_expected | sort) build/skips.txt || { echo "tests were skipped that should run here, or the other way round" >&2; exit 1; }

step "build with clang"
prle_build dev-clang
ctest --test-dir build/dev-clang --output-on-failure -j 2 -L unit -LE 'slow|grad|dist' | tail -n 3

step "unit tests under AddressSanitizer and UndefinedBehaviorSanitizer"
prle_build asan
ctest --test-dir build/asan --output-on-failure -j 2 -L unit -LE 'slow|grad|dist' | tail -n 3

step "threads under ThreadSanitizer"
prle_build tsan
TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp exitcode=66 history_size=7" OMP_NUM_THREADS=1 ctest --test-dir build/tsan --output-on-failure -j 2 \
    -R '^(threads|threads_on|hdf5|loader|watchdog|comm_2|grad_sum_2|units_2|stop_2|stage_1)$' | tail -n 3

step "installation"
cmake --preset release -DPRLE_CUDA_ARCHITECTURES=80-virtual >/dev/null && cmake --build --preset release >/dev/null
rm -rf build/installed
cmake --install build/release --prefix "$PWD/build/installed" >/dev/null
bash tests/install.sh build/installed

step "done"
grep 'tests passed' build/ctest.log
