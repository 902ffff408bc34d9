#!/usr/bin/python3
"""exchange.py - whole networks between PyTorch and prle, and back: the same bits, the same scores. Run by hand:

    /usr/bin/python3 tests/golden/exchange.py build/dev/prle [NET ...]     # Debian's PyTorch 1.13
    PYTHON tests/golden/exchange.py build/dev/prle [NET ...]               # one with a new PyTorch, safetensors and timm

For each network: seeded random weights; written as .pth (zip, legacy, half precision) and .safetensors; imported with --strict;
exported, compared bit for bit, and taken by load_state_dict(strict=True); P(fake) of a picture by `prle predict` beside PyTorch's.
With timm, its modules' files too, under its own names. One line a file; exit code 1 when anything differs.
"""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import models

try:
    import safetensors.torch
except ImportError:
    safetensors = None
try:
    import timm
except ImportError:
    timm = None

SIZE = 256  # pixels
TOLERANCE = 1e-5  # of a probability, f32
OURS = ["xception", "resnet50", "efficientnet_b4", "efficientnet_b4_same", "efficientnet_b4_symmetric", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn",
        "f3net", "f3net_both"]
TIMM = {"legacy_xception": "xception", "resnet50": "resnet50", "efficientnet_b4": "efficientnet_b4_symmetric",
        "tf_efficientnet_b4": "efficientnet_b4_same", "vgg16": "vgg16", "vgg19_bn": "vgg19_bn"}
TIMM_SIZE = {"vgg16": 224, "vgg19_bn": 224}  # elsewhere timm's classifier slides over the features, where torchvision's pools them to 7 x 7
TYPES = {"F32": np.float32, "F64": np.float64, "I64": np.int64}


def randomise(model):
    """Weights as they are, statistics and counters that would be missed."""
    generator = torch.Generator().manual_seed(7)
    for name, t in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            t.fill_(12345)
        elif name.endswith("running_mean"):
            t.copy_(0.1 * torch.randn(t.shape, generator=generator))
        elif name.endswith("running_var"):
            t.copy_(0.75 + 0.5 * torch.rand(t.shape, generator=generator))
        elif "_xcep.fc." in name:
            t.zero_()  # F3-Net never reads it, and an export has zeros there
    return model.eval()


