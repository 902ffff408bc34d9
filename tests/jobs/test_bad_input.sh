#!/usr/bin/env bash
# test_bad_input.sh - what commands say to input that is odd, broken or not theirs: one clear error that names the file, or a counted
# skip; never a crash. Usage: test_bad_input.sh PRLE MPIRUN SPOIL
set -uo pipefail
# shellcheck source=train_lib.sh
source "$(dirname "$0")/train_lib.sh"
# shellcheck source=user_lib.sh
source "$(dirname "$0")/user_lib.sh"
spoil=$3 here=$(dirname "$0")

# refused CODE REGEX COMMAND...: also, nothing but warnings and one line of error.
refused() {
    run "$@"
    [ "$(grep -c '^prle [a-z]*: ' "$tmp/err")" -eq 1 ] || complain "${*:3}: not one line of error"
}

python3 "$here/odd_faces.py" "$tmp" || fail "odd pictures"
store_make
train=("$prle" train --net meso4 --size 64 --epochs 1 --batch 10 --data)
"${train[@]}" "$tmp/faces.h5" --run "$tmp/run" > "$tmp/train.log" 2>&1 || fail "train"
"$prle" cam --model "$tmp/run" --data "$tmp/faces.h5" --split val -o "$tmp/cams" > "$tmp/cam.log" 2>&1 || fail "cam"
"$prle" fuse --cams "$tmp/cams" -o "$tmp/maps.h5" --rule average --tau1 0.1 > "$tmp/fuse.log" 2>&1 || fail "fuse"
model=$tmp/run faces=$tmp/faces.h5 maps=$tmp/maps.h5 odd=$tmp/odd

