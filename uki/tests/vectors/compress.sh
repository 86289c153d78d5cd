#!/bin/sh
# Packs the synthetic kernel in every way that Linux can be packed in and that is unpacked here.
# Made with gzip 1.12, XZ Utils 5.4.1, lz4 1.9.4, bzip2 1.0.8 and zstd 1.5.4 (Debian 12).
set -eu
cd "$(dirname "$0")"
gzip -9nc kernel.efi > kernel.efi.gz
xz -c --check=crc32 kernel.efi > kernel.efi.xz
xz -c --format=lzma kernel.efi > kernel.efi.lzma
lz4 -9 -l -c kernel.efi > kernel.efi.legacy.lz4
lz4 -9 -c kernel.efi > kernel.efi.lz4
bzip2 -9c kernel.efi > kernel.efi.bz2
zstd -19 -qc kernel.efi > kernel.efi.zst
