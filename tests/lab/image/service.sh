#!/bin/sh
# Runs inside a base image and makes the image of all other hosts: every tool is there, and no service starts
# by itself.
set -eu
packages=$(sed 's/#.*//' /build/service.packages)

echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections
apt-get -o Acquire::Retries=3 update
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 --yes --no-install-recommends install $packages
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin

systemctl disable ssh.service named.service dovecot.service dovecot.socket postfix.service || true
systemctl mask ssh.service postfix.service
: >/etc/machine-id
