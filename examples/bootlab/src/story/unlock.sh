# Unlocks the disk and reads the note. Then closes the window: the key must not come out any more.
disk-key unlock --luks /dev/disk/data --map data || exit 20
mkdir -p /mnt/data && mount -t ext4 -o ro /dev/mapper/data /mnt/data || exit 21
cp /mnt/data/note /out/note && [ "$(cat /out/note)" = 'written at installation' ] || exit 22
umount /mnt/data && cryptsetup close data || exit 23
disk-key phase leave-initrd || exit 24
disk-key unlock --luks /dev/disk/data --map data 2>/out/later_reason && exit 25
[ ! -e /dev/mapper/data ] || exit 26
