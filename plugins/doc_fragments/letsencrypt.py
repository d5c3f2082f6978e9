# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules that are told which certificates a gateway should have say of their arguments."""

from __future__ import annotations


class ModuleDocFragment:
    """The arguments of ``plugins/module_utils/certificates/arguments.py``."""

    DOCUMENTATION = r"""
options:
  certificates:
    description: The certificates.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the file in HAProxy's folder C(certificates), without its ending.
        type: str
        required: true
      names:
        description: DNS names.
        type: list
        elements: str
        required: true
  authority:
    description: V(letsencrypt), V(letsencrypt-staging), or the C(https://) address of an ACME directory.
    type: str
    default: letsencrypt
  authority_ca_file:
    description: PEM file on the controller with the root that the ACME server's own certificate is verified against.
      Empty is the host's trust store.
    type: path
    default: ''
  authority_ca:
    description: Content of O(authority_ca_file); Ansible puts it here.
    type: str
    default: ''
  external_account_key_id:
    description: The key identifier of an account at the authority, where it wants ACME accounts bound to one.
    type: str
    default: ''
  external_account_hmac_key:
    description: The key that belongs to O(external_account_key_id), in base64url.
    type: str
    default: ''
  contact:
    description: E-mail address of the account.
    type: str
    default: ''
  key_type:
    description: Kind of the private keys. Exchange wants RSA.
    type: str
    choices: [rsa, ecdsa]
    default: rsa
  key_size:
    description: Bits of RSA keys.
    type: int
    choices: [2048, 3072, 4096]
    default: 2048
  http_port:
    description:
      - Port on C(127.0.0.1) where certbot listens while it is validated; HAProxy passes challenges on to it.
      - It must be one that only root can listen on, below 1024.
    type: int
    default: 842
  self_test:
    description: Whether each name's way to this host is tried before the authority is asked.
    type: bool
    default: true
  host:
    description: This host's name among the gateways.
    type: str
    default: ''
  gateways:
    description: All gateways, in the order in which they renew. Empty is this host alone.
    type: list
    elements: str
    default: []
  peers:
    description: The other gateways, which get the certificates.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name among the gateways.
        type: str
        required: true
      address:
        description: Where its sshd listens.
        type: str
        required: true
      port:
        description: Port of its sshd.
        type: int
        default: 22
      host_keys:
        description: Its SSH host keys, a line of C(.pub) each. Empty takes those in O(identities), or those that this
          host knows from an earlier run.
        type: list
        elements: str
        default: []
  identities:
    description: What M(postern.mail_gateway.letsencrypt_identity) returned for the gateways, as a loop registers it
      (C(item) and C(identity)).
    type: list
    elements: dict
    default: []
  play_hosts:
    description: The hosts that take part in this run, with which gateways take turns. Empty is all of them.
    type: list
    elements: str
    default: []
  account:
    description: The account for SFTP on each gateway.
    type: str
    default: certificates
  metrics_file:
    description: Text file for Prometheus' node exporter. Empty is none.
    type: path
    default: /var/lib/prometheus/node-exporter/postern_certificates.prom
  tls_address:
    description: Address of this host where HAProxy is asked which certificate it presents.
    type: str
    default: 127.0.0.1
  tls_port:
    description: Port for that.
    type: int
    default: 443
"""
