#!/usr/bin/env bash
# demo.sh - the whole way of the data on real faces, in under ten minutes on two cores: photographs become forgeries, a face store, a
# zoo of three detectors, Grad-CAM maps, fused primary regions, and two detectors, one trained with dynamic masks and one without,
# both tested on people and forgeries they have not seen. Nothing is special to the demo but its small settings: 128 x 128 pixels,
# few images, few epochs. Whatever the numbers say is printed as it is.
#
#   jobs/demo.sh [--faces DIR] [--out DIR]
#
# --faces DIR  photographs with DIR/manifest.csv (file, id, x0, y0 ... x67, y67); by default those in Debian's package libdlib19.1
# --out DIR    where everything goes (default: demo); run it again and it goes on with what is missing
#
# On a machine without them it installs Debian packages (jobs/setup.sh lists them); as an ordinary user without sudo it says which.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=setup.sh
source jobs/setup.sh

faces=""
out=demo
while [ $# -gt 0 ]; do
    case $1 in
    --faces) faces=${2:?--faces needs a folder}; shift 2 ;;
    --out) out=${2:?--out needs a folder}; shift 2 ;;
    --help | -h) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    *) echo "demo.sh: unknown option $1 (--help)" >&2; exit 2 ;;
    esac
done

step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }
seen=swap,paste,reenact
unseen=mouth,blend

step "set up and build"
# shellcheck disable=SC2086
prle_packages $PRLE_BUILD_PACKAGES
prle_build release >/dev/null
prle=$PWD/build/release/prle
two_ranks=(mpirun -n 2 "$prle")
mkdir -p "$out"

if [ -z "$faces" ]; then
    faces=$out/photos
    if [ ! -f "$faces/manifest.csv" ]; then
        step "photographs from Debian's package libdlib19.1"
        rm -rf "$out/package"
        mkdir -p "$out/package" "$faces"
        (cd "$out/package" && apt-get -qq -o APT::Sandbox::User=root download libdlib19.1 && dpkg-deb -x libdlib19.1_*.deb .)
        examples=$out/package/usr/share/doc/libdlib19.1/examples
        cp -r "$examples/johns" "$examples/faces" "$faces/"
        rm -rf "$out/package"
        cp jobs/demo/landmarks.csv "$faces/manifest.csv"
    fi
fi

step "five forgeries of every photograph, people kept apart between training, validation and test"
"$prle" forge "$faces" -o "$out/forged" --size 128 --frames 3 --check
"$prle" pack "$out/forged" -o "$out/faces.h5"

step "a zoo of three detectors on two ranks, forgeries $seen"
common=(--data "$out/faces.h5" --size 128 --methods "$seen" --balance weights --threads 1 --log-level warn --resume)
"${two_ranks[@]}" train --net meso4 --run "$out/zoo/meso4" --batch 16 --epochs 12 --lr 1e-3 "${common[@]}"
"${two_ranks[@]}" train --net resnet50 --run "$out/zoo/resnet50" --batch 16 --epochs 2 --frames 1 --lr 3e-4 "${common[@]}"
"${two_ranks[@]}" train --net xception --run "$out/zoo/xception" --batch 16 --epochs 2 --frames 1 --lr 3e-4 "${common[@]}"

step "what they look at: Grad-CAM maps, fused into primary regions"
for net in meso4 resnet50 xception; do
    "${two_ranks[@]}" cam --model "$out/zoo/$net" --data "$out/faces.h5" --split train -o "$out/cams" --threads 1 --log-level warn
done
"${two_ranks[@]}" fuse --cams "$out/cams" -o "$out/maps.h5" --threads 1 --log-level warn

step "one detector without masks, one with"
for mask in none primary; do
    "${two_ranks[@]}" train --net resnet50 --run "$out/runs/$mask" --batch 16 --epochs 3 --frames 1 --lr 3e-4 \
        --mask "$mask" --maps "$out/maps.h5" "${common[@]}"
done

step "tested on people they have not seen: forgeries they have seen, and others"
"${two_ranks[@]}" eval --model "$out/runs/none" "$out/runs/primary" --data "$out/faces.h5" --group "seen=$seen" "unseen=$unseen" \
    --out "$out/eval" --threads 1 --log-level warn

step "pictures: what the zoo looked at and what was hidden; what both detectors look at in people they have not seen"
"$prle" show --data "$out/faces.h5" --maps "$out/maps.h5" --cams "$out"/cams/*.h5 --out "$out/pictures/training" --log-level warn
"$prle" show --data "$out/faces.h5" --model "$out/runs/none" "$out/runs/primary" --split test --images 4 --out "$out/pictures/test" \
    --log-level warn
echo
echo "store $out/faces.h5 · maps $out/maps.h5 · runs $out/zoo, $out/runs · scores $out/eval · pictures $out/pictures · $SECONDS s in all"
