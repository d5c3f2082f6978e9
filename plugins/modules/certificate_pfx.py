#!/usr/bin/python
# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate_pfx
short_description: A certificate of the gateway as a PFX for Windows
version_added: 0.1.0
author:
  - postern.mail_gateway contributors (@postern)
description:
  - Makes a PFX of the certificate that HAProxy presents, in an encryption that the target's version of Windows reads,
    with a password that is made for this one transfer.
  - Nothing is written to the host. The task needs C(no_log=true), since its result has the PFX and its password.
options:
  name:
    description: Name of the certificate in HAProxy's folder C(certificates), without its ending.
    type: str
    required: true
  windows:
    description: The target's version of Windows Server; up to 2016 it reads 3DES with SHA-1 only.
    type: int
    default: 2019
  folder:
    description: HAProxy's folder.
    type: path
    default: /etc/haproxy
attributes:
  check_mode:
    description: Nothing is changed in any case.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: The certificate is known as a PFX
  postern.mail_gateway.certificate_pfx:
    name: mail
    windows: 2016
  register: exchange_pfx
  no_log: true
"""

RETURN = r"""
pfx:
  description: The PFX in Base64. It is encrypted with RV(password).
  returned: success
  type: str
password:
  description: The password, made anew at each run.
  returned: success
  type: str
fingerprint:
  description: SHA-256 of the certificate, in hexadecimal digits.
  returned: success
  type: str
  sample: 3f1c0de4a8b2c917
"""

import base64
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.certificates.pfx import encryption_for, make_pfx, new_password
from ..module_utils.certificates.x509 import bundle_from
from ..module_utils.host.arguments import parsed
from ..module_utils.host.errors import HostError
from ..module_utils.values.texts import read_host_path, read_label


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "windows": {"type": "int", "default": 2019},
            "folder": {"type": "path", "default": "/etc/haproxy"},
        },
        supports_check_mode=True,
    )
    path = Path("certificates")
    try:
        path = Path(parsed("folder", module.params["folder"], read_host_path), path)
        path /= f"{parsed('name', module.params['name'], read_label)}.pem"
        bundle = bundle_from(path.read_bytes())
        password = new_password()
        pfx = make_pfx(bundle.pem, password, encryption_for(module.params["windows"]), bundle.leaf.names[0])
    except OSError as error:
        module.fail_json(msg=f"{path} can't be read ({error.strerror}); name a certificate of this gateway.")
    except HostError as error:
        module.fail_json(msg=str(error) if path.suffix != ".pem" else f"{path}: {error}")
    module.exit_json(
        changed=False, pfx=base64.b64encode(pfx).decode(), password=password, fingerprint=bundle.leaf.fingerprint
    )


if __name__ == "__main__":
    main()
