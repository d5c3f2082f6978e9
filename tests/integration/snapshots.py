"""What a host is, as far as a run could change it: for comparing before and after."""

from __future__ import annotations

from lab import Lab

# Contents and modes of configuration and programs, packages, units, addresses and listening ports. What apt and the
# journal write for themselves is left out: a check may bring the package lists up to date.
_SCRIPT = """
find /etc /usr/local /opt /var/lib/haproxy /home /root -xdev \\( -type f -o -type l \\) ! -path '/opt/packages/*' \
    ! -name ld.so.cache ! -path '*/.ansible/*' -printf '%m %u:%g %p %l\\n' | sort
find /etc /usr/local -xdev -type f ! -name ld.so.cache -exec sha256sum {} + | sort -k 2
dpkg-query --show
systemctl list-unit-files --no-legend --no-pager
ip -brief address | sort
ss --listening --tcp --numeric --no-header | awk '{print $4}' | sort
"""


def snapshot(lab: Lab, host: str) -> list[str]:
    """Return the host's state as lines that two snapshots can be compared by."""
    return lab.exec(host, ["sh", "-c", _SCRIPT]).stdout.splitlines()
