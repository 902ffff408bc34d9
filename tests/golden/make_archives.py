#!/usr/bin/python3
"""make_archives.py - writes the small files of weights in tests/golden/archives and what is in them, for tests/core/test_archive.c.

    /usr/bin/python3 tests/golden/make_archives.py       # Debian's PyTorch 1.13: *.pth of both containers
    PYTHON tests/golden/make_archives.py                 # one with a new PyTorch and safetensors: new.pth, *.safetensors

Both add to expected.json: file -> tensor -> [type, shape, values in row-major order]. Types are prle's names.
"""
import argparse
import collections
import io
import json
import pathlib
import pickle
import struct
import unittest.mock
import zipfile
import zlib

import torch

HERE = pathlib.Path(__file__).parent / "archives"
TYPES = {"float32": "f32", "float64": "f64", "float16": "f16", "bfloat16": "bf16", "int64": "i64", "int32": "i32", "int16": "i16",
         "int8": "i8", "uint8": "u8", "bool": "bool", "uint16": "u16"}


def tensors():
    """Every element type and way to lie in a storage."""
    base = torch.arange(12, dtype=torch.float32) / 8 - 0.5
    state = collections.OrderedDict()
    state["conv.weight"] = torch.linspace(-1, 1, 12).view(2, 1, 3, 2)
    state["base"] = base
    state["transposed"] = base[:6].view(2, 3).t()
    state["strided"] = base.view(3, 4)[1:, ::3]
    state["scalar"] = torch.tensor(2**40 + 7)
    state["empty"] = torch.zeros(0, 3)
    state["expanded"] = torch.tensor([[0.25], [4.0]]).expand(2, 3)
    for name in TYPES:
        if hasattr(torch, name) and name not in ("float32", "uint16"):
            low = 0 if name in ("uint8", "bool") else -1
            state[name] = torch.arange(low, 3).to(getattr(torch, name))
    return state


def expected_of(state, prefix=""):
    return {prefix + name: [TYPES[str(t.dtype).split(".")[1]], list(t.shape), t.to(torch.float64).reshape(-1).tolist()]
            for name, t in state.items()}


def storages(view):
    """An object as old pickles have it: {'w': a tensor on elements 2 to 5 of storage 's', or, with view, on that view of it}."""
    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return ("storage", torch.FloatStorage, "s", "cpu", 8, ("v", 2, 4) if view else None) if isinstance(obj, Storage) else None

    class Tensor:
        def __reduce__(self):
            return torch._utils._rebuild_tensor, (Storage(), 0 if view else 2, (2, 2), (2, 1))

    out = io.BytesIO()
    Pickler(out, protocol=2).dump({"w": Tensor()})
    return out.getvalue()


def legacy_with_view():
    parts = [pickle.dumps(0x1950a86a20f9469cfc6c, 2), pickle.dumps(1001, 2), pickle.dumps({"little_endian": True}, 2), storages(True),
             pickle.dumps(["s"], 2)]
    return b"".join(parts) + struct.pack("<q8f", 8, *range(8))


def zip64(entries):
    """A ZIP file in which every number that may have 64 bits has."""
    out = directory = b""
    for name, data in entries.items():
        name, crc, at = name.encode(), zlib.crc32(data), len(out)
        extra = struct.pack("<HHQQ", 1, 16, len(data), len(data))
        out += struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 45, 0, 0, 0, 0, crc, 2**32 - 1, 2**32 - 1, len(name), len(extra)) + name + extra + data
        extra = struct.pack("<HHH", 0x5555, 2, 0) + struct.pack("<HHQQQ", 1, 24, len(data), len(data), at)
        directory += struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 45, 45, 0, 0, 0, 0, crc, 2**32 - 1, 2**32 - 1, len(name), len(extra), 0,
                                 0, 0, 0, 2**32 - 1) + name + extra
    n, at = len(entries), len(out)
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, n, n, len(directory), at)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, at + len(directory), 1)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1, 4)
    return out + directory + end64 + locator + end + b"note"


def module():
    torch.manual_seed(5)
    return torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.Sequential(torch.nn.BatchNorm2d(1)))


def write_debian(expected):
    state = tensors()
    whole = {"epoch": 3, "best": 0.5, "state_dict": state, "args": argparse.Namespace(lr=0.1), "steps": [torch.ones(1), 2]}
    content = expected_of(state, "state_dict.") | {"steps.0": ["f32", [1], [1.0]]}
    torch.save(whole, HERE / "zip/all.pth")
    torch.save(whole, HERE / "legacy/all.pth", _use_new_zipfile_serialization=False)
    expected["zip/all.pth"] = expected["legacy/all.pth"] = content
    net = module()
    torch.save(net, HERE / "zip/module.pth")
    with unittest.mock.patch("torch.serialization.get_source_lines_and_file", side_effect=OSError):  # else PyTorch's source is in it
        torch.save(net, HERE / "legacy/module.pth", _use_new_zipfile_serialization=False)
    expected["zip/module.pth"] = expected["legacy/module.pth"] = expected_of(net.state_dict())
    (HERE / "legacy/view.pth").write_bytes(legacy_with_view())
    entries = {"a/data.pkl": storages(False), "a/data/s": struct.pack("<8f", *range(8))}
    (HERE / "zip/zip64.pth").write_bytes(zip64(entries))
    expected["legacy/view.pth"] = expected["zip/zip64.pth"] = {"w": ["f32", [2, 2], [2.0, 3.0, 4.0, 5.0]]}
    with zipfile.ZipFile(HERE / "zip/deflated.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)


def write_new(expected):
    import safetensors.torch

    state = tensors() | {"uint16": torch.arange(65534, 65536, dtype=torch.int32).to(torch.uint16)}
    torch.save({"model": state}, HERE / "zip/new.pth")
    expected["zip/new.pth"] = expected_of(state, "model.")
    apart = {name: t.contiguous().clone() for name, t in state.items()}
    safetensors.torch.save_file(apart, HERE / "safetensors/all.safetensors", metadata={"format": "pt"})
    expected["safetensors/all.safetensors"] = expected_of(apart)


def main():
    path = HERE / "expected.json"
    expected = json.loads(path.read_text()) if path.exists() else {}
    (write_debian if torch.__version__.startswith("1.") else write_new)(expected)
    rows = [f' {json.dumps(name)}: {json.dumps(expected[name])}' for name in sorted(expected)]
    path.write_text("{\n" + ",\n".join(rows) + "\n}\n")


main()
