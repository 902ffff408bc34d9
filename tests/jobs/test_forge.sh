#!/usr/bin/env bash
# test_forge.sh - forge as a user meets it: real photographs to a set, killed at random and run again. Usage: test_forge.sh PRLE
set -uo pipefail

prle=$1
photos=$(dirname "$0")/../../../shared/data/london
if [ ! -e "$photos/manifest.csv" ]; then
    echo "SKIP: $photos is not here: real photographs are needed"
    exit 77
fi
shm=/dev/shm
[ -w "$shm" ] || shm=${TMPDIR:-/tmp}
tmp=$(mktemp -d "$shm/prle_forge_XXXXXX")
trap 'rm -rf "$tmp"' EXIT
# shellcheck source=user_lib.sh
source "$(dirname "$0")/user_lib.sh"

# 24 people, two photographs each
mkdir "$tmp/photos"
ln -s "$(realpath "$photos/img")" "$tmp/photos/img"
awk -F, 'NR == 1 || $2 <= 26' "$photos/manifest.csv" > "$tmp/photos/manifest.csv"
small=(--size 64 --frames 2 --methods 'swap,reenact')

run 2 'PHOTOS is missing' "$prle" forge
run 2 'did you mean "blend"' "$prle" forge "$tmp/photos" -o "$tmp/x" --methods swap,blent
run 1 'no/such' "$prle" forge "$tmp/no/such" -o "$tmp/x"
run 0 'identities: 14 train, 5 val, 5 test' "$prle" forge "$tmp/photos" -o "$tmp/a" "${small[@]}"
run 0 '144 there before' "$prle" forge "$tmp/photos" -o "$tmp/a" "${small[@]}"
run 2 'made with other settings' "$prle" forge "$tmp/photos" -o "$tmp/a" "${small[@]}" --seed 2
run 0 '"auc_of_statistics"' "$prle" forge "$tmp/photos" -o "$tmp/a" "${small[@]}" --check --json
python3 -m json.tool "$tmp/out" > /dev/null || complain 'forge --check --json is not JSON'

n_killed=0
for _ in 1 2 3 4 5; do
    "$prle" forge "$tmp/photos" -o "$tmp/b" "${small[@]}" > "$tmp/out" 2> "$tmp/err" &
    sleep "0.$((RANDOM % 5))"
    kill -KILL $! 2> /dev/null && n_killed=$((n_killed + 1))
    wait $! 2> /dev/null
done
run 0 '144 videos' "$prle" forge "$tmp/photos" -o "$tmp/b" "${small[@]}"
diff -r "$tmp/a" "$tmp/b" > "$tmp/out" || complain "a run killed $n_killed times differs from a whole one"

run 0 'with masks 192, with landmarks 288' "$prle" pack "$tmp/a" -o "$tmp/faces.h5"
exit $((failures > 0))
