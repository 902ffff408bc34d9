#!/usr/bin/env python3
"""kernels.py BINARY ARCHITECTURE... - what ptxas made of each kernel in the binary, for each architecture ("90"): registers, threads of the
largest block, local memory, shared memory, and whether a GPU can hold such a block. Exit code 1 where one cannot, where a kernel
spills, or where one is missing for an architecture. cuobjdump --dump-resource-usage would say the same; it is not on every machine."""
import struct
import sys

FAT_MAGIC, FAT_PTX, FAT_CUBIN = 0xBA55ED50, 1, 2
REGISTERS, FRAME_BYTES, MAX_THREADS = 0x2F, 0x11, 0x05  # attributes of .nv.info: EIATTR_REGCOUNT, _FRAME_SIZE, _MAX_THREADS
BLOCK_REGISTERS, BLOCK_THREADS, BLOCK_SHARED_BYTES = 65536, 1024, 48 * 1024  # the least of compute capability 8.0 to 12.1


def sections(elf):
    """(name, bytes, section number) of each section; a .bss has as many zeros."""
    headers, = struct.unpack_from("<Q", elf, 0x28)
    header_bytes, n, names = struct.unpack_from("<HHH", elf, 0x3A)
    table = [struct.unpack_from("<IIQQQQ", elf, headers + i * header_bytes) for i in range(n)]
    for i, (name, kind, _, _, at, size) in enumerate(table):
        start = table[names][4] + name
        text = elf[start : elf.index(b"\0", start)].decode()
        yield text, bytes(size) if kind == 8 else elf[at : at + size], i


def attributes(info):
    """(attribute, value) of those with a value of their own size."""
    at = 0
    while at < len(info):
        form, attribute, n = struct.unpack_from("<BBH", info, at)
        at += 4
        if form == 4:
            yield attribute, info[at : at + n]
            at += n


def fat_entries(fat):
    """(kind, architecture, bytes) of everything in a .nv_fatbin."""
    at = 0
    while at + 16 <= len(fat):
        magic, _, header_bytes, n = struct.unpack_from("<IHHQ", fat, at)
        if magic != FAT_MAGIC:
            at += 8
            continue
        entry, end = at + header_bytes, at + header_bytes + n
        while entry < end:
            kind, _, entry_header, size = struct.unpack_from("<HHIQ", fat, entry)
            architecture, = struct.unpack_from("<I", fat, entry + 28)
            yield kind, architecture, fat[entry + entry_header : entry + entry_header + size]
            entry += entry_header + size
        at = end


def symbol_names(elf_sections):
    by_name = {name: data for name, data, _ in elf_sections}
    table, names = by_name[".symtab"], by_name[".strtab"]
    for at in range(0, len(table), 24):
        start, = struct.unpack_from("<I", table, at)
        yield names[start : names.index(b"\0", start)].decode()


def kernels_of(cubin):
    """name -> (registers, threads, frame bytes, shared bytes)"""
    all_sections = list(sections(cubin))
    names = list(symbol_names(all_sections))
    by_name = {name: data for name, data, _ in all_sections}
    registers, frames = {}, {}
    for attribute, value in attributes(by_name[".nv.info"]):
        if attribute in (REGISTERS, FRAME_BYTES):
            symbol, number = struct.unpack("<II", value)
            (registers if attribute == REGISTERS else frames)[names[symbol]] = number
    for name, data in by_name.items():
        if not name.startswith(".nv.info."):
            continue
        kernel, threads = name[len(".nv.info.") :], BLOCK_THREADS
        for attribute, value in attributes(data):
            if attribute == MAX_THREADS:
                x, y, z = struct.unpack("<III", value)
                threads = x * y * z
        yield kernel, (registers[kernel], threads, frames[kernel], len(by_name.get(".nv.shared." + kernel, b"")))


def faults(registers, threads, frame_bytes, shared_bytes):
    warps, each = (threads + 31) // 32, (registers + 7) // 8 * 8  # registers are given out by warps, eight a thread at a time
    if each * 32 * warps > BLOCK_REGISTERS:
        yield f"{registers} registers x {threads} threads are more than {BLOCK_REGISTERS}: state __launch_bounds__"
    if frame_bytes > 0:
        yield f"{frame_bytes} bytes a thread in local memory: it spills, or indexes an array with what is not known"
    if shared_bytes > BLOCK_SHARED_BYTES:
        yield f"{shared_bytes} bytes of shared memory of at most {BLOCK_SHARED_BYTES}"


def main(path, wanted):
    with open(path, "rb") as file:
        fat = next(data for name, data, _ in sections(file.read()) if name == ".nv_fatbin")
    found, n_ptx, n_bad = {}, 0, 0
    for kind, architecture, data in fat_entries(fat):
        if kind == FAT_CUBIN:
            found.setdefault(architecture, {}).update(kernels_of(data))
        elif kind == FAT_PTX:
            n_ptx += data.count(b".entry ")
    for architecture in wanted:
        kernels = found.get(architecture, {})
        if len(kernels) != n_ptx or n_ptx == 0:
            print(f"sm_{architecture}: {len(kernels)} kernels, {n_ptx} in PTX")
            n_bad += 1
        for name, figures in sorted(kernels.items()):
            for fault in faults(*figures):
                print(f"sm_{architecture}: {name}: {fault}")
                n_bad += 1
        most = max(kernels.items(), key=lambda item: item[1][0] * item[1][1], default=("none", (0, 0, 0, 0)))
        print(f"sm_{architecture}: {len(kernels)} kernels; most registers a block: {most[0]}, {most[1][0]} x {most[1][1]} threads")
    return n_bad > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], [int(word) for word in sys.argv[2:]]))
