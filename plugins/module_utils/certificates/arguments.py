# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arguments of the modules that are told which certificates a gateway should have."""

from __future__ import annotations

from typing import Any

CERTIFICATES: dict[str, Any] = {
    "certificates": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "names": {"type": "list", "elements": "str", "required": True},
        },
    },
    "authority": {"type": "str", "default": "letsencrypt"},
    "authority_ca_file": {"type": "path", "default": ""},
    "authority_ca": {"type": "str", "default": ""},
    "external_account_key_id": {"type": "str", "default": "", "no_log": False},
    "external_account_hmac_key": {"type": "str", "default": "", "no_log": True},
    "contact": {"type": "str", "default": ""},
    "key_type": {"type": "str", "choices": ["rsa", "ecdsa"], "default": "rsa", "no_log": False},
    "key_size": {"type": "int", "choices": [2048, 3072, 4096], "default": 2048, "no_log": False},
    "http_port": {"type": "int", "default": 842},
    "self_test": {"type": "bool", "default": True},
    "host": {"type": "str", "default": ""},
    "gateways": {"type": "list", "elements": "str", "default": []},
    "peers": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 22},
            "host_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
        },
    },
    "identities": {"type": "list", "elements": "dict", "default": []},
    "play_hosts": {"type": "list", "elements": "str", "default": []},
    "account": {"type": "str", "default": "certificates"},
    "metrics_file": {"type": "path", "default": "/var/lib/prometheus/node-exporter/postern_certificates.prom"},
    "tls_address": {"type": "str", "default": "127.0.0.1"},
    "tls_port": {"type": "int", "default": 443},
}
