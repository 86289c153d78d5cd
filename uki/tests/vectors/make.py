#!/usr/bin/env python3
"""Writes the synthetic images of this folder: a stub, an addon stub and a kernel, with nothing to run inside.

They have the layout of systemd 257's stubs (x64, PE32+, file alignment 0x200, section alignment 0x1000) and of a
bzImage. Run without arguments; needs nothing but Python 3.
"""
import os
import struct

FILE, MEMORY = 0x200, 0x1000


def up(value, align):
    return (value + align - 1) // align * align


def pe(sections, machine=0x8664, base=0x140000000, entry=0x1000, headers=0x400, dll=0x160, image_version=(1, 1),
       directories=None):
    """sections: (name, content, characteristics)"""
    table, data, address = b"", b"", MEMORY
    addresses = {}
    for name, content, flags in sections:
        raw = up(len(content), FILE)
        addresses[name] = address
        table += struct.pack("<8sIIIIIIHHI", name, len(content), address, raw, headers + len(data), 0, 0, 0, 0, flags)
        data += content.ljust(raw, b"\0")
        address = up(address + len(content), MEMORY)
    dirs = [(0, 0)] * 16
    for index, name, length in directories or []:
        dirs[index] = (addresses[name], length)
    optional = struct.pack("<HBBIIIII", 0x20B, 14, 0, 0x200, 0x600, 0, entry, entry)
    optional += struct.pack("<QIIHHHHHHIIIIHH", base, MEMORY, FILE, 0, 0, *image_version, 0, 0, 0, address, headers, 0, 10, dll)
    optional += struct.pack("<QQQQII", 0x100000, 0x1000, 0x100000, 0x1000, 0, 16)
    optional += b"".join(struct.pack("<II", *entry) for entry in dirs)
    coff = struct.pack("<HHIIIHH", machine, len(sections), 0, 0, 0, len(optional), 0x22E)
    dos = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40)
    return (dos + b"PE\0\0" + coff + optional + table).ljust(headers, b"\0") + data


def write(name, content):
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), name), "wb") as out:
        out.write(content)


CODE, DATA, DISCARDABLE = 0x60000020, 0x40000040, 0x42000040
SBAT = (b"sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n"
        b"test-stub,1,Test,test-stub,257,https://example.com/\n\0")

write("stub.efi", pe([
    (b".text", b"\xc3" * 16, CODE),
    (b".sbat", SBAT, DATA),
    (b".sdmagic", b"#### LoaderInfo: systemd-stub 257 ####\0", DATA),
    (b".reloc", struct.pack("<IIHH", 0x1000, 12, 0, 0), DISCARDABLE),
], directories=[(5, b".reloc", 12)]))

write("addon-stub.efi", pe([
    (b".text", b"\xc3" * 8, CODE),
    (b".sdmagic", b"#### LoaderInfo: systemd-addon 257 ####\0", DATA),
]))

BANNER = b"Linux version 6.1.0-test (builder@example) (cc) #1 SMP\n\0"
kernel = bytearray(pe([(b".text", BANNER.rjust(0x400, b"\xc3"), CODE)]))
kernel[0x1F1] = 1                                    # setup_sects
kernel[0x202:0x206] = b"HdrS"
kernel[0x20E:0x210] = struct.pack("<H", 0x100)
text = b"6.1.0-test (builder@example) #1 SMP\0"
kernel[0x300:0x300 + len(text)] = text
write("kernel.efi", bytes(kernel))
