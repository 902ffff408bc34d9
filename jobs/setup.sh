#!/usr/bin/env bash
# setup.sh - sourced by jobs/demo.sh and tests/run.sh: Debian packages, and a build folder.
# shellcheck shell=bash disable=SC2034

# What building prle takes, and what its tests take besides.
PRLE_BUILD_PACKAGES="gcc g++ cmake ninja-build pkg-config libopenmpi-dev openmpi-bin libdnnl-dev libhdf5-dev libturbojpeg0-dev libpng-dev libyaml-dev libjansson-dev"
PRLE_TEST_PACKAGES="libcmocka-dev hdf5-tools python3 procps clang libomp-dev clang-format shellcheck git"
# For the test of the batch scripts, which is skipped where they cannot be installed.
PRLE_SLURM_PACKAGES="slurmctld slurmd slurm-client munge"

# Installs the packages that are missing; without root or sudo, says the one line that does it and ends.
prle_packages() {
    local missing=() package run=()
    for package in "$@"; do
        dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    if [ "$(id -u)" -ne 0 ]; then
        if ! sudo -n true 2>/dev/null; then
            echo "These Debian packages are missing. Install them and start again:" >&2
            echo "    sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
            exit 1
        fi
        run=(sudo -n)
    fi
    echo "== installing ${missing[*]}"
    "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=500 update -qq
    "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=500 install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# prle_build PRESET: configures and builds build/PRESET.
prle_build() {
    cmake --preset "$1" >"/tmp/prle-cmake-$1-$$.log" 2>&1 || { cat "/tmp/prle-cmake-$1-$$.log" >&2; return 1; }
    rm -f "/tmp/prle-cmake-$1-$$.log"
    cmake --build --preset "$1"
}

# Ranks as these scripts start them: also as root, also on fewer cores, threads of idle ranks asleep.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
