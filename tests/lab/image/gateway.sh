#!/bin/sh
# Runs inside a base image and makes a gateway of it: a plain cloud image with one administrator's account,
# and an apt repository of its own, so that the roles' packages are installed without a network.
set -eu
packages=$(sed 's/#.*//' /build/offline.packages)

apt-get -o Acquire::Retries=3 update
apt-get clean
# shellcheck disable=SC2086
apt-get -o Acquire::Retries=3 -o APT::Install-Recommends=true --download-only --yes install $packages

mkdir -p /opt/packages
mv /var/cache/apt/archives/*.deb /opt/packages/
cd /opt/packages
for file in *.deb; do
    dpkg-deb --field "$file"
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' \
        "$file" "$(stat -c %s "$file")" "$(sha256sum "$file" | cut -d ' ' -f 1)"
done >Packages
# Without it apt tries Packages in every compression there is, and complains about each.
printf 'Date: %s\nSHA256:\n %s %s Packages\n' \
    "$(LC_ALL=C date -Ru)" "$(sha256sum Packages | cut -d ' ' -f 1)" "$(stat -c %s Packages)" >Release
# Not signed, and out of reach for anybody but this image.
echo 'deb [trusted=yes] file:/opt/packages ./' >/etc/apt/sources.list
# As in a cloud image, there are no lists, and they don't look fresh either: whoever installs updates them first.
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
touch --date='30 days ago' /var/lib/apt/lists

useradd --create-home --shell /bin/bash --gid operator operator
echo 'operator ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/operator
chmod 440 /etc/sudoers.d/operator

# Every host makes its own keys at its first start.
rm -f /etc/ssh/ssh_host_*
cat >/etc/systemd/system/ssh-host-keys.service <<'UNIT'
[Unit]
Description=OpenSSH host keys
Before=ssh.service

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A
RemainAfterExit=yes

[Install]
WantedBy=multi-user.target
UNIT
systemctl enable ssh-host-keys.service
: >/etc/machine-id