# Pictures. CMYK, 16 bits and a single pixel are read; what cannot be read is counted, and named in a warning.
mkdir -p "$tmp/tree2/train/real"
for file in "$odd"/*; do
    name=$(basename "$file")
    mkdir -p "$tmp/tree2/train/real/${name//./-}"
    cp "$file" "$tmp/tree2/train/real/${name//./-}/000.${name##*.}"
done
run 0 'found 9, chosen 9, skipped 4, resized 3,' "$prle" pack "$tmp/tree2" -o "$tmp/odd.h5" --size 64
for words in 'cut-png/000.png: image skipped: PNG: truncated' 'text-jpg/000.jpg: image skipped: neither JPEG nor PNG' \
    'empty-png/000.png: image skipped: neither JPEG nor PNG' 'bomb-png/000.png: image skipped: claims 16384 x 12288 pixels'; do
    said "$words" || complain "pack: no /$words/"
done
run 0 '"images": 5' "$prle" inspect "$tmp/odd.h5" --json
refused 3 'predict: 4 of 9 files could not be read' "$prle" predict --model "$model" "$odd"
[ "$(grep -cE '(cmyk.jpg|deep.png|one.png|one.jpg|whole.png) +0\.[0-9]+ ' "$tmp/out")" -eq 5 ] || complain 'predict: not five scores'
[ "$(grep -cE '(cut.png|text.jpg|empty.png|bomb.png) +- +unreadable' "$tmp/out")" -eq 4 ] || complain 'predict: not four unreadable ones'

forge() { # CODE REGEX PICTURE: in the place of one of eight photographs
    rm -rf "$tmp/set"
    cp "$odd/$3" "$tmp/photos/img/p3.png"
    "${4:-refused}" "$1" "$2" "$prle" forge "$tmp/photos" -o "$tmp/set" --size 64 --frames 1
}
cp "$tmp/photos/img/p3.png" "$odd/face.png"
forge 0 '48 videos' face.png run
forge 3 'img/p3.png: PNG: truncated' cut.png
forge 3 'img/p3.png: neither JPEG nor PNG' text.jpg
forge 3 'img/p3.png: claims 16384 x 12288' bomb.png
forge 3 'img/p3.png: the face lies outside of the picture: .* 1 x 1' one.jpg
forge 3 'img/p3.png: the face lies outside of the picture: .* 24 x 20' cmyk.jpg
forge 3 'img/p3.png: the face lies outside of the picture: .* 64 x 64' deep.png

# An empty class, a missing split.
mv "$tmp/tree/train/fake" "$tmp/kept"
run 0 'split train has no fake images' "$prle" pack "$tmp/tree" -o "$tmp/reals.h5"
refused 3 'reals.h5: the training split has 25 real and 0 fake images' "${train[@]}" "$tmp/reals.h5" --run "$tmp/none"
mv "$tmp/kept" "$tmp/tree/train/fake"
mv "$tmp/tree/val/real" "$tmp/kept"
"$prle" pack "$tmp/tree" -o "$tmp/half.h5" > "$tmp/pack.log" 2>&1 || fail "pack"
run 0 'warn train: validation split has 0 real and 8 fake images: no AUC' "${train[@]}" "$tmp/half.h5" --run "$tmp/half"
rm -r "$tmp/tree/val" "$tmp/tree/test"
run 0 'split test has no images' "$prle" pack "$tmp/tree" -o "$tmp/train.h5"
run 0 'warn train: validation split has 0 real and 0 fake images: no AUC' "${train[@]}" "$tmp/train.h5" --run "$tmp/alone"
refused 3 'train.h5: no images in split test' "$prle" cam --model "$model" --data "$tmp/train.h5" --split test -o "$tmp/none"
refused 3 'train.h5: no images in split test' "$prle" eval --model "$model" --data "$tmp/train.h5"
refused 3 'train.h5: no images? .*split val' "$prle" show --model "$model" --data "$tmp/train.h5" --split val -o "$tmp/none"

# A store cut at every 4 KiB, and its half: every command that reads one. readers CODE REGEX STORE
readers() {
    refused "$1" "$2" "$prle" inspect "$3"
    refused "$1" "$2" "${train[@]}" "$3" --run "$tmp/none"
    refused "$1" "$2" "$prle" cam --model "$model" --data "$3" -o "$tmp/none"
    refused "$1" "$2" "$prle" eval --model "$model" --data "$3"
    refused "$1" "$2" "$prle" show --model "$model" --data "$3" -o "$tmp/none"
    refused "$1" "$2" "$prle" inspect "$maps" --faces "$3"
}
bytes=$(stat -c %s "$tmp/odd.h5")
for ((cut = 0; cut < bytes; cut += 4096)); do
    head -c "$cut" "$tmp/odd.h5" > "$tmp/cut.h5"
    readers 3 'cut.h5: cannot open as HDF5' "$tmp/cut.h5"
done
head -c $((bytes / 2)) "$tmp/odd.h5" > "$tmp/cut.h5"
readers 3 'cut.h5: cannot open as HDF5' "$tmp/cut.h5"

# Another schema, a version to come.
for schema in faces maps cam checkpoint; do
    "$spoil" newer "prle.$schema" "$tmp/newer-$schema.h5" || fail "spoil"
done
cp "$maps" "$tmp/other.h5"
refused 3 'other.h5: is a prle.maps file, expected prle.faces' "${train[@]}" "$tmp/other.h5" --run "$tmp/none"
refused 3 'other.h5: is a prle.maps file, expected prle.faces' "$prle" cam --model "$model" --data "$tmp/other.h5" -o "$tmp/none"
refused 3 'other.h5: is a prle.maps file, expected prle.checkpoint' "$prle" predict --model "$tmp/other.h5" "$odd/one.png"
refused 3 'faces.h5: is a prle.faces file, expected prle.maps' "${train[@]}" "$faces" --mask primary --maps "$faces" --run "$tmp/none"
mkdir "$tmp/others"
cp "$maps" "$tmp/others/a.h5"
refused 3 'a.h5: is a prle.maps file, expected prle.cam' "$prle" fuse --cams "$tmp/others" -o "$tmp/none.h5"
newer='version 99 is newer than this program reads \(1\): use a newer prle'
refused 3 "newer-faces.h5: prle.faces $newer" "${train[@]}" "$tmp/newer-faces.h5" --run "$tmp/none"
refused 3 "newer-faces.h5: prle.faces $newer" "$prle" inspect "$tmp/newer-faces.h5"
refused 3 "newer-checkpoint.h5: prle.checkpoint $newer" "$prle" predict --model "$tmp/newer-checkpoint.h5" "$odd/one.png"
refused 3 "newer-maps.h5: prle.maps $newer" "$prle" show --data "$faces" --maps "$tmp/newer-maps.h5" -o "$tmp/none"
rm "$tmp/others/a.h5"
cp "$tmp/newer-cam.h5" "$tmp/others/a.h5"
refused 3 "a.h5: prle.cam $newer" "$prle" fuse --cams "$tmp/others" -o "$tmp/none.h5"

# A run folder of another network; a weight that is no number.
refused 2 'last.h5: is of meso4 at 64 x 64 .*, not of resnet50 at 64 x 64' "${train[@]}" "$faces" --run "$tmp/run" --resume --net resnet50
refused 3 'best.h5: holds weights of meso4, not of resnet50' "${train[@]}" "$faces" --run "$tmp/none" --net resnet50 --init "$tmp/run"
"$spoil" nan "$tmp/run" "$tmp/nan.h5" || fail "spoil"
for command in "predict $odd/one.png" "eval --data $faces" "cam --data $faces -o $tmp/none" "show --data $faces -o $tmp/none"; do
    # shellcheck disable=SC2086
    refused 3 'nan.h5: .* nan' "$prle" $command --model "$tmp/nan.h5"
done
refused 3 'nan.h5: .* nan' "${train[@]}" "$faces" --run "$tmp/none" --init "$tmp/nan.h5"

# Words that are nearly right.
refused 2 'unknown option --epoch=3: did you mean --epochs\?' "$prle" train --data "$faces" --run "$tmp/none" --epoch=3
refused 2 '"meso5" .*expected one of xception, .*did you mean meso4' "$prle" train --data "$faces" --run "$tmp/none" --net meso5
refused 2 'did you mean average\?' "$prle" fuse --cams "$tmp/cams" -o "$tmp/none.h5" --rule averige

[ -z "$(find "$tmp" -name 'none*')" ] || { find "$tmp" -path '*/none*' > "$tmp/out" && complain 'a refused command left something'; }
[ "$failures" -eq 0 ] && echo "bad input: all as expected"
exit $((failures > 0))
