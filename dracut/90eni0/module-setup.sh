#!/bin/bash
# shellcheck disable=SC2154 # dracut sets the variables in lower case

# called by dracut
check() {
    require_binaries eni0 "$systemdutildir/systemd" || return 1
    # Not 255, which would be on request only: whoever puts this folder there wants it in the image.
    return 0
}

# called by dracut
depends() {
    # systemd-initrd has initrd.target, which wants the unit.
    echo systemd-initrd
}

# called by dracut
installkernel() {
    # With hostonly, dracut would leave out what the machine that makes the image does not use itself.
    # Those of EC2, and QEMU's. AF_PACKET, for DHCP, may be a module too.
    hostonly='' instmods ena ixgbevf virtio_net xen-netfront af_packet
}

# called by dracut
install() {
    inst_binary /usr/sbin/eni0
    inst_simple "$systemdsystemunitdir/eni0-initrd.service"
    inst_multiple -o /etc/systemd/system/eni0-initrd.service.d/*.conf
    # SYSTEMCTL came between dracut 051 and 059.
    "${SYSTEMCTL:-systemctl}" -q --root "$initdir" enable eni0-initrd.service
}
