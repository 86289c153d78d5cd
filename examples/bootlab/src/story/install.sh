# Kernel and disk-key must both say that Secure Boot is on.
dmesg | grep -q 'locked down from EFI Secure Boot' || exit 27
grep -q '"secure_boot": true' /out/status.json || exit 28
# Formats the disk, seals its key and leaves a note on it.
head -c 32 /dev/urandom >/tmp/recovery
cryptsetup luksFormat --type luks2 --batch-mode --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \
    /dev/disk/data /tmp/recovery || exit 20
disk-key enroll --luks /dev/disk/data --unlock-key-file /tmp/recovery || exit 21
disk-key unlock --luks /dev/disk/data --map data || exit 22
mke2fs -q /dev/mapper/data || exit 23
mkdir -p /mnt/data && mount -t ext4 /dev/mapper/data /mnt/data || exit 24
echo 'written at installation' >/mnt/data/note
umount /mnt/data || exit 25
cryptsetup close data || exit 26
