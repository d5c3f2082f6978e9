# The name server, with the lab's configuration in place of Debian's.
ln -sf /etc/bind/lab/named.conf /etc/bind/named.conf
systemctl enable --quiet --now named.service
