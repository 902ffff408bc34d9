#!/usr/bin/env bash
# test_answers.sh - eval, predict and show as a user meets them, on a small trained detector. Usage: test_answers.sh PRLE MPIRUN
set -uo pipefail
# shellcheck source=train_lib.sh
source "$(dirname "$0")/train_lib.sh"
# shellcheck source=user_lib.sh
source "$(dirname "$0")/user_lib.sh"

# Several lines at once, joined by ~.
said() { cat "$tmp/out" "$tmp/err" | tr '\n' '~' | grep -qE -- "$1"; }

# A store, two detectors, maps of the test split.
store_make
for seed in 1 2; do
    "$prle" train --net meso4 --size 64 --data "$tmp/faces.h5" --run "$tmp/runs/m$seed" --epochs 1 --batch 10 --lr 2e-3 --seed "$seed" \
        > "$tmp/train.log" 2>&1 || fail "train"
done
"$prle" cam --model "$tmp/runs/m1" --data "$tmp/faces.h5" --split test --target fake -o "$tmp/cams" > "$tmp/cam.log" 2>&1 || fail "cam"
"$prle" fuse --cams "$tmp/cams" -o "$tmp/maps.h5" --rule average --tau1 0.1 > "$tmp/fuse.log" 2>&1 || fail "fuse"
m1=$tmp/runs/m1 m2=$tmp/runs/m2 faces=$tmp/faces.h5

# Every kind of map; a finished file is gone on with only when it was made the same way, of the same images.
run 0 'eigencam' "$prle" cam --help
for method in gradcam gradcam++ layercam hirescam eigencam; do
    run 0 "meso4: 16 maps of 2 x 2, ${method//+/.}, (backward|without gradients)" "$prle" cam --model "$m1" --data "$faces" --split test -o "$tmp/$method" --method "$method"
    run 0 'all there already' "$prle" cam --model "$m1" --data "$faces" --split test -o "$tmp/$method" --method "$method"
    h5dump -a method "$tmp/$method/meso4.h5" | grep -q "\"$method\"" || complain "$method is not in the file"
    run 0 'index.html' "$prle" show --data "$faces" --split test --cams "$tmp/$method/meso4.h5" --model "$m2" --cam-method "$method" -o "$tmp/pictures-$method"
done
run 2 'meso4.h5: there already, with method layercam, not gradcam: remove it' "$prle" cam --model "$m1" --data "$faces" --split test -o "$tmp/layercam"
run 2 'with target label, not fake' "$prle" cam --model "$m1" --data "$faces" --split test -o "$tmp/gradcam" --target fake
run 2 'with weights [0-9a-f]{16}, not' "$prle" cam --model "$m2" --data "$faces" --split test -o "$tmp/gradcam"
run 2 'with node pool4, not bn2' "$prle" cam --model "$m1" --data "$faces" --split test -o "$tmp/gradcam" --node bn2
run 2 'of another split' "$prle" cam --model "$m1" --data "$faces" --split any -o "$tmp/gradcam"
run 0 'all there already' "$prle" cam --model "$m1" --data "$faces" --split test -o "$tmp/eigencam" --method eigencam --target fake --score logit
run 2 'method.*"gradcam2"' "$prle" cam --model "$m1" --data "$faces" -o "$tmp/none" --method gradcam2

# Numbers in metrics.json follow from scores.csv, and none depends on the ranks, even where batches leave a rest.
run 0 'model +fakes +by +real +fake .*~m1 +all +frame +8 +8 .*~m2 +patch +video' "$prle" eval --model "$m1" "$m2" --data "$faces" --out "$tmp/one" --batch 7
run 0 'AUC - m1' ranks 2 eval --model "$m1" "$m2" --data "$faces" --out "$tmp/two" --batch 7 --threads 1
for file in scores-m1.csv scores-m2.csv; do
    cmp "$tmp/one/$file" "$tmp/two/$file" || complain "$file of one rank and of two differ"
