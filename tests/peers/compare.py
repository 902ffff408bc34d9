#!/usr/bin/env python3
"""compare.py - prle beside PyTorch on one machine in one run: training, inference and Grad-CAM, images per second.

    python3 -m venv peer && peer/bin/pip install torch torchvision timm grad-cam
    peer/bin/python tests/peers/compare.py --prle build/release/prle --net resnet50 --suite infer --dtype f32 bf16
    peer/bin/python tests/peers/compare.py --table results.jsonl

It lives with the tests because it needs what no user of prle does: PyTorch, and the networks as modules of tests/golden.

The two take turns, round by round, so that what else the machine does falls on both; a figure is the median of a program's rounds,
a ratio that of two such medians. Both get the same threads, batch and size, weights as drawn, and pictures of noise. PyTorch runs as
its documentation says it is fastest on processors: channels_last, autocast for bf16, fused Adam, inference_mode, plain and compiled
(torch.compile). It also gets what prle gives itself, an allocator that keeps its pages (--no-malloc: glibc's defaults).

--device cuda: the same on a GPU, where both may use TF32 in f32 and PyTorch tries cuDNN's algorithms out (cudnn.benchmark)."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KEEP_PAGES = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "-1", "MALLOC_TOP_PAD_": str(64 << 20)}


def golden(name, **options):
    sys.path.insert(0, os.path.join(ROOT, "tests", "golden"))
    import models

    return getattr(models, name)(2, **options)


def torchvision_net(name):
    import torchvision

    return getattr(torchvision.models, name)(num_classes=2)


def timm_net(name):
    import timm

    return timm.create_model(name, num_classes=2)


# By prle's names: the module, and the layer whose output Grad-CAM weighs (prle's default node).
NETS = {
    "xception": (lambda: golden("Xception"), lambda m: m.act4),
    "resnet50": (lambda: torchvision_net("resnet50"), lambda m: m.layer4[-1]),
    "meso4": (lambda: golden("Meso4"), lambda m: m.conv4),
    "efficientnet_b4": (lambda: torchvision_net("efficientnet_b4"), lambda m: m.features[-1]),  # its paddings differ, not its work
    "efficientnet_b4_symmetric": (lambda: torchvision_net("efficientnet_b4"), lambda m: m.features[-1]),
    "efficientnet_b4_same": (lambda: timm_net("tf_efficientnet_b4"), lambda m: m.bn2),
    "vgg16": (lambda: torchvision_net("vgg16"), lambda m: m.features[29]),
    "vgg16_bn": (lambda: torchvision_net("vgg16_bn"), lambda m: m.features[42]),
    "f3net": (lambda: golden("F3Net", size=256, both=False), lambda m: m.FAD_xcep.act4),
}


class Torch:
    """One network in PyTorch; run() does one batch of the suite's work."""

    def __init__(self, args, suite, net, dtype, compiled):
        import torch

        self.torch, self.batch = torch, args.batch
        self.device = args.device
        torch.set_num_threads(args.threads)
        torch.manual_seed(1)
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
        build, layer = NETS[net]
        self.model = build().float().to(args.device, memory_format=torch.channels_last)
        self.x = torch.randn(args.batch, 3, args.size, args.size).to(args.device, memory_format=torch.channels_last)
        self.y = (torch.arange(args.batch) % 2).to(args.device)
        self.autocast = lambda: torch.autocast(args.device, dtype=torch.bfloat16, enabled=dtype == "bf16")
        self.model.train(suite == "train")
        if suite == "cam":
            from pytorch_grad_cam import GradCAM
            from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

            self.cam = GradCAM(model=self.model, target_layers=[layer(self.model)])
            self.targets = [ClassifierOutputTarget(int(c)) for c in self.y]
        if suite == "train":
            self.loss = torch.nn.CrossEntropyLoss()
            self.adam = torch.optim.Adam(self.model.parameters(), lr=2e-4, fused=True)
        mode = "reduce-overhead" if args.device == "cuda" else "default"  # with CUDA graphs
        self.forward = torch.compile(self.model, mode=mode) if compiled else self.model
        self.run = {"train": self.train, "infer": self.infer, "cam": self.explain}[suite]

    def train(self):
        self.adam.zero_grad(set_to_none=True)
        with self.autocast():
            loss = self.loss(self.forward(self.x), self.y)
        loss.backward()
        self.adam.step()

    def infer(self):
        with self.torch.inference_mode(), self.autocast():
            self.forward(self.x)

    def explain(self):
        with self.autocast():
            self.cam(input_tensor=self.x, targets=self.targets)

    def wait(self):
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def rate(self, seconds):
        """Steps are queued ten at a time: nobody waits for a GPU after each."""
        begin, n = time.perf_counter(), 0
        while n == 0 or time.perf_counter() - begin < seconds:
            for _ in range(10 if self.device == "cuda" else 1):
                self.run()
                n += 1
            self.wait()
        return n * self.batch / (time.perf_counter() - begin)


