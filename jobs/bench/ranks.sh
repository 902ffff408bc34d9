#!/usr/bin/env bash
# ranks.sh - what a second rank is worth: train, cam and fuse with two ranks of one thread beside one rank of one thread, taking turns,
# with the real commands on a real store; and what checkpoints, masks and the loader take of a real run.
#
#   jobs/bench/ranks.sh --data faces.h5 [--net resnet50] [--prle build/release/prle] [--rounds 3] [--steps 4] [--out DIR]
#
# --data FILE   a face store of at least 32 training images (prle pack)
# --steps N     of training in each turn, of 16 images
# --only PART   train, cam, fuse or checkpoints
# --out DIR     runs and maps (default: a temporary folder)
#
# Figures are of the work alone, as the commands report it: no start of MPI, no validation.
set -euo pipefail

prle=build/release/prle net=resnet50 rounds=3 steps=4 data='' out='' only=''
while [ $# -gt 0 ]; do
    case $1 in
    --data) data=${2:?--data needs a file}; shift 2 ;;
    --net) net=${2:?--net needs a name}; shift 2 ;;
    --prle) prle=${2:?--prle needs a program}; shift 2 ;;
    --rounds) rounds=${2:?--rounds needs a number}; shift 2 ;;
    --steps) steps=${2:?--steps needs a number}; shift 2 ;;
    --only) only=${2:?--only needs train, cam, fuse or checkpoints}; shift 2 ;;
    --out) out=${2:?--out needs a folder}; shift 2 ;;
    --help | -h) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    *) echo "ranks.sh: unknown option $1 (--help)" >&2; exit 2 ;;
    esac
done
[ -n "$data" ] || { echo "ranks.sh: --data FILE is needed (--help)" >&2; exit 2; }
if [ -z "$out" ]; then
    out=$(mktemp -d)
    trap 'rm -rf "$out"' EXIT
fi
mkdir -p "$out"
quiet=(--threads 1 --log-level error --json)

# ranks N COMMAND ARGUMENT...: on N ranks; its JSON on stdout.
ranks() {
    local n=$1 command=$2
    shift 2
    if [ "$n" -eq 1 ]; then
        "$prle" "$command" "${quiet[@]}" "$@"
    else
        mpirun --bind-to none -n "$n" "$prle" "$command" "${quiet[@]}" "$@"
    fi
}

# value EXPRESSION: of the JSON on stdin, as `a`.
value() { python3 -c 'import json, sys; a = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1"; }

median() { sort -g | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }

train() { # RANKS, further options
    rm -rf "$out/run"
    ranks "$1" train --net "$net" --data "$data" --run "$out/run" --batch 16 --size 256 --max-steps "$steps" "${@:2}"
}

# turns NAME UNIT COMMAND: the command with one rank and with two, in turns.
turns() {
    local name=$1 unit=$2 n
    shift 2
    rm -f "$out/$name".[12]
    for _ in $(seq "$rounds"); do
        for n in 1 2; do "$@" "$n" >> "$out/$name.$n"; done
    done
    local one two
    one=$(median < "$out/$name.1")
    two=$(median < "$out/$name.2")
    awk -v name="$name" -v unit="$unit" -v a="$one" -v b="$two" -v n="$rounds" \
        'BEGIN {printf "%-6s one rank %8.2f, two ranks %8.2f %s: %.2f x (medians of %d)\n", name, a, b, unit, b / a, n}'
}

train_rate() { train "$1" | value 'a["images"] / (a["step_seconds"] + a["loader_wait_seconds"])'; }

cam_rate() {
    rm -rf "$out/cams.$net"
    ranks "$1" cam --model "$out/model" --data "$data" -o "$out/cams.$net" --split test | value 'a["images"] / a["seconds"]'
}

fuse_rate() {
    rm -rf "$out/maps.h5" "$out/maps.h5.parts"
    ranks "$1" fuse --cams "$out/zoo" -o "$out/maps.h5" | value 'a["maps"] / a["seconds"]'
}

# A zoo of three for fuse: made of meso4, because it is quick; the maps' content decides little.
zoo_make() {
    local member
    for member in 1 2 3; do
        [ -d "$out/meso4.$member" ] || "$prle" train --net meso4 --data "$data" --run "$out/meso4.$member" --size 64 --batch 16 \
            --max-steps 2 --seed "$member" "${quiet[@]}" > "$out/zoo.log"
        "$prle" cam --model "$out/meso4.$member" --data "$data" -o "$out/zoo" --member "m$member" --split any "${quiet[@]}" \
            > "$out/zoo.log"
    done
}

# Steps with masks and a checkpoint every few seconds beside steps with masks alone: what the disk and the copy take of the steps.
checkpoints() {
    local turn
    for turn in with without; do
        train 1 --threads 2 --mask primary --maps "$out/maps.h5" \
            --checkpoint-minutes "$([ "$turn" = with ] && echo 0.1 || echo 0)" > "$out/checkpoints.$turn"
    done
    python3 - "$out/checkpoints.with" "$out/checkpoints.without" << 'P'
import json, sys
a, b = (json.load(open(path)) for path in sys.argv[1:])
rate = [x["images"] / (x["step_seconds"] + x["loader_wait_seconds"]) for x in (a, b)]
print(f"run    checkpoints every 6 s: {rate[0]:.2f} images/s, without {rate[1]:.2f}; of the steps' time "
      f"standing still for checkpoints {100 * a['checkpoint_seconds'] / a['step_seconds']:.2f} %, "
      f"waiting for the loader {100 * b['loader_wait_seconds'] / b['step_seconds']:.3f} %, "
      f"masks' CPU time {100 * b['mask_cpu_seconds'] / b['step_seconds']:.2f} %")
P
}

wanted() { [ -z "$only" ] || [ "$only" = "$1" ]; }

if wanted train; then turns train images/s train_rate; fi
if wanted cam; then
    if [ ! -d "$out/model" ]; then
        steps=1 train 1 > "$out/model.log"
        mv "$out/run" "$out/model"
    fi
    turns cam images/s cam_rate
fi
if wanted fuse; then
    zoo_make
    turns fuse maps/s fuse_rate
fi
if wanted checkpoints; then
    [ -f "$out/maps.h5" ] || { zoo_make && fuse_rate 1 > "$out/zoo.log"; }
    steps=$((steps * 4)) checkpoints
fi