done
same_json() { diff <(grep -v created_by "$1") <(grep -v created_by "$2") > "$tmp/out"; }
same_json "$tmp/one/metrics.json" "$tmp/two/metrics.json" || complain "metrics.json of one rank and of two differ"
python3 - "$tmp/one" > "$tmp/out" 2> "$tmp/err" << 'P' || complain 'metrics.json does not follow from scores.csv'
import csv, json, sys
for s in json.load(open(sys.argv[1] + "/metrics.json"))["sets"]:
    frames = list(csv.DictReader(open(sys.argv[1] + "/" + s["scores"])))
    assert len(frames) == s["images"] == 16 and len({f["image"] for f in frames}) == 16
    videos = {}
    for f in frames:
        videos.setdefault(f["video"], []).append(f)
    for row in s["rows"]:
        samples = [[f] for f in frames] if row["by"] == "frame" else list(videos.values())
        scored = [(sum(float(f["score"]) for f in v) / len(v), int(v[0]["label"])) for v in samples]
        fake, real = ([x for x, y in scored if y == label] for label in (1, 0))
        auc = sum((a > b) + (a == b) / 2 for a in fake for b in real) / len(fake) / len(real)
        acc = sum((x >= s["threshold"]) == y for x, y in scored) / len(scored)
        m = row["metrics"]
        assert row["n_fake"] == len(fake) and row["n_real"] == len(real)
        assert abs(m["auc"]["value"] - auc) < 1e-14 and abs(m["acc"]["value"] - acc) < 1e-14, (m, auc, acc)
        assert m["auc"]["lo"] <= auc <= m["auc"]["hi"] and m["tpr_fpr_1e-2"]["value"] is None
P
run 0 '"fakes": "g"' "$prle" eval --model "$m1" --data "$faces" --group g=patch --json --bootstrap 0
python3 -m json.tool "$tmp/out" > /dev/null || complain 'eval --json is not JSON'
run 0 'all +frame +25 +25 .*bootstraps over videos' "$prle" eval --model "$m1" --data "$faces" --split train --threshold eer

# Masks: alpha 0 hides nothing; every alpha is a set of its own.
run 0 'alpha .*~ +0 +all .*~ +1 +patch' "$prle" eval --model "$m1" --data "$faces" --mask primary --maps "$tmp/maps.h5" --alpha 0,0.5,1 --out "$tmp/masked" --batch 7
cmp "$tmp/one/scores-m1.csv" "$tmp/masked/scores-alpha0.csv" || complain 'alpha 0 hides something'
! cmp -s "$tmp/one/scores-m1.csv" "$tmp/masked/scores-alpha1.csv" || complain 'alpha 1 hides nothing'
run 3 'maps.h5: 50 of the 50 images asked for have no map' "$prle" eval --model "$m1" --data "$faces" --split train --mask primary --maps "$tmp/maps.h5"
run 0 'images have no landmarks' "$prle" eval --model "$m1" --data "$faces" --mask landmark --bootstrap 1

run 2 'mask primary needs --maps' "$prle" eval --model "$m1" --data "$faces" --mask primary
run 2 'alpha says how much' "$prle" eval --model "$m1" --data "$faces" --alpha 0.5
run 2 'option alpha = "1.5": expected a number in \[0,1\]' "$prle" eval --model "$m1" --data "$faces" --mask random --alpha 0.1,1.5
run 2 'option threshold = "half": expected a number in \[0,1\] or eer' "$prle" eval --model "$m1" --data "$faces" --threshold half
run 2 'option group = "seen": expected NAME=METHOD' "$prle" eval --model "$m1" --data "$faces" --group seen
run 2 'group seen: no face store has a method "swap"' "$prle" eval --model "$m1" --data "$faces" --group seen=swap
run 2 'split = "tset".* did you mean test' "$prle" eval --model "$m1" --data "$faces" --split tset
run 2 'is given twice' "$prle" eval --model "$m1" "$m1" --data "$faces"
run 3 'no best.h5 or last.h5' "$prle" eval --model "$tmp/runs" --data "$faces"
run 3 'maps.h5: is a prle.maps file, expected prle.faces' "$prle" eval --model "$m1" --data "$tmp/maps.h5"