def prle_rate(args, suite, net, dtype):
    command = [args.prle, "bench", suite, "--net", net, "--dtypes", dtype, "--threads", args.threads, "--batch", args.batch,
               "--size", args.size, "--rounds", 1, "--seconds", args.seconds, "--device", args.device, "--json"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr.strip())
    return json.loads(done.stdout)["cells"][0]["median"]


def torch_make(args, suite, net, dtype, compiled):
    """None, and why on stderr, where PyTorch cannot."""
    try:
        peer = Torch(args, suite, net, dtype, compiled)
        for _ in range(5 if args.device == "cuda" else 2):  # compiles, touches pages, makes the optimiser's state
            peer.run()
        peer.wait()
        return peer
    except Exception as error:  # whatever a peer throws is its answer
        print(f"{suite} {net} {dtype}{' compiled' if compiled else ''}: {str(error).splitlines()[0][:160]}", file=sys.stderr)
        return None


def cell(args, suite, net, dtype):
    peers = {"pytorch": torch_make(args, suite, net, dtype, False)}
    if suite != "cam" and args.compile:
        peers["compiled"] = torch_make(args, suite, net, dtype, True)
    rates = {"prle": [], **{name: [] for name, peer in peers.items() if peer is not None}}
    for _ in range(args.rounds):
        rates["prle"].append(prle_rate(args, suite, net, dtype))
        for name in rates.keys() - {"prle"}:
            rates[name].append(peers[name].rate(args.seconds))
    return {"device": args.device, "suite": suite, "net": net, "dtype": dtype, "batch": args.batch, "size_px": args.size, "threads": args.threads,
            "keeps_pages": args.malloc, **rates}


def columns(record):
    median = {name: statistics.median(record[name]) for name in ("prle", "pytorch", "compiled") if record.get(name)}
    best = max((rate for name, rate in median.items() if name != "prle"), default=None)
    figures = [f"{median[name]:.1f}" if name in median else "-" for name in ("prle", "pytorch", "compiled")]
    return [record["suite"], record["net"], record["dtype"], *figures, f"{median['prle'] / best:.2f}" if best else "-"]


def table(records):
    print("| suite | network | type | prle | PyTorch | compiled | prle / the better |\n|---|---|---|---|---|---|---|")
    newest = {(r["suite"], r["net"], r["dtype"]): r for r in records}  # a cell measured again replaces the earlier one
    for key in sorted(newest):
        print("| " + " | ".join(columns(newest[key])) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prle", default=os.path.join(ROOT, "build", "release", "prle"), help="the program")
    parser.add_argument("--suite", nargs="+", default=["train", "infer", "cam"], choices=["train", "infer", "cam"])
    parser.add_argument("--net", nargs="+", default=["xception", "resnet50"], choices=sorted(NETS))
    parser.add_argument("--dtype", nargs="+", default=["f32", "bf16"], choices=["f32", "bf16"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="turns each program takes")
    parser.add_argument("--seconds", type=float, default=6, help="of a turn")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave torch.compile out")
    parser.add_argument("--no-malloc", dest="malloc", action="store_false", help="PyTorch with glibc's defaults")
    parser.add_argument("--out", help="append a JSON line per cell: a long run can be done in pieces")
    parser.add_argument("--table", metavar="FILE", help="no run: print the table of such a file")
    args = parser.parse_args()

    if args.table:
        return table([json.loads(line) for line in open(args.table)])
    if args.malloc and any(os.environ.get(key) != value for key, value in KEEP_PAGES.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEP_PAGES})  # malloc reads them at the start
    records = []
    for suite in args.suite:
        for net in args.net:
            for dtype in args.dtype:
                records.append(cell(args, suite, net, dtype))
                print("  ".join(columns(records[-1])), flush=True)
                if args.out:
                    with open(args.out, "a") as file:
                        file.write(json.dumps(records[-1]) + "\n")
    table(records)


if __name__ == "__main__":
    main()
