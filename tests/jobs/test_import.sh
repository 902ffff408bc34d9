#!/usr/bin/env bash
# test_import.sh - import and export as a user meets them: what a file holds, a detector made of it, and back. Usage: test_import.sh PRLE
set -uo pipefail
prle=$1
here=$(cd "$(dirname "$0")/../.." && pwd)
archives=$here/tests/golden/archives
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
# shellcheck source=user_lib.sh
source "$(dirname "$0")/user_lib.sh"

# A file of meso4's weights behind "state_dict.module.", and other things; a picture.
python3 - "$tmp" << 'P'
import json, struct, sys, zlib
layers = {"conv1": (8, 3, 3, 3), "bn1": 8, "conv2": (8, 8, 5, 5), "conv3": (16, 8, 5, 5), "bn2": 16, "conv4": (16, 16, 5, 5), "fc1": (16, 64), "fc2": (2, 16)}
tensors = {}
for layer, shape in layers.items():
    if isinstance(shape, int):
        tensors |= {f"{layer}.{w}": (shape,) for w in ("weight", "bias", "running_mean", "running_var")}
    else:
        tensors[layer + ".weight"] = shape
        if layer.startswith("fc"):
            tensors[layer + ".bias"] = shape[:1]
def save(path, tensors, prefix, classes=2):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for i, (name, shape) in enumerate((tensors | {"": (3,)}).items()):
        if name.startswith("fc2"):
            shape = (classes,) + shape[1:]
        n = 1
        for d in shape:
            n *= d
        begin = len(data)
        data += struct.pack(f"<{n}f", *((1 if "var" in name else 0) + ((i + 3) * k % 17 - 8) / 64 for k in range(n)))
        header[prefix + name if name else "step"] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)
save(sys.argv[1] + "/whole.safetensors", tensors, "state_dict.module.")
save(sys.argv[1] + "/head1000.safetensors", tensors, "", 1000)
save(sys.argv[1] + "/lacking.safetensors", {n: s for n, s in tensors.items() if n != "bn2.bias"}, "net.")
def chunk(kind, data): return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
rows = b"".join(b"\0" + bytes((x * 3 + y + c * 40) % 256 for x in range(64) for c in range(3)) for y in range(64))
open(sys.argv[1] + "/a.png", "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
P

# What is in a file.
run 0 'state_dict.transposed +f32 +\[3,2\]' "$prle" import "$archives/zip/all.pth"
run 0 'left out: __builtin__.set' "$prle" import "$archives/legacy/module.pth"
run 0 'looks like meso4 \(16 of its' "$prle" import "$tmp/whole.safetensors"
run 0 '"looks_like": "meso4"' "$prle" import "$tmp/whole.safetensors" --json
run 1 'zip -0 -r' "$prle" import "$archives/zip/deflated.pth"
run 3 'neither safetensors nor' "$prle" import "$archives/expected.json"
run 2 'needs --net' "$prle" import "$tmp/whole.safetensors" -o "$tmp/no.h5"
run 2 '"alexnet" .*expected one of xception' "$prle" import "$tmp/whole.safetensors" --net alexnet
run 3 'it looks like meso4' "$prle" import "$tmp/whole.safetensors" --net resnet50 -o "$tmp/no.h5"

# A detector, whole; then one whose last layer is new, and one that lacks a tensor.
run 0 'behind "state_dict.module."' "$prle" import "$tmp/whole.safetensors" --net meso4 --size 64 --strict -o "$tmp/whole.h5"
said '16 loaded, 1 of other things' || complain 'import does not say what it loaded'
run 0 '"P\(fake\)|a.png' "$prle" predict --model "$tmp/whole.h5" "$tmp/a.png" --threshold 0.5
run 0 'new head +fc2.weight +\[2,16\]' "$prle" import "$tmp/head1000.safetensors" --net meso4 --size 64 -o "$tmp/head.h5"
said '1000 classes' || complain 'import does not warn of a new head'
run 0 'missing +bn2.bias' "$prle" import "$tmp/lacking.safetensors" --net meso4 --size 64 -o "$tmp/lacking.h5"
run 3 'missing, the first is bn2.bias \(--strict\)' "$prle" import "$tmp/lacking.safetensors" --net meso4 --size 64 --strict -o "$tmp/no.h5"
run 3 'fc1.weight: f32 \[16,64\] for \[16,1024\]' "$prle" import "$tmp/whole.safetensors" --net meso4 --size 256 -o "$tmp/no.h5"
[ ! -e "$tmp/no.h5" ] || complain 'a refused import left a file'
run 0 '"name": "fc2.bias"' "$prle" import "$tmp/whole.safetensors" --net meso4 --size 64 --json
python3 -m json.tool "$tmp/out" > /dev/null || complain 'import --json is not JSON'

# And back: the same bits under the same names, in order.
run 0 'parameters of meso4' "$prle" export "$tmp/whole.h5" -o "$tmp/back.safetensors"
run 2 'can be written with the names of own' "$prle" export "$tmp/whole.h5" -o "$tmp/no" --names timm
python3 - "$tmp" > "$tmp/out" 2> "$tmp/err" << 'P' || complain 'export does not give back what was imported'
import json, struct, sys
def load(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + n])
    assert header.pop("__metadata__")["format"] == "pt"
    return {name: (t["dtype"], t["shape"], raw[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]]) for name, t in header.items()}
one, two = load(sys.argv[1] + "/whole.safetensors"), load(sys.argv[1] + "/back.safetensors")
del one["step"]
assert {n for n in two if not n.endswith("num_batches_tracked")} == {n.removeprefix("state_dict.module.") for n in one}
assert all(two[n.removeprefix("state_dict.module.")] == t for n, t in one.items())
P

echo "$failures failures"
[ "$failures" -eq 0 ]
