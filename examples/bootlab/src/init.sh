#!/bin/sh
# The guest's first process: prepares the machine, runs the script, hands out what is found.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/ LD_LIBRARY_PATH=/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mount -t tmpfs run /run
. /lib/bootlab.sh
# shellcheck disable=SC2046 -- a list of words on purpose
load $(cat /lib/needs.first)
mount -t securityfs security /sys/kernel/security 2>/dev/null
mount -t efivarfs efivars /sys/firmware/efi/efivars 2>/dev/null

mkdir -p /dev/disk
for block in /sys/block/vd*; do
    serial=$(cat "$block/serial" 2>/dev/null)
    [ -n "$serial" ] && ln -sf "/dev/${block##*/}" "/dev/disk/$serial"
done
[ -e /dev/disk/lab-in ] && tar x -C / -f /dev/disk/lab-in

registers begin
echo "BOOTLAB: begin" >/dev/ttyS0
cd /
if [ -f /in/script ]; then
    (. /in/script) >/out/script_log 2>&1
    echo $? >/out/script_status
fi

cp /sys/kernel/security/tpm0/binary_bios_measurements /out/event_log 2>/dev/null
mkdir -p /out/variables
for variable in /sys/firmware/efi/efivars/*; do
    cat "$variable" >"/out/variables/${variable##*/}" 2>/dev/null
done
for entry in /out/*; do
    case ${entry##*/} in
        files | registers | variables | event_log | script_log | script_status) ;;
        *) mv "$entry" /out/files/ ;;
    esac
done
if [ -e /dev/disk/lab-out ] && tar c -C /out -f /dev/disk/lab-out . && sync; then
    printf '\nBOOTLAB: done\n' >/dev/ttyS0
fi
umount -a 2>/dev/null
poweroff -f
