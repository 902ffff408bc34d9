"""weights.py - weights, inputs and probes by a formula that golden.c computes to the same bits.

Element i of the tensor `name` is made of h = mix(fnv1a64(name) + (i + 1) * GOLDEN), the splitmix64 generator seeded by the
name, and of s = 2 (h >> 11) / 2^53 - 1 in [-1,1), which is exact in double. What becomes of s depends on the kind of tensor,
which its name and number of dimensions tell (value below). One rounding per operation, no fused multiply-add.
"""
import numpy as np

GOLDEN = 0x9E3779B97F4A7C15
GAIN = 0.8  # of He's bound: activations neither die nor grow through the deepest network here


def fnv1a64(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return h


def signed_unit(name, count, start=0):
    """[count] doubles from element `start` on, uniform in [-1,1)."""
    h = np.uint64(fnv1a64(name)) + (np.arange(start, start + count, dtype=np.uint64) + np.uint64(1)) * np.uint64(GOLDEN)
    h = (h ^ h >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ h >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    h ^= h >> np.uint64(31)
    return 2.0 * ((h >> np.uint64(11)).astype(np.float64) * 2.0**-53) - 1.0


def value(name, shape):
    """The tensor `name`: a parameter or buffer by its last word, anything else uniform in [-1,1)."""
    shape = tuple(shape)
    s = signed_unit(name, int(np.prod(shape, dtype=np.int64)))
    word = name.rsplit(".", 1)[-1] if "." in name else ""
    if word == "weight" and len(shape) >= 2:  # convolution, linear: fan-in is what one output sums over
        s *= GAIN * np.sqrt(6.0 / float(np.prod(shape[1:], dtype=np.int64)))
    elif word == "weight":  # batch norm
        s = 1.0 + 0.2 * s
    elif word in ("bias", "running_mean"):
        s *= 0.1
    elif word == "running_var":
        s = 1.0 + 0.3 * s
    return s.reshape(shape)


def labels(count):
    return np.arange(count, dtype=np.int64) % 2
