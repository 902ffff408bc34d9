#!/usr/bin/env bash
# london.sh - does hiding primary regions help? A hundred people (../shared/data/london: 102 identities, two photographs each), five
# forgeries of each, three of them seen in training and two not, people kept apart; three seeds, each with its own split of the people
# and another unseen pair. Networks with and without masks; kinds of masks; rules of fusion; sizes of the zoo. About 90 minutes on two
# idle cores; killed, it goes on when it is started again, and what is done is not done again.
#
#   jobs/london.sh [--faces DIR] [--out DIR] [--epochs N] [--big-epochs N]
#
# --faces DIR     photographs with DIR/manifest.csv (default ../shared/data/london)
# --out DIR       where everything goes (default: london)
# --epochs N      of meso4, which is trained in every condition (default 25)
# --big-epochs N  of resnet50 and xception, with and without masks; one frame of each video an epoch (default 4). From scratch they
#                 need some hundred; two cores do one in about 50 s.
#
# The tables of docs/evidence.md are OUT/evidence.txt.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=setup.sh
source jobs/setup.sh

faces=../shared/data/london
out=london
epochs=25
big_epochs=4
while [ $# -gt 0 ]; do
    case $1 in
    --faces) faces=${2:?--faces needs a folder}; shift 2 ;;
    --out) out=${2:?--out needs a folder}; shift 2 ;;
    --epochs) epochs=${2:?--epochs needs a number}; shift 2 ;;
    --big-epochs) big_epochs=${2:?--big-epochs needs a number}; shift 2 ;;
    --help | -h) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    *) echo "london.sh: unknown option $1 (--help)" >&2; exit 2 ;;
    esac
done
[ -f "$faces/manifest.csv" ] || { echo "london.sh: $faces/manifest.csv is not there; give --faces DIR" >&2; exit 3; }

step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

step "set up and build"
# shellcheck disable=SC2086
prle_packages $PRLE_BUILD_PACKAGES python3
prle_build release >/dev/null
prle=$PWD/build/release/prle
ranks=(mpirun -n 2 "$prle")
quiet=(--threads 1 --log-level warn)

# train NET NAME OPTION...: one run of this seed
train() {
    local net=$1 name=$2
    shift 2
    if [ "$net" = meso4 ]; then
        set -- --epochs "$epochs" --batch 32 --lr 1e-3 "$@"
    else
        set -- --epochs "$big_epochs" --frames 1 --batch 16 --lr 3e-4 "$@"
    fi
    "${ranks[@]}" train --net "$net" --run "$here/runs/$net-$name" --data "$here/faces.h5" --size 128 --methods "$seen" \
        --balance weights --seed "$seed" --resume "${quiet[@]}" "$@"
}

# fuse TARGET NAME OPTION...: maps/NAME.h5 from the attention for the image's own class (label) or for "fake"
fuse() {
    local target=$1 name=$2
    shift 2
    "${ranks[@]}" fuse --cams "$here/cams-$target" -o "$here/maps/$name.h5" "${quiet[@]}" "$@"
}

# evaluate NET NAME...: the first is what the others are compared with
evaluate() {
    local net=$1
    shift
    [ ! -f "$here/eval/$net/metrics.json" ] || return 0
    "${ranks[@]}" eval --model "${@/#/$here/runs/$net-}" --data "$here/faces.h5" --group "seen=$seen" "unseen=$unseen" \
        --out "$here/eval/$net" "${quiet[@]}"
}

for seed in 1 2 3; do
    here=$out/seed$seed
    case $seed in
    1) seen=swap,paste,reenact unseen=mouth,blend ;;
    2) seen=paste,mouth,blend unseen=swap,reenact ;;
    3) seen=swap,reenact,blend unseen=paste,mouth ;;
    esac
    step "seed $seed: seen $seen, unseen $unseen"
    mkdir -p "$here/maps" "$here/eval"
    "$prle" forge "$faces" -o "$here/forged" --size 128 --frames 4 --seed "$seed" --log-level warn
    [ -f "$here/faces.h5" ] || "$prle" pack "$here/forged" -o "$here/faces.h5" --log-level warn

    step "seed $seed: three detectors without masks, which are also the zoo"
    for net in meso4 resnet50 xception; do
        train "$net" none
        for target in label fake; do
            "${ranks[@]}" cam --model "$here/runs/$net-none" --data "$here/faces.h5" --split train --target "$target" \
                -o "$here/cams-$target" "${quiet[@]}"
        done
    done
    fuse label expand
    fuse label neighbor --rule neighbor
    fuse label average --rule average
    fuse label zoo1 --zoo meso4
    fuse label zoo2 --zoo meso4,resnet50
    fuse fake fake
    for maps in expand neighbor average zoo1 zoo2 fake; do
        "$prle" inspect "$here/maps/$maps.h5" --faces "$here/faces.h5" --json >"$here/maps/$maps.json"
    done

    step "seed $seed: kinds of masks, rules, sizes of the zoo (meso4)"
    for kind in primary fixed random landmark; do
        train meso4 "$kind" --mask "$kind" --maps "$here/maps/expand.h5"
    done
    for maps in neighbor average zoo1 zoo2 fake; do
        train meso4 "$maps" --mask primary --maps "$here/maps/$maps.h5"
    done
    evaluate meso4 none primary fixed random landmark neighbor average zoo1 zoo2 fake

    step "seed $seed: resnet50 and xception with masks"
    for net in resnet50 xception; do
        train "$net" primary --mask primary --maps "$here/maps/expand.h5"
        evaluate "$net" none primary
    done
    "$prle" show --data "$here/faces.h5" --maps "$here/maps/expand.h5" --cams "$here"/cams-label/*.h5 --out "$here/pictures" --log-level warn
done

step "tables"
python3 jobs/london/tables.py "$out" | tee "$out/evidence.txt"
echo "pictures of the maps: $out/seed*/pictures/index.html · $SECONDS s in all"
