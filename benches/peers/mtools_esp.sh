#!/bin/sh
# Writes a FAT32 volume with one file, as image builders do it without Rust.
# usage: mtools_esp.sh OUTPUT FILE
set -eu
size=$(stat -c %s "$2")
# A 64th more for the tables and the slack; never so little that it is no FAT32 with clusters of 4 KiB.
truncate -s "$((size + size / 64 + (320 << 20)))" "$1"
mkfs.vfat -F 32 -S 512 -s 8 --invariant -n EFI "$1" >/dev/null
MTOOLS_SKIP_CHECK=1 mcopy -i "$1" "$2" ::/FILE
