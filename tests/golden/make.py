#!/usr/bin/python3
"""make.py [NAME ...] - writes the golden data: tests/golden/NAME.txt (without names: ops, cams and every network) and manifest.json.

A tensor is recorded by its shape, L2 norm, largest magnitude, dot products with three probes (weights.py, named NAME/probe0 ...)
and its first four values, or all values where they are few. What the sets are: README.md.
"""
import hashlib
import json
import pathlib
import platform
import statistics
import sys

import numpy as np
import torch
import torch.nn.functional as F
import torchvision

import models
import weights

HERE = pathlib.Path(__file__).parent
N_PROBES, N_FIRST, N_ALL = 3, 4, 64
PIECE = 2**24  # elements of a large tensor that are looked at together
CAM_SQUARE = 32  # pixels
BOTH = ("frozen", "train")  # batch norm's two ways; a network without it has frozen steps only
CASES = {  # what is computed in double, and how large
    # steps: what is recorded of a training step; brief: only what depends on the padding
    # variance: a factor of running variances that keeps a deep network's logits dependent on its input; else 1
    # n_all: tensors up to this size are recorded whole; else N_ALL
    # infer: sizes of inference in pixels, where a network does not take any; else 256 and 299
    # smooth: pixels and input of the comparison of f32 with f64, chosen by margins.py: else the recorded step's
    # cam_input: of attention maps, where "input/cam" brings a unit behind the node to a kink (as in margins.py)
    # bf16: PyTorch's own distance under autocast is recorded, where it is beyond what other networks keep
    "resnet50": {"n_out": 2, "batch": 4, "size": 64, "steps": BOTH, "cam_size": 96, "cam_input": "input/cam1", "adam_steps": 5},
    "xception": {"n_out": 2, "batch": 2, "size": 96, "steps": BOTH, "cam_size": 96, "adam_steps": 0, "smooth": (48, "input/21")},
    "vgg16": {"n_out": 2, "batch": 2, "size": 64, "steps": ("frozen",), "cam_size": 64, "adam_steps": 0},
    "vgg16_bn": {"n_out": 2, "batch": 2, "size": 64, "steps": BOTH, "cam_size": 64, "adam_steps": 0},
    "vgg19": {"n_out": 2, "steps": (), "adam_steps": 0},  # the same code as vgg16's: inference only
    "vgg19_bn": {"n_out": 2, "steps": (), "adam_steps": 0},
    "f3net": {"n_out": 2, "batch": 2, "size": 96, "steps": BOTH, "cam_size": 96, "adam_steps": 0, "smooth": (48, "input/287")},
    "f3net_both": {"n_out": 2, "batch": 2, "size": 64, "steps": BOTH, "adam_steps": 0, "bf16": True},
    "meso4": {"n_out": 2, "batch": 4, "size": 256, "steps": BOTH, "cam_size": 256, "adam_steps": 20, "infer": (256,)},
    "efficientnet_b4": {
        "n_out": 2, "batch": 4, "size": 96, "steps": BOTH, "cam_size": 96, "adam_steps": 0, "variance": 0.75, "n_all": N_FIRST, "bf16": True,
    },
    "efficientnet_b4_same": {"n_out": 2, "batch": 2, "size": 75, "steps": ("brief",), "adam_steps": 0, "variance": 0.75, "bf16": True},
    "efficientnet_b4_symmetric": {"n_out": 2, "batch": 2, "size": 75, "steps": ("brief",), "adam_steps": 0, "variance": 0.75, "bf16": True},
}
hashes = {}


def formula(name, shape):
    """A tensor of the formula, its SHA-256 noted for the manifest when it is an input."""
    x = weights.value(name, shape)
    if name.startswith("input"):
        key = name + " " + "x".join(map(str, shape))
        hashes[key] = hashlib.sha256(x.astype("<f8").tobytes()).hexdigest()
    return torch.from_numpy(x)


