#!/usr/bin/env bash
# test_table8.sh PRLE - the speeds of arXiv 2307.12534's Table VIII, measured on this machine's GPU and shown beside the paper's; skipped
# (77) where there is none.
set -uo pipefail
prle=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
"$prle" doctor --device cuda >/dev/null 2>"$tmp/doctor" || { echo "SKIP: $(tail -n 1 "$tmp/doctor")"; exit 77; }
for net in "xception 2" "resnet50 1000"; do
    # shellcheck disable=SC2086
    set -- $net
    "$prle" bench --model "$1" --logits "$2" --size 299 --batch 64 --dtypes f32,bf16 --rounds 3 --seconds 5 --device cuda >"$tmp/out" || exit 1
    cat "$tmp/out"
    for row in training inference; do
        for type in f32 bf16; do
            grep -qE "^$row, images/s +$type +[0-9.]+ +[0-9.]+ +[0-9.]+ *$" "$tmp/out" || { echo "FAILED: no speed of $row in $type"; exit 1; }
        done
    done
done
