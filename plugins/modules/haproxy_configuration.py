#!/usr/bin/python
# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_configuration
short_description: HAProxy's whole configuration, replaced in one transaction
version_added: 0.1.0
author:
  - postern.mail_gateway contributors (@postern)
description:
  - Takes every file that HAProxy needs (configuration, lists, maps, certificates) and makes the running HAProxy use
    them, or leaves everything as it was.
  - The files are written into a staging folder and validated there with C(haproxy -c), as a whole and with their
    lists and certificates. Only then they replace the old ones, HAProxy is reloaded (started, where it doesn't run),
    and the B(running process) is asked on its runtime socket which configuration it holds. If it isn't this one, for
    example since a port is taken, the old files return, HAProxy is reloaded with them, and the module fails with
    HAProxy's own reason.
  - A run that was cut short at any point is found out by the next one, since the running process is compared and not
    only the files. HAProxy is also reloaded where only a file was changed by hand, since nobody knows whether it was
    in use.
  - Files that an earlier run made and that are no longer listed are removed; other files are never touched.
  - Connections that are open survive, as with any reload of HAProxy.
options:
  files:
    description:
      - The files to have. One of them must be V(haproxy.cfg), which must hold C(default-path config) and
        C(description @DIGEST@) in its C(global) section. The module puts the digest of all the files in that place.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Name of the file, relative to O(folder).
        type: str
        required: true
      content:
        description: The exact content.
        type: str
        required: true
      once:
        description: Write the file only where it isn't there yet, and leave it alone from then on.
        type: bool
        default: false
  certificates:
    description:
      - The certificates that the configuration names, each a file C(certificates/NAME.pem) with mode 0600.
      - One that isn't in O(pems) is brought by somebody else (an ACME client, say). A file that is there is left alone
        then, and a self-signed one (RSA 2048, one year) is made where none is.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the file without its folder and ending.
        type: str
        required: true
      names:
        description: DNS names for the self-signed certificate that is made where no file is there yet.
        type: list
        elements: str
        required: true
      file:
        description:
          - PEM file on the controller with private key, certificate and chain; it may be encrypted with Ansible Vault.
            Its content is put into O(pems).
        type: str
        default: ''
  pems:
    description:
      - Private key, certificate and chain of certificates by their name. Ansible writes a module's options into the
        host's log and can only be trusted to leave out whole ones, so they don't stand in O(certificates).
    type: dict
    default: {}
  trusted_ports:
    description:
      - Ports of the loopback to which the configuration hands requests and whose answers it passes on, as an ACME
        client's. Each must be one that only root can listen on; the module fails otherwise. 0 is none.
    type: list
    elements: int
    default: []
  folder:
    description: HAProxy's configuration folder.
    type: path
    default: /etc/haproxy
  service:
    description: Name of the systemd service.
    type: str
    default: haproxy
  socket:
    description: The C(stats socket) that the configuration declares.
    type: path
    default: /run/haproxy/admin.sock
  timeout:
    description: Seconds to wait for the running process to hold the new configuration.
    type: int
    default: 20
attributes:
  check_mode:
    description: Says exactly what would change; validates too where HAProxy is installed.
    support: full
  diff_mode:
    description: One diff for each file; certificates are shown by their fingerprint only.
    support: full
"""

EXAMPLES = r"""
- name: HAProxy serves a page
  postern.mail_gateway.haproxy_configuration:
    files:
      - path: haproxy.cfg
        content: |
          global
              default-path config
              description @DIGEST@
              stats socket /run/haproxy/admin.sock mode 660 level admin expose-fd listeners
          defaults
              mode http
              timeout client 10s
              timeout server 10s
              timeout connect 5s
          frontend page
              bind :8080
              http-request return status 200 content-type text/plain string "here"
"""

RETURN = r"""
digest:
  description: The digest that the running HAProxy carries afterwards.
  returned: always
  type: str
  sample: 3f1c0de4a8b2c917
reloaded:
  description: Whether HAProxy was reloaded or started.
  returned: always
  type: bool
changed_files:
  description: The files that were written or removed, relative to the folder.
  returned: always
  type: list
  elements: str
  sample: [haproxy.cfg, lists/relay_networks.list]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.haproxy.configuration import Configuration
from ..module_utils.host.arguments import arguments
from ..module_utils.host.locks import lock_path, locked
from ..module_utils.host.modules import sentences
from ..module_utils.host.ports import check_root_port
from ..module_utils.values.texts import read_host_path, read_unit

LOCK = lock_path("haproxy")
LOCK_SECONDS = 5  # a certificate that is just being installed is there in a moment
BUSY = "Another run is changing HAProxy's configuration on this host; wait for it to end and run again."


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "str", "required": True},
                    "content": {"type": "str", "required": True},
                    "once": {"type": "bool", "default": False},
                },
            },
            "certificates": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "names": {"type": "list", "elements": "str", "required": True},
                    "file": {"type": "str", "default": ""},
                },
            },
            "pems": {"type": "dict", "default": {}, "no_log": True},
            "trusted_ports": {"type": "list", "elements": "int", "default": []},
            "folder": {"type": "path", "default": "/etc/haproxy"},
            "service": {"type": "str", "default": "haproxy"},
            "socket": {"type": "path", "default": "/run/haproxy/admin.sock"},
            "timeout": {"type": "int", "default": 20},
        },
        supports_check_mode=True,
    )
    with sentences(module), locked(LOCK, BUSY, LOCK_SECONDS):
        for port in module.params["trusted_ports"]:
            check_root_port("haproxy_acme_port", port)
        params = arguments(module.params, {"folder": read_host_path, "service": read_unit, "socket": read_host_path})
        result = Configuration(params, module.get_bin_path, module.warn).run(check_mode=module.check_mode)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