def dot(flat, probe=None):
    """Sum of squares, or the dot product with a probe, in long double."""
    total = np.longdouble(0)
    for start in range(0, flat.size, PIECE):
        a = flat[start : start + PIECE]
        b = a if probe is None else weights.signed_unit(probe, a.size, start)
        total += np.dot(a.astype(np.longdouble), b.astype(np.longdouble))
    return total


def record(name, tensor, whole=False, n_all=N_ALL):
    x = tensor.detach().to(torch.float64).contiguous().numpy()
    flat = x.reshape(-1)
    assert np.isfinite(flat).all(), f"{name}: not finite"
    assert np.count_nonzero(flat) * 50 >= flat.size and flat.size > 0, f"{name}: mostly zero proves nothing"
    kept = flat if whole or flat.size <= n_all else flat[:N_FIRST]
    return {
        "name": name,
        "shape": list(x.shape),
        "norm": float(np.sqrt(dot(flat))),
        "max": float(np.abs(flat).max()),
        "probe": [float(dot(flat, f"{name}/probe{k}")) for k in range(N_PROBES)],
        "first": [float(v) for v in kept],
    }


def build(net, n_out, size=256, dtype=torch.float64):
    model = models.build(net, n_out, size).to(torch.float64)
    state = model.state_dict()
    for name, tensor in state.items():
        if name.rsplit(".")[-1] not in models.CONSTANTS:
            tensor.copy_(formula(name, tensor.shape))
        if name.endswith("running_var"):
            tensor *= CASES[net].get("variance", 1.0)
    return model.to(dtype)


def mean_loss(logits, y):
    """Cross-entropy on two logits, binary cross-entropy on one."""
    if logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(logits[:, 0], y.to(logits.dtype))
    return F.cross_entropy(logits, y)


def step(model, x, y):
    """One forward and backward pass: logits, loss, gradients by parameter, gradient of the input."""
    x = x.clone().requires_grad_()
    model.zero_grad()
    logits = model(x)
    loss = mean_loss(logits, y)
    loss.backward()
    return logits, loss, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}, x.grad


def step_records(result, n_all=N_ALL):
    logits, loss, grads, dx = result
    return [record("logits", logits), record("loss", loss), record("grad/input", dx)] + [
        record("grad/" + name, g, n_all=n_all) for name, g in grads.items()
    ]


def stats(model, n_all=N_ALL):
    running = [(name, b) for name, b in model.named_buffers() if name.rsplit(".")[-1].startswith("running")]
    return [record("stat/" + name, b, n_all=n_all) for name, b in running]


def distances(single, double):
    """L2 distance of each gradient in single precision from the one in double, relative to the latter."""
    return sorted(float((single[n].double() - g).norm() / g.norm()) for n, g in double.items())


def trajectory(net, n_out, batch, size, n_steps, make_optimizer, clip=None):
    """Losses before each of n_steps updates in training mode, a fresh batch each; what the weights have become."""
    model = build(net, n_out, size).train()
    optimizer = make_optimizer(model)
    y = torch.from_numpy(weights.labels(batch))
    losses = []
    for k in range(n_steps):
        optimizer.zero_grad()
        loss = mean_loss(model(formula(f"input/step{k}", (batch, 3, size, size))), y)
        loss.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        losses.append(loss.detach())
    kept = [(n, p) for n, p in model.named_parameters() if net == "meso4" or p.dim() in (2, 4) and p.shape[0] in (2, 512)]
    return [record("losses", torch.stack(losses))] + [record("weight/" + n, p) for n, p in kept]