# predict: the scores of eval for the same pictures, others brought to size; bad files are named, the rest is scored.
test=$tmp/tree/test
run 0 '000.png +0\.[0-9]{4} +(real|fake)~~score: P\(fake\) by .*; fake from 0\.' "$prle" predict --model "$m1" "$test/real/r0"
"$prle" predict --model "$m1" "$test"/*/*/f? "$test"/real/r? --json --batch 5 > "$tmp/predict.json" 2> "$tmp/err"
python3 - "$tmp" > "$tmp/out" 2> "$tmp/err" << 'P' || complain 'predict and eval differ'
import csv, json, sys
videos = {f["video"].split("-")[-1]: float(f["score"]) for f in csv.DictReader(open(sys.argv[1] + "/one/scores-m1.csv"))}
answer = json.load(open(sys.argv[1] + "/predict.json"))
assert len(answer["files"]) == 16
for f in answer["files"]:
    assert abs(f["score"] - videos[f["file"].split("/")[-2]]) < 1e-6 and f["decision"] == ("fake" if f["score"] >= answer["threshold"] else "real")
P
head -c 3000 "$test/real/r0/000.png" > "$tmp/cut.png"
echo text > "$tmp/text.jpg"
run 3 'cut.png +- +unreadable~[^~]*r1/000.png +0.*text.jpg: neither JPEG nor PNG.*nowhere.png: cannot open.*predict: 3 of 4 files could not be read' \
    "$prle" predict --model "$m1" "$tmp/cut.png" "$test/real/r1/000.png" "$tmp/text.jpg" "$tmp/nowhere.png" --threshold 0.5
run 3 '"error": ".*text.jpg: neither JPEG' "$prle" predict --model "$m1" "$tmp/text.jpg" --json
run 3 'no .jpg, .jpeg or .png files' "$prle" predict --model "$m1" "$tmp/cams"
run 0 'fake from 0.2500' "$prle" predict --model "$m1" "$test/real/r0/000.png" "$test/real/r1/000.png" --threshold 0.25 --heatmap "$tmp/heat"
[ -s "$tmp/heat/000.png" ] && [ -s "$tmp/heat/000-2.png" ] || complain 'no heat maps'
run 0 '0\.' "$prle" predict --model "$m1" "$tmp/heat" --target fake --heatmap "$tmp/heat2" --dtype bf16
run 0 '0\.' "$prle" predict --model "$m1" "$tmp/heat" --target fake --heatmap "$tmp/heat3" --dtype bf16 --method layercam
! cmp -s "$tmp/heat2/000.png" "$tmp/heat3/000.png" || complain "predict --method changes nothing"

# show: a sheet for two images of a kind, of those that have maps.
run 0 'pictures: 4 images of 14 pictures each' "$prle" show --data "$faces" --maps "$tmp/maps.h5" --cams "$tmp/cams/meso4.h5" --model "$m2" -o "$tmp/pictures"
for kind in overview 0?-real 0?-patch; do
    compgen -G "$tmp/pictures/$kind*.png" > /dev/null || complain "no $kind*.png"
done
[ "$(grep -c '<figure>' "$tmp/pictures/index.html")" -eq 5 ] || complain 'index.html does not show all'
run 0 '"sheet": "02-real-' "$prle" show --data "$faces" --model "$m1" --split val -o "$tmp/looks" --json
run 2 'nothing to show' "$prle" show --data "$faces" -o "$tmp/nothing"
run 3 'no image of split train has all the maps' "$prle" show --data "$faces" --maps "$tmp/maps.h5" --split train -o "$tmp/nothing"
"$prle" pack "$tmp/tree/" -o "$tmp/small.h5" --size 32 > "$tmp/pack.log" 2>&1 || fail 'pack'
run 3 'maps.h5: was made for another face store' "$prle" show --data "$tmp/small.h5" --maps "$tmp/maps.h5" -o "$tmp/nothing"
[ ! -e "$tmp/nothing" ] || complain 'a refused show left a folder'

[ "$failures" -eq 0 ] && echo "answers: all as expected"
exit $((failures > 0))
