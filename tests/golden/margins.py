#!/usr/bin/python3
"""margins.py NET SIZE FIRST LAST - how near inputs bring a network's units to the kinks of relu and of maxima, by hand:

    /usr/bin/python3 tests/golden/margins.py xception 48 0 120

Gradients jump where rounding moves a unit to the other side of a kink: one unit of fifty thousand changes them by 1e-3, whoever
computes, while rounding alone changes them by 1e-6. So f32 is compared with f64 on an input that keeps all units away from kinks.
For each input (the formula's "input/K") and each way of batch norm: how many units are expected on the other side in f32, with
errors of twice the root mean square of PyTorch's own at that layer; the nearest unit, in such errors; how many PyTorch moves.
The best go into `smooth` of CASES in make.py and into the tests of tests/nets.
"""
import math
import sys

import torch
import torch.nn.functional as F

import make


def kinks(model, x):
    """What each relu and max pool of a forward pass sees."""
    seen, relu, pool = [], F.relu, F.max_pool2d

    def seeing_relu(x, inplace=False):
        seen.append((x.double().clone(), None))
        return torch.relu(x)

    def seeing_pool(x, *window, **words):
        seen.append((x.double().clone(), window[:3]))
        return pool(x, *window, **words)

    F.relu, F.max_pool2d = seeing_relu, seeing_pool
    try:
        model(x)
    finally:
        F.relu, F.max_pool2d = relu, pool
    return seen


def distance(x, window):
    """Of each unit from its kink: its size, or what the largest value of its window is ahead of the next by."""
    if window is None:
        return x.abs()
    kernel, stride, pad = window
    windows = F.pad(x, (pad, pad, pad, pad), value=-1e30).unfold(2, kernel, stride).unfold(3, kernel, stride)
    largest = windows.flatten(4).topk(2, dim=-1).values
    return largest[..., 0] - largest[..., 1]


def margin(exact, single):
    expected, nearest, moved = 0.0, math.inf, 0
    for (x, window), (y, _) in zip(exact, single):
        error = 2 * (y - x).square().mean().sqrt() * (1 if window is None else math.sqrt(2))
        d = distance(x, window) / error
        expected += float(torch.erfc(d[d < 10] / math.sqrt(2)).sum()) / 2
        nearest = min(nearest, float(d.min()))
        moved += int(((x > 0) != (y > 0)).sum()) if window is None else 0
    return f"{expected:.2f} expected, nearest {nearest:.2f}, {moved} moved"


def main():
    net, size, first, last = sys.argv[1], *map(int, sys.argv[2:5])
    models = {(t, training): make.build(net, 2, size, t).train(training) for t in (torch.float64, torch.float32) for training in (True, False)}
    for k in range(first, last):
        x = make.formula(f"input/{k}", (make.CASES[net]["batch"], 3, size, size))
        with torch.no_grad():
            ways = [margin(kinks(models[torch.float64, way], x), kinks(models[torch.float32, way], x.float())) for way in (True, False)]
        print(f"{net} input/{k}: train {ways[0]}; frozen {ways[1]}", flush=True)


main()