def picture(path, size):
    """RGB noise that is smooth enough to be a picture, and nowhere flat: spectra of flat windows are logarithms of rounding errors.
    Returns what a network sees of it."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 224, (size // 8, size // 8, 3))
    pixels = (np.kron(coarse, np.ones((8, 8, 1), int)) + rng.integers(0, 32, (size // 8 * 8, size // 8 * 8, 3))).astype(np.uint8)
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)) +
                     chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return torch.from_numpy(((pixels / 255 - 0.5) / 0.5).astype(np.float32)).permute(2, 0, 1)[None]


def read_safetensors(path):
    raw = path.read_bytes()
    n = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + n])
    header.pop("__metadata__", None)
    return {name: torch.from_numpy(np.frombuffer(raw[8 + n:], TYPES[t["dtype"]], int(np.prod(t["shape"], dtype=np.int64)), t["data_offsets"][0])
                                   .reshape(t["shape"]).copy()) for name, t in header.items()}


def same_bits(a, b):
    return list(a.shape) == list(b.shape) and a.dtype == b.dtype and a.numpy().tobytes() == b.contiguous().numpy().tobytes()


def prle(*words):
    done = subprocess.run([PRLE, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def files_of(model, folder, whole):
    """What people would save of it: (path, its values in f32)."""
    state = model.state_dict()
    torch.save({"epoch": 1, "state_dict": {"module." + k: v for k, v in state.items()}}, folder / "zip.pth")
    yield folder / "zip.pth", state
    if not whole:
        return
    if isinstance(model, models.Xception):
        old = {"model." + k.replace("fc.", "last_linear."): v.flatten(1) if "pointwise" in k else v for k, v in state.items()
               if not k.endswith("num_batches_tracked")}
        torch.save(old, folder / "faceforensics.pth", _use_new_zipfile_serialization=False)
        yield folder / "faceforensics.pth", {k: v * 0 if k.endswith("num_batches_tracked") else v for k, v in state.items()}
    torch.save(state, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    yield folder / "legacy.pth", state
    half = {k: v.bfloat16() if v.is_floating_point() else v for k, v in state.items()}
    torch.save({"model": half}, folder / "bf16.pth")
    exact = lambda k, v: not v.is_floating_point() or k.rsplit(".")[-1] in models.CONSTANTS  # what is constant need not be read
    yield folder / "bf16.pth", {k: state[k] if exact(k, v) else v.float() for k, v in half.items()}
    if safetensors:
        safetensors.torch.save_file({k: v.contiguous() for k, v in state.items()}, folder / "all.safetensors")
        yield folder / "all.safetensors", state


def moderate(model, x):
    """Divides the last layer by what it gives, so that a probability tells more than which logit is larger."""
    with torch.no_grad():
        scale = float(model(x).abs().max())
        *_, weight, bias = model.parameters()
        weight /= scale
        bias /= scale


def check(label, model, net, names, folder, whole, size=SIZE):
    model = randomise(model)
    x = picture(folder / "a.png", size)
    moderate(model, x)
    bad = 0
    for path, state in files_of(model, folder, whole):
        model.load_state_dict(state)
        with torch.no_grad():
            logits = model(x)[0].double()
        expected = float(torch.softmax(logits, 0)[1] if len(logits) == 2 else torch.sigmoid(logits[0]))
        report = json.loads(prle("import", path, "--net", net, "--strict", "--size", size, "-o", folder / "m.h5", "--json", "--log-level", "error"))
        score = json.loads(prle("predict", "--model", folder / "m.h5", folder / "a.png", "--threshold", "0.5", "--json"))["files"][0]["score"]
        equal = "not exported"
        if names is not None:
            prle("export", folder / "m.h5", "-o", folder / "back.safetensors", "--names", names)
            back = read_safetensors(folder / "back.safetensors")
            model.load_state_dict(back, strict=True)
            equal = all(same_bits(back[k], v) for k, v in state.items()) and len(back) == len(state)
        ok = equal is not False and abs(score - expected) <= TOLERANCE and report["counts"]["missing"] == 0
        bad += not ok
        print(f"{'ok ' if ok else 'BAD'} {label} {path.name}: names {report['names']}, prefix '{report['prefix']}', {report['counts']['loaded']} loaded, "
              f"{report['counts']['converted']} converted; equal bits: {equal}; P(fake) {score:.8f}, PyTorch's {expected:.8f}", flush=True)
    return bad


def main():
    wanted = sys.argv[2:]
    bad = 0
    for net in OURS:
        if wanted and net not in wanted:
            continue
        torch.manual_seed(1)
        with tempfile.TemporaryDirectory() as folder:
            first = {"xception": "cadene", "efficientnet_b4": "lukemelas", "f3net": "f3net"}
            names = next((v for k, v in first.items() if net.startswith(k)), "torchvision")
            try:
                model = models.build(net, 2).float()
            except (KeyError, AttributeError, TypeError):
                print(f"--  {net}: models.py does not build it")
                continue
            bad += check(net, model, net, names, pathlib.Path(folder), True)
    for name, net in TIMM.items():
        if timm is None or (wanted and "timm" not in wanted):
            continue
        torch.manual_seed(1)
        with tempfile.TemporaryDirectory() as folder:
            names = {"xception": "cadene", "resnet50": "torchvision", "vgg16": None, "vgg19_bn": None}.get(net, "timm")
            bad += check("timm's " + name, timm.create_model(name, num_classes=2), net, names, pathlib.Path(folder), False,
                         TIMM_SIZE.get(name, SIZE))
    return 1 if bad else 0


PRLE = sys.argv[1]
sys.exit(main())
