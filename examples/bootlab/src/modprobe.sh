#!/bin/sh
# What the kernel calls when it misses a module: modprobe -q -- NAME
. /lib/bootlab.sh
for name in "$@"; do :; done
# Aliases such as fs-ext4 and crypto-xts(aes) name the module after the hyphen.
plain=${name#fs-}
plain=${plain#crypto-}
plain=${plain%%(*}
plain=$(echo "$plain" | tr - _)
[ -e "/lib/needs/$plain" ] && load "$plain"