def unit_range(maps):
    """Each map [H,W] of a batch shifted and scaled to [0,1]; a constant one becomes 0."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return torch.where(high > low, (maps - low) / (high - low), 0.0)


def eigencam(h):
    """[C,H,W]: the pixels' projection on the first principal direction of the channels, with the sign of the layer's activity."""
    x = h.flatten(1).T
    x = x - x.mean(0)
    _, s, vt = torch.linalg.svd(x, full_matrices=False)
    projection = x @ vt[0]
    agreement = (projection @ x.sum(1)) / (projection.norm() * x.sum(1).norm())
    assert s[1] < 0.99 * s[0] and abs(agreement) > 0.02, "a direction or sign that rounding could change"
    return (projection * torch.sign(agreement)).view(h.shape[1:])


def cam_weights(method, h, g):
    """What a method multiplies the values [B,C,H,W] with, from their gradients: cam/method.h."""
    if method == "gradcam":
        return g.mean((2, 3), keepdim=True)
    if method == "gradcam++":
        alpha = g**2 / (2 * g**2 + h.sum((2, 3), keepdim=True) * g**3 + 1e-6)
        return (F.relu(g) * alpha).sum((2, 3), keepdim=True)
    return {"layercam": F.relu(g), "hirescam": g}[method]


CAM_METHODS = ("gradcam", "gradcam++", "layercam", "hirescam", "eigencam")


def node_cam(method, h, g):
    maps = torch.stack([eigencam(image) for image in h]) if method == "eigencam" else (cam_weights(method, h, g) * h).sum(1)
    return unit_range(F.relu(maps))


def cams(model, modules, x, y, score):
    """Maps [B,H,W] by method, of each image's class y: method.md, stage 1a. score: prob (by its margin) or logit."""
    kept = {}
    parts = dict(model.named_modules())
    handles = [parts[m].register_forward_hook(lambda module, _, out, m=m: kept.update({m: out})) for m in modules]
    logits = model(x)
    for handle in handles:
        handle.remove()
    of_fake = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
    scores = logits.gather(1, y[:, None])[:, 0] if score == "logit" else torch.where(y == 1, of_fake, -of_fake)
    grads = torch.autograd.grad(scores.sum(), [kept[m] for m in modules])
    size = tuple(max(kept[m].shape[d] for m in modules) for d in (2, 3))
    out = {}
    for method in CAM_METHODS:
        maps = [node_cam(method, kept[m].detach(), g) for m, g in zip(modules, grads)]
        maps = [F.interpolate(a[:, None], size, mode="bilinear", align_corners=False)[:, 0] for a in maps]
        out[method] = maps[0] if len(maps) == 1 else unit_range(torch.stack(maps).mean(0))
    return out


