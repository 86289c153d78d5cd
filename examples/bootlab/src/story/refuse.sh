# The disk must stay locked; the reason is kept.
disk-key unlock --luks /dev/disk/data --map data 2>/out/reason
status=$?
[ ! -e /dev/mapper/data ] || exit 20
[ "$status" = 1 ] || { cat /out/reason; echo "disk-key: exit code $status"; exit 21; }
