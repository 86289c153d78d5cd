# Commands for the guest's script.

# load MODULE...: loads kernel modules with what they need
load() {
    for wanted in "$@"; do
        while read -r module; do
            [ -d "/sys/module/$module" ] || insmod "/lib/modules/$module.ko"
        done <"/lib/needs/$(echo "$wanted" | tr - _)"
    done
}

# registers NAME [PCR...]: notes registers under a name
registers() {
    moment=$1
    shift
    for file in /sys/class/tpm/tpm0/pcr-*; do
        [ -d "$file" ] || continue
        bank=${file##*/pcr-}
        for pcr in ${*:-4 5 7 9 11 12 13}; do
            echo "$bank $pcr $(cat "$file/$pcr")"
        done
    done >"/out/registers/$moment"
}

# write_variable NAME-GUID FILE: FILE holds the attributes (4 bytes) and the value
write_variable() {
    target=/sys/firmware/efi/efivars/$1
    [ -e "$target" ] && chattr -i "$target"
    dd if="$2" of="$target" bs=1M 2>/dev/null
}

# leave reset|poweroff: ends the machine at once; nothing is handed out
leave() {
    sync
    printf '\nBOOTLAB: leaving\n' >/dev/ttyS0
    case $1 in
        reset) reboot -f ;;
        *) poweroff -f ;;
    esac
}