def cam_set(net, n_out, size):
    """Maps of two images of coloured squares (noise gives flat maps), the first explained as real and the second as fake."""
    coarse = formula(CASES[net].get("cam_input", "input/cam"), (2, 3, size // CAM_SQUARE, size // CAM_SQUARE))
    x = coarse.repeat_interleave(CAM_SQUARE, 2).repeat_interleave(CAM_SQUARE, 3)
    model, y = build(net, n_out, size).eval(), torch.tensor([0, 1])
    kept = []
    for nodes, modules in models.CAM_NODES[net].items():
        if n_out == 1 and nodes != "default":
            continue
        for score in ("prob", "logit") if n_out == 2 and nodes == "default" else ("prob",):
            for method, maps in cams(model, modules, x, y, score).items():
                kept.append(record(f"{method}/{nodes}/{score}", maps, whole=True))
    return kept


def cam_sets():
    """By network; with one logit: NET_one."""
    out = {}
    for net, case in CASES.items():
        if "cam_size" in case:
            out[net] = cam_set(net, 2, case["cam_size"])
            out[net + "_one"] = cam_set(net, 1, case["cam_size"])
    return out


def infer_sets(net, n_out, bf16):
    """Logits at each size in double; PyTorch's own distance from them in single precision, and under autocast to bfloat16."""
    sets, own, own_bf16 = {}, [], []
    for size in CASES[net].get("infer", (256, 299)):
        x = formula(f"input/{size}", (2, 3, size, size))
        with torch.no_grad():
            logits = build(net, n_out, size).eval()(x)
            model = build(net, n_out, size, torch.float32).eval()
            far = lambda y: (y.double() - logits).abs().max() / logits.abs().max()
            sets[f"infer{size}"] = [record("logits", logits)]
            own.append(record(f"infer{size}_logits", far(model(x.float()))))
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                if bf16:
                    own_bf16.append(record(f"infer{size}_logits", far(model(x.float()))))
    return {**sets, "torch_f32": own, **({"torch_bf16": own_bf16} if bf16 else {})}


def step_sets(net, case, training):
    """A step with batch norm frozen or by the batch, in double; PyTorch's own distances in single precision, of a smooth step."""
    word, n_all = "train" if training else "frozen", case.get("n_all", N_ALL)
    y = torch.from_numpy(weights.labels(case["batch"]))

    def run(size, name, dtype=torch.float64):
        model = build(net, case["n_out"], size, dtype).train(training)
        return step(model, formula(name, (case["batch"], 3, size, size)).to(dtype), y), model

    result, model = run(case["size"], "input")
    smooth = case.get("smooth", (case["size"], "input"))
    far = distances(run(*smooth, torch.float32)[0][2], run(*smooth)[0][2])
    return step_records(result, n_all) + (stats(model, n_all) if training else []), [
        record(f"{word}_gradient_median", torch.tensor(statistics.median(far), dtype=torch.float64)),
        record(f"{word}_gradient_max", torch.tensor(far[-1], dtype=torch.float64)),
    ]


def brief_set(net, case):
    """A step with batch norm by the batch: logits, loss, gradients of the input and of the kernels that stride, two statistics."""
    x = formula("input", (case["batch"], 3, case["size"], case["size"]))
    model = build(net, case["n_out"]).train()
    logits, loss, grads, dx = step(model, x, torch.from_numpy(weights.labels(case["batch"])))
    strided = {f"{name}.weight" for name, m in model.named_modules() if getattr(m, "stride", None) == (2, 2)}
    return step_records((logits, loss, {name: g for name, g in grads.items() if name in strided}, dx)) + stats(model)[:2]


def network_sets(net, case):
    n_out = case["n_out"]
    sets = infer_sets(net, n_out, case.get("bf16", False))
    for word in case["steps"]:
        if word == "brief":
            sets["train"] = brief_set(net, case)
            continue
        sets[word], far = step_sets(net, case, word == "train")
        sets["torch_f32"] += far
    if case["adam_steps"] > 0:
        sets["adam"] = trajectory(net, n_out, case["batch"], case["size"], case["adam_steps"], lambda m: torch.optim.Adam(m.parameters(), 2e-4))
    return sets


def decay_groups(model, decay):
    """Weight decay on convolution and linear weights, none on batch norm and biases."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    return [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]


def meso4_sets(case):
    """What is cheap enough to try on the small network only: the other optimisers, clipping, one logit."""
    args = ("meso4", 2, case["batch"], case["size"], 5)
    sets = {
        "adam_decay": trajectory(*args, lambda m: torch.optim.Adam(m.parameters(), 2e-4, weight_decay=5e-4)),
        "adamw": trajectory(*args, lambda m: torch.optim.AdamW(decay_groups(m, 0.01), 2e-4)),
        "sgd": trajectory(*args, lambda m: torch.optim.SGD(m.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)),
        "sgd_clip": trajectory(*args, lambda m: torch.optim.SGD(m.parameters(), 0.01, momentum=0.9), clip=0.5),
    }
    x = formula("input", (case["batch"], 3, case["size"], case["size"]))
    y = torch.from_numpy(weights.labels(case["batch"]))
    model = build("meso4", 1, case["size"]).train()
    sets["one_logit"] = step_records(step(model, x, y)) + stats(model)
    return sets


def op_case(name, fn, x_shape, params):
    """One operator: output, and the gradients of <output, dy> with dy from the formula."""
    args = {"x": formula(f"{name}/x", x_shape).requires_grad_()}
    for word, shape in params.items():
        args[word] = formula(f"{name}/p.{word}", shape).requires_grad_()
    y = fn(*args.values())
    dy = formula(f"{name}/dy", y.shape)
    grads = torch.autograd.grad((y * dy).sum(), list(args.values()))
    return [record(f"{name}/y", y)] + [record(f"{name}/d{word}", g) for word, g in zip(args, grads)]


def op_sets():
    conv = lambda **kw: lambda x, w, b: F.conv2d(x, w, b, **kw)
    sets = {
        "conv2d": op_case("conv/plain", conv(padding=1), (2, 5, 7, 9), {"weight": (4, 5, 3, 3), "bias": (4,)})
        + op_case("conv/stride2", conv(stride=2, padding=3), (2, 3, 15, 12), {"weight": (6, 3, 7, 7), "bias": (6,)})
        + op_case("conv/valid_stride2", conv(stride=2), (1, 3, 14, 13), {"weight": (4, 3, 3, 3), "bias": (4,)})
        + op_case("conv/pointwise_stride2", conv(stride=2), (2, 8, 9, 8), {"weight": (5, 8, 1, 1), "bias": (5,)})
        + op_case("conv/depthwise", conv(padding=1, groups=6), (2, 6, 8, 5), {"weight": (6, 1, 3, 3), "bias": (6,)})
        + op_case("conv/groups", conv(padding=2, groups=2), (2, 4, 6, 6), {"weight": (6, 2, 5, 5), "bias": (6,)})
        + op_case(
            "conv/uneven_pad",  # left 0, right 1, top 1, bottom 2
            lambda x, w, b: F.conv2d(F.pad(x, (0, 1, 1, 2)), w, b, stride=2),
            (2, 3, 8, 8),
            {"weight": (4, 3, 3, 3), "bias": (4,)},
        ),
        "pool": op_case("pool/max_3_2_1", lambda x: F.max_pool2d(x, 3, 2, 1), (2, 3, 9, 12), {})
        + op_case("pool/max_2_2", lambda x: F.max_pool2d(x, 2), (2, 3, 9, 12), {})
        + op_case("pool/max_4_4", lambda x: F.max_pool2d(x, 4), (1, 2, 16, 18), {})
        + op_case("pool/mean_2_2", lambda x: F.avg_pool2d(x, 2), (2, 3, 9, 12), {})
        + op_case("pool/global", lambda x: x.mean((2, 3)), (3, 4, 5, 7), {}),
        "act": op_case("act/relu", F.relu, (3, 5), {})
        + op_case("act/leaky_relu", lambda x: F.leaky_relu(x, 0.1), (3, 5), {})
        + op_case("act/sigmoid", torch.sigmoid, (3, 5), {})
        + op_case("act/swish", F.silu, (3, 5), {}),
        "linear": op_case("linear", F.linear, (3, 7), {"weight": (5, 7), "bias": (5,)}),
        "resize": [  # bilinear, half-pixel centres, no antialias: cams to masks
            record(
                f"resize/{h}x{w}_to_{H}x{W}",
                F.interpolate(formula(f"resize/{h}x{w}", (1, 1, h, w)), (H, W), mode="bilinear", align_corners=False)[0, 0],
            )
            for h, w, H, W in ((8, 8, 256, 256), (16, 16, 256, 256), (10, 10, 256, 256), (1, 1, 5, 7), (7, 9, 5, 4), (3, 5, 3, 5))
        ],
        "batch_norm": [],
    }
    for name, training in (("bn_frozen", False), ("bn_batch", True)):
        mean, var = formula(f"{name}/p.running_mean", (4,)), formula(f"{name}/p.running_var", (4,))
        params = {"weight": (4,), "bias": (4,)}
        fn = lambda x, w, b: F.batch_norm(x, mean, var, w, b, training, 0.1, 1e-5)
        sets["batch_norm"] += op_case(name, fn, (3, 4, 5, 6), params)
        sets["batch_norm"] += [record(f"{name}/mean", mean), record(f"{name}/var", var)]
    return sets


def loss_set():
    """Weighted losses: the sum of w_i l_i over the batch, divided by its size; logits from -40 to 40."""
    z2, z1 = 40 * formula("loss/z2", (6, 2)), 40 * formula("loss/z1", (6, 1))
    w, y = 1.5 + formula("loss/w", (6,)), torch.from_numpy(weights.labels(6))
    out = []
    for name, z in (("ce", z2), ("bce", z1)):
        z.requires_grad_()
        each = (
            F.cross_entropy(z, y, reduction="none")
            if name == "ce"
            else F.binary_cross_entropy_with_logits(z[:, 0], y.double(), reduction="none")
        )
        loss = (w * each).mean()
        loss.backward()
        out += [record(f"{name}/loss", loss), record(f"{name}/dz", z.grad)]
    return out


def formula_set():
    """One tensor of each kind, so that golden.c can show that it computes the same bits."""
    shapes = {"t.weight": (5, 3, 2, 2), "u.weight": (6,), "v.bias": (6,), "w.running_mean": (6,), "x.running_var": (6,), "input": (2, 3), "y.weight": (32, 16, 3, 3)}
    return [record(name, formula(name, shape)) for name, shape in shapes.items()]


def write(path, sets):
    """One tensor a line: set, name, shape, norm, max, probes, values."""
    lines = ["prle.golden 1"]
    for set_name, tensors in sets.items():
        for t in tensors:
            shape = "x".join(map(str, t["shape"])) or "scalar"
            numbers = [t["norm"], t["max"], *t["probe"], *t["first"]]
            lines.append(" ".join([set_name, t["name"], shape] + [f"{v:.17g}" for v in numbers]))
    path.write_text("\n".join(lines) + "\n")
    print(f"{path.name}: {path.stat().st_size // 1024} KiB")


def weights_hash(net, n_out):
    digest = hashlib.sha256()
    for name, tensor in build(net, n_out).state_dict().items():
        if name.rsplit(".")[-1] not in models.CONSTANTS:
            digest.update(name.encode() + b"\0" + tensor.numpy().astype("<f8").tobytes())
    return digest.hexdigest()


def manifest(nets):
    """Of all files; what is not made now is taken over from the manifest that is there."""
    path = HERE / "manifest.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    old_inputs, old_weights = before.get("sha256_inputs_f64", {}), before.get("sha256_weights_f64", {})
    return {
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        },
        "seed": "none: every number comes from the formula of weights.py",
        "torch_threads": torch.get_num_threads(),
        "cases": CASES,
        "sha256_inputs_f64": dict(sorted({**old_inputs, **hashes}.items())),
        "sha256_weights_f64": {
            **old_weights,
            **{net: weights_hash(net, case["n_out"]) for net, case in CASES.items() if net in nets},
        },
        "sha256_files": {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(HERE.glob("*.txt"))
            if path.name != "CMakeLists.txt"
        },
    }


def main():
    torch.set_num_threads(1)  # one order of sums
    names = sys.argv[1:] or ["ops", "cams", *CASES]
    if "ops" in names:
        write(HERE / "ops.txt", {"formula": formula_set(), **op_sets(), "loss": loss_set()})
    if "cams" in names:
        write(HERE / "cams.txt", cam_sets())
    for net, case in CASES.items():
        if net not in names:
            continue
        sets = network_sets(net, case)
        if net == "meso4":
            sets.update(meso4_sets(case))
        write(HERE / f"{net}.txt", sets)
    (HERE / "manifest.json").write_text(json.dumps(manifest(names), indent=1) + "\n")


if __name__ == "__main__":
    main()
