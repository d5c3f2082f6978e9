"""Declarations that are wrong, and the sentences that are said about them: every one of them, word for word."""
# ruff: noqa: E501 (a sentence is on one line, so that it can be searched for)

import dataclasses
import datetime as dt
from typing import Any

import pytest
from tools.declared import DROP, declared

from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration.tree import Unevaluated
from ansible_collections.postern.mail_gateway.plugins.plugin_utils.declaration.validation import check, validate

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f anna"
# What is changed in the sound declaration (tools/declared.py), and what is said about it.
BAD: list[tuple[dict[str, Any], list[str]]] = [
    # shape
    ({"mail_gateway": None}, ["mail_gateway is null, but must be a dictionary."]),
    (
        {"mail_gateway": []},
        [
            "mail_gateway is [], but must be a dictionary with the keys hostname, domains, admin_networks, monitoring_networks, service_addresses, ipv6, exchange, https, smtp, imap, pop, certificate, ssh, firewall, fail2ban, websites, metrics_port and site."
        ],
    ),
    (
        {"mail_gateway": "mail.example.com"},
        [
            'mail_gateway is "mail.example.com", but must be a dictionary with the keys hostname, domains, admin_networks, monitoring_networks, service_addresses, ipv6, exchange, https, smtp, imap, pop, certificate, ssh, firewall, fail2ban, websites, metrics_port and site.'
        ],
    ),
    (
        {"mail_gateway": Unevaluated(template="{{ site }}", reason="'site' is undefined")},
        ["mail_gateway is \"{{ site }}\", but 'site' is undefined; define it."],
    ),
    (
        {"hostnam": "x" * 5000, "hostname": DROP},
        [
            "mail_gateway.hostnam isn't known; did you mean mail_gateway.hostname?",
            "mail_gateway.hostname is missing; it must be a full name such as mail.example.com.",
        ],
    ),
    (
        {"relay_clients": ["10.30.0.25"]},
        ["mail_gateway.relay_clients isn't known here; its place is mail_gateway.smtp.relay_clients."],
    ),
    (
        {"smtp.realy_clients": []},
        ["mail_gateway.smtp.realy_clients isn't known; did you mean mail_gateway.smtp.relay_clients?"],
    ),
    ({"pop.ntlm": False}, ["mail_gateway.pop.ntlm isn't known here; its place is mail_gateway.imap.ntlm."]),
    (
        {"zone": 1},
        [
            "mail_gateway.zone isn't known; the keys here are hostname, domains, admin_networks, monitoring_networks, service_addresses, ipv6, exchange, https, smtp, imap, pop, certificate, ssh, firewall, fail2ban, websites, metrics_port and site."
        ],
    ),
    (
        {"enabled": True},
        [
            "mail_gateway.enabled isn't known here; its place is mail_gateway.https.enabled, mail_gateway.smtp.enabled, mail_gateway.imap.enabled or mail_gateway.pop.enabled."
        ],
    ),
    (
        {"https": {True: 1}},
        [
            "mail_gateway.https[true] isn't known; the keys here are enabled, virtual_directories, internal_only, long_poll_timeout and limits."
        ],
    ),
    (
        {"websites[0].host": "a"},
        ["mail_gateway.websites[0].host isn't known; did you mean mail_gateway.websites[0].hostnames?"],
    ),
    (
        {"websites[0].servers[0].adress": "10.40.0.10"},
        [
            "mail_gateway.websites[0].servers[0].adress isn't known; did you mean mail_gateway.websites[0].servers[0].address?"
        ],
    ),
    (
        {"two words": 1},
        [
            'mail_gateway["two words"] isn\'t known; the keys here are hostname, domains, admin_networks, monitoring_networks, service_addresses, ipv6, exchange, https, smtp, imap, pop, certificate, ssh, firewall, fail2ban, websites, metrics_port and site.'
        ],
    ),
    ({"hostname": DROP}, ["mail_gateway.hostname is missing; it must be a full name such as mail.example.com."]),
    ({"domains": DROP}, ["mail_gateway.domains is missing; it must be a list."]),
    ({"admin_networks": DROP}, ["mail_gateway.admin_networks is missing; it must be a list."]),
    ({"websites[0].servers": DROP}, ["mail_gateway.websites[0].servers is missing; it must be a list."]),
    (
        {"websites[0].servers[0].port": DROP},
        ["mail_gateway.websites[0].servers[0].port is missing; it must be a whole number."],
    ),
    (
        {"websites[0].name": DROP},
        ["mail_gateway.websites[0].name is missing; it must be a short name of the letters a-z, digits and hyphens."],
    ),
    (
        {"smtp": []},
        [
            "mail_gateway.smtp is [], but must be a dictionary with the keys enabled, mode, submission and relay_clients."
        ],
    ),
    (
        {"https": "on"},
        [
            'mail_gateway.https is "on", but must be a dictionary with the keys enabled, virtual_directories, internal_only, long_poll_timeout and limits.'
        ],
    ),
    (
        {"https": False},
        [
            "mail_gateway.https is false, but must be a dictionary with the keys enabled, virtual_directories, internal_only, long_poll_timeout and limits."
        ],
    ),
    (
        {"https.limits": 5},
        [
            "mail_gateway.https.limits is 5, but must be a dictionary with the keys connections, connection_rate, request_rate and failed_logons."
        ],
    ),
    ({"domains": None}, ["mail_gateway.domains is missing; it must be a list."]),
    (
        {"domains[1]": None},
        ["mail_gateway.domains[1] is null, but must be a full name such as mail.example.com; take it out."],
    ),
    ({"hostname": None}, ["mail_gateway.hostname is missing; it must be a full name such as mail.example.com."]),
    ({"domains": "example.com"}, ['mail_gateway.domains is "example.com", but must be a list; write [example.com].']),
    (
        {"domains": "example.com, example.org"},
        ['mail_gateway.domains is "example.com, example.org", but must be a list; write [example.com, example.org].'],
    ),
    ({"domains": ""}, ['mail_gateway.domains is "", but must be a list.']),
    (
        {"domains": {"example.com": None}},
        ['mail_gateway.domains is {"example.com": null}, but must be a list; begin each entry with a hyphen.'],
    ),
    ({"domains": 5}, ["mail_gateway.domains is 5, but must be a list."]),
    ({"domains": []}, ["mail_gateway.domains is [], but must have at least one entry."]),
    (
        {"https.virtual_directories": []},
        ["mail_gateway.https.virtual_directories is [], but must have at least one entry."],
    ),
    ({"hostnames": ["a.example.com"]}, ["mail_gateway.hostnames isn't known; did you mean mail_gateway.hostname?"]),
    (
        {"names": ["a.example.com"]},
        ["mail_gateway.names isn't known here; its place is mail_gateway.certificate.names."],
    ),
    (
        {
            "hostname": "mail_gw",
            "domains": "example.com",
            "admin_networks": ["0.0.0.0/0", "10.0.0.1/8"],
            "metrics_port": "443",
            "smpt": {},
        },
        [
            "mail_gateway.smpt isn't known; did you mean mail_gateway.smtp?",
            'mail_gateway.hostname is "mail_gw", but must not hold an underscore, which isn\'t allowed in the name of a host.',
            'mail_gateway.domains is "example.com", but must be a list; write [example.com].',
            'mail_gateway.admin_networks[1] is "10.0.0.1/8", which has host bits set; write 10.0.0.0/8 for the network or 10.0.0.1 for the one host.',
            'mail_gateway.admin_networks[0] is "0.0.0.0/0", which is everybody; name the networks of the administrators.',
            'mail_gateway.metrics_port is "443", which is the port of https; choose another, such as 8404.',
        ],
    ),
    (
        {"websites": {"name": "www"}},
        ['mail_gateway.websites is {"name": "www"}, but must be a list; begin each entry with a hyphen.'],
    ),
    (
        {"websites": ["www"]},
        [
            'mail_gateway.websites[0] is "www", but must be a dictionary with the keys name, hostnames, servers, http2 and certificate_file.'
        ],
    ),
    (
        {"websites[0].servers": ["10.40.0.10:8080"]},
        [
            'mail_gateway.websites[0].servers[0] is "10.40.0.10:8080", but must be a dictionary with the keys address and port.'
        ],
    ),
    ({"certificate.names": []}, ["mail_gateway.certificate.names is [], but must have at least one entry."]),
    # switches and numbers
    ({"imap.enabled": 1}, ["mail_gateway.imap.enabled is 1, but must be true or false."]),
    ({"imap.enabled": "perhaps"}, ['mail_gateway.imap.enabled is "perhaps", but must be true or false.']),
    ({"imap.enabled": []}, ["mail_gateway.imap.enabled is [], but must be true or false."]),
    ({"metrics_port": "08404"}, ['mail_gateway.metrics_port is "08404", but must be a whole number.']),
    ({"imap.enabled": "1"}, ['mail_gateway.imap.enabled is "1", but must be true or false.']),
    ({"metrics_port": 8404.0}, ["mail_gateway.metrics_port is 8404.0, but must be a whole number; write 8404."]),
    ({"metrics_port": 8404.5}, ["mail_gateway.metrics_port is 8404.5, but must be a whole number."]),
    ({"metrics_port": True}, ["mail_gateway.metrics_port is true, but must be a whole number."]),
    ({"metrics_port": 0}, ["mail_gateway.metrics_port is 0, but must be from 1 to 65535."]),
    ({"metrics_port": 70000}, ["mail_gateway.metrics_port is 70000, but must be from 1 to 65535."]),
    ({"metrics_port": "http"}, ['mail_gateway.metrics_port is "http", but must be a whole number.']),
    ({"https.long_poll_timeout": 10}, ["mail_gateway.https.long_poll_timeout is 10, but must be from 60 to 86400."]),
    ({"https.long_poll_timeout": "1h"}, ['mail_gateway.https.long_poll_timeout is "1h", but must be a whole number.']),
    (
        {"https.limits.failed_logons": 0},
        ["mail_gateway.https.limits.failed_logons is 0, but must be from 1 to 1000000."],
    ),
    ({"https.limits.connections": -5}, ["mail_gateway.https.limits.connections is -5, but must be from 1 to 1000000."]),
    (
        {"websites[0].servers[0].port": 80800},
        ["mail_gateway.websites[0].servers[0].port is 80800, but must be from 1 to 65535."],
    ),
    ({"ex1.mail_gateway_server_weight": 300}, ["mail_gateway_server_weight of ex1 is 300, but must be from 0 to 256."]),
    (
        {"ex1.mail_gateway_server_weight": 0, "ex2.mail_gateway_server_weight": 0},
        [
            "mail_gateway_server_weight of ex1 and ex2 is 0, so that no server would get a connection; give one of them a weight above 0."
        ],
    ),
    # texts
    ({"smtp.mode": "direct_return"}, ['mail_gateway.smtp.mode is "direct_return", but must be proxy.']),
    ({"smtp.mode": "Proxy"}, ['mail_gateway.smtp.mode is "Proxy", but must be proxy.']),
    (
        {"smtp.mode": True},
        [
            "mail_gateway.smtp.mode is true, but must be proxy; YAML reads yes, no, on and off as true or false, so put such a text in quotes."
        ],
    ),
    ({"smtp.mode": ""}, ['mail_gateway.smtp.mode is "", but must be proxy.']),
    (
        {"https.virtual_directories": ["owa", "ewss"], "https.internal_only": []},
        [
            'mail_gateway.https.virtual_directories[1] is "ewss", but must be owa, ecp, ews, mapi, rpc, oab, activesync, autodiscover, powershell or rest; did you mean ews?'
        ],
    ),
    (
        {"https.virtual_directories": ["owa", "public"], "https.internal_only": []},
        [
            'mail_gateway.https.virtual_directories[1] is "public", but must be owa, ecp, ews, mapi, rpc, oab, activesync, autodiscover, powershell or rest.'
        ],
    ),
    (
        {"https.internal_only": ["ECP"]},
        [
            'mail_gateway.https.internal_only[0] is "ECP", but must be owa, ecp, ews, mapi, rpc, oab, activesync, autodiscover, powershell or rest; did you mean ecp?'
        ],
    ),
    (
        {"exchange.group": 7},
        [
            "mail_gateway.exchange.group is 7, but must be the name of a group in the inventory; YAML reads it as a number, so put it in quotes."
        ],
    ),
    ({"exchange.group": ""}, ['mail_gateway.exchange.group is "", but must be the name of a group in the inventory.']),
    (
        {"exchange.group": " exchange"},
        ['mail_gateway.exchange.group is " exchange", with white space around it; write "exchange".'],
    ),
    (
        {"websites[0].name": "WWW"},
        [
            'mail_gateway.websites[0].name is "WWW", but must be a name of at most 32 letters a-z, digits and hyphens, which begins with a letter and doesn\'t end with a hyphen.'
        ],
    ),
    (
        {"websites[0].name": "w w"},
        [
            'mail_gateway.websites[0].name is "w w", but must be a name of at most 32 letters a-z, digits and hyphens, which begins with a letter and doesn\'t end with a hyphen.'
        ],
    ),
    (
        {"websites[0].name": "-www"},
        [
            'mail_gateway.websites[0].name is "-www", but must be a name of at most 32 letters a-z, digits and hyphens, which begins with a letter and doesn\'t end with a hyphen.'
        ],
    ),
    (
        {"websites[0].name": 7},
        [
            "mail_gateway.websites[0].name is 7, but must be a short name of the letters a-z, digits and hyphens; YAML reads it as a number, so put it in quotes."
        ],
    ),
    # names
    (
        {"hostname": "mail"},
        ['mail_gateway.hostname is "mail", but must be a full name such as mail.example.com, with a domain.'],
    ),
    (
        {"hostname": "mail_gw.example.com"},
        [
            'mail_gateway.hostname is "mail_gw.example.com", but must not hold an underscore, which isn\'t allowed in the name of a host.'
        ],
    ),
    (
        {"hostname": "203.0.113.10"},
        ['mail_gateway.hostname is "203.0.113.10", but must be a full name such as mail.example.com, not an address.'],
    ),
    (
        {"hostname": "2001:db8::1"},
        ['mail_gateway.hostname is "2001:db8::1", but must be a full name such as mail.example.com, not an address.'],
    ),
    (
        {"hostname": "mail.example.com."},
        ['mail_gateway.hostname is "mail.example.com.", with a dot at its end; write "mail.example.com".'],
    ),
    (
        {"hostname": "*.example.com"},
        ['mail_gateway.hostname is "*.example.com", but a wildcard isn\'t possible here; write each name.'],
    ),
    (
        {"hostname": "mäil.example.com"},
        [
            'mail_gateway.hostname is "mäil.example.com", but must be in its ASCII form (punycode); write xn--mil-qla.example.com.'
        ],
    ),
    (
        {"hostname": "https://mail.example.com/owa"},
        [
            'mail_gateway.hostname is "https://mail.example.com/owa", but must be a name alone, not a URL; write mail.example.com.'
        ],
    ),
    (
        {"hostname": "mail.example.com:443"},
        [
            'mail_gateway.hostname is "mail.example.com:443", but must be a name alone, without a port; write mail.example.com.'
        ],
    ),
    (
        {"hostname": "anna@example.com"},
        ['mail_gateway.hostname is "anna@example.com", but must be a name alone, not a mail address.'],
    ),
    (
        {"hostname": "mail..example.com"},
        ['mail_gateway.hostname is "mail..example.com", but must not begin with a dot or have two in a row.'],
    ),
    (
        {"hostname": "-mail.example.com"},
        ['mail_gateway.hostname is "-mail.example.com", but no label may begin or end with a hyphen, as "-mail" does.'],
    ),
    (
        {"hostname": "mail.example.com "},
        ['mail_gateway.hostname is "mail.example.com ", with white space around it; write "mail.example.com".'],
    ),
    ({"hostname": "   "}, ['mail_gateway.hostname is "   ", but must be a full name such as mail.example.com.']),
    ({"hostname": ""}, ['mail_gateway.hostname is "", but must be a full name such as mail.example.com.']),
    (
        {"hostname": "mail.example.com/24"},
        [
            'mail_gateway.hostname is "mail.example.com/24", but must be a full name such as mail.example.com, not a path or a network.'
        ],
    ),
    (
        {"hostname": "mail.example.com, b.example.com"},
        [
            'mail_gateway.hostname is "mail.example.com, b.example.com", but must be one name, without a comma or space in it.'
        ],
    ),
    (
        {"hostname": "mail.exa$mple.com"},
        ['mail_gateway.hostname is "mail.exa$mple.com", but must be of the letters a-z, digits, hyphens and dots.'],
    ),
    (
        {"hostname": "a" * 64 + ".example.com"},
        [
            'mail_gateway.hostname is "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example.com", but a label has at most 63 characters, and this has one of 64.'
        ],
    ),
    (
        {"hostname": ".".join(["a" * 50] * 6)},
        [
            'mail_gateway.hostname is "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaa…, but must have at most 253 characters, and this has 305.'
        ],
    ),
    (
        {"hostname": "mail.example.1"},
        [
            'mail_gateway.hostname is "mail.example.1", but must be a full name such as mail.example.com, and no top-level domain is a number.'
        ],
    ),
    (
        {"hostname": False},
        [
            "mail_gateway.hostname is false, but must be a full name such as mail.example.com; YAML reads yes, no, on and off as true or false, so put such a text in quotes."
        ],
    ),
    (
        {"hostname": 12},
        [
            "mail_gateway.hostname is 12, but must be a full name such as mail.example.com; YAML reads it as a number, so put it in quotes."
        ],
    ),
    (
        {"hostname": 1.5},
        [
            "mail_gateway.hostname is 1.5, but must be a full name such as mail.example.com; YAML reads it as a number, so put it in quotes."
        ],
    ),
    (
        {"hostname": ["mail.example.com"]},
        [
            'mail_gateway.hostname is ["mail.example.com"], but must be a full name such as mail.example.com, not a list.'
        ],
    ),
    (
        {"hostname": {"name": "a"}},
        ['mail_gateway.hostname is {"name": "a"}, but must be a full name such as mail.example.com, not a dictionary.'],
    ),
    (
        {"hostname": "{{ name }}"},
        ['mail_gateway.hostname is "{{ name }}", a template that could not be evaluated; define what it refers to.'],
    ),
    (
        {"hostname": dt.date(2026, 1, 1)},
        [
            'mail_gateway.hostname is "2026-01-01", but must be a full name such as mail.example.com; YAML reads it as a date, so put it in quotes.'
        ],
    ),
    (
        {"hostname": "mail\n.example.com"},
        ['mail_gateway.hostname is "mail\\n.example.com", but must be one name, without a comma or space in it.'],
    ),
    (
        {"hostname": "\x00"},
        ['mail_gateway.hostname is "\\u0000", but must be of the letters a-z, digits, hyphens and dots.'],
    ),
    (
        {"hostname": "x" * 5000},
        [
            'mail_gateway.hostname is "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…, but must be a full name such as mail.example.com, and this is a text of 5000 characters.'
        ],
    ),
    # more names
    (
        {"domains": ["example.com", "EXAMPLE.com"]},
        ['mail_gateway.domains[1] is "EXAMPLE.com", which is mail_gateway.domains[0] already; take one of them out.'],
    ),
    (
        {"domains[0]": "@example.com"},
        ['mail_gateway.domains[0] is "@example.com", but must be a name alone, not a mail address.'],
    ),
    (
        {"certificate.names": ["mail.example.com", "*.com"]},
        [
            'mail_gateway.certificate.names[1] is "*.com", but a wildcard needs a domain of two labels or more, as in *.example.com.'
        ],
    ),
    (
        {"certificate.names": ["mail.example.com", "a.*.example.com"]},
        [
            'mail_gateway.certificate.names[1] is "a.*.example.com", but a wildcard must be the whole first label, as in *.example.com.'
        ],
    ),
    (
        {"certificate.names": ["mail.example.com", "autodiscover*.example.com"]},
        [
            'mail_gateway.certificate.names[1] is "autodiscover*.example.com", but a wildcard must be the whole first label, as in *.example.com.'
        ],
    ),
    (
        {"certificate.names": ["autodiscover.example.com"]},
        [
            'mail_gateway.hostname is "mail.example.com", but mail_gateway.certificate.names doesn\'t cover it; add it there.'
        ],
    ),
    (
        {"certificate.names": ["*.mail.example.com"]},
        [
            'mail_gateway.hostname is "mail.example.com", but mail_gateway.certificate.names doesn\'t cover it; add it there.'
        ],
    ),
    (
        {"certificate.names": ["*.example.com", "mail.example.com", "mail.example.com"]},
        [
            'mail_gateway.certificate.names[2] is "mail.example.com", which is mail_gateway.certificate.names[1] already; take one of them out.'
        ],
    ),
    (
        {"websites[0].hostnames": ["*.example.com"]},
        [
            'mail_gateway.websites[0].hostnames[0] is "*.example.com", but a wildcard isn\'t possible here; write each name.'
        ],
    ),
    (
        {"hostname": Unevaluated(template="{{ nam }}", reason="'nam' is undefined")},
        ["mail_gateway.hostname is \"{{ nam }}\", but 'nam' is undefined; define it."],
    ),
    (
        {"hostname": Unevaluated(template="{{ lookup('file', 'x') }}", reason="the file could not be found")},
        [
            "mail_gateway.hostname is \"{{ lookup('file', 'x') }}\", which can't be evaluated: the file could not be found."
        ],
    ),
    # addresses
    (
        {"gw1.mail_gateway_egress_address": "10.10.0.11/24"},
        ['mail_gateway_egress_address of gw1 is "10.10.0.11/24", but must be one address; write 10.10.0.11.'],
    ),
    (
        {"gw1.mail_gateway_egress_address": "127.0.0.1"},
        [
            'mail_gateway_egress_address of gw1 is "127.0.0.1", but must not be loopback, which is another host everywhere.'
        ],
    ),
    (
        {"gw1.mail_gateway_egress_address": "::1"},
        ['mail_gateway_egress_address of gw1 is "::1", but must not be loopback, which is another host everywhere.'],
    ),
    (
        {"gw1.mail_gateway_egress_address": "224.0.0.1"},
        ['mail_gateway_egress_address of gw1 is "224.0.0.1", but must not be multicast.'],
    ),
    (
        {"gw1.mail_gateway_egress_address": "ff02::1"},
        ['mail_gateway_egress_address of gw1 is "ff02::1", but must not be multicast.'],
    ),
    (
        {"gw1.mail_gateway_egress_address": "169.254.1.1"},
        [
            'mail_gateway_egress_address of gw1 is "169.254.1.1", but must not be link-local, which means nothing beyond one link.'
        ],
    ),
    (
        {"gw1.mail_gateway_egress_address": "fe80::1"},
        [
            'mail_gateway_egress_address of gw1 is "fe80::1", but must not be link-local, which means nothing beyond one link.'
        ],
    ),
    (
        {"gw1.mail_gateway_egress_address": "fe80::1%eth0"},
        ['mail_gateway_egress_address of gw1 is "fe80::1%eth0", but must be without a zone (the part after %).'],
    ),
    (
        {"gw1.mail_gateway_egress_address": "0.0.0.0"},
        ['mail_gateway_egress_address of gw1 is "0.0.0.0", but must be a real address, not the unspecified one.'],
    ),
    (
        {"gw1.mail_gateway_egress_address": "::"},
        ['mail_gateway_egress_address of gw1 is "::", but must be a real address, not the unspecified one.'],
    ),
    (
        {"gw1.mail_gateway_egress_address": "255.255.255.255"},
        ['mail_gateway_egress_address of gw1 is "255.255.255.255", but must not be in 240.0.0.0/4, which is reserved.'],
    ),
    (
        {"gw1.mail_gateway_egress_address": "0.1.2.3"},
        ['mail_gateway_egress_address of gw1 is "0.1.2.3", but must not be in 0.0.0.0/8, which is reserved.'],
    ),
    (
        {"gw1.mail_gateway_egress_address": "gw1.example.com"},
        [
            'mail_gateway_egress_address of gw1 is "gw1.example.com", but must be an address such as 192.0.2.10 or 2001:db8::10, not a name.'
        ],
    ),
    (
        {"gw1.mail_gateway_egress_address": "10.10.0.256"},
        [
            'mail_gateway_egress_address of gw1 is "10.10.0.256", but must be an address such as 192.0.2.10 or 2001:db8::10; each of the four numbers is at most 255.'
        ],
    ),
    (
        {"gw1.mail_gateway_egress_address": "10.10.0"},
        [
            'mail_gateway_egress_address of gw1 is "10.10.0", but must be an address such as 192.0.2.10 or 2001:db8::10; an IPv4 address has four numbers.'
        ],
    ),
    (
        {"gw1.mail_gateway_egress_address": "10.010.0.11"},
        ['mail_gateway_egress_address of gw1 is "10.010.0.11", but must be without leading zeros; write 10.10.0.11.'],
    ),
    (
        {"gw1.mail_gateway_egress_address": "10.10.0.11:25"},
        ['mail_gateway_egress_address of gw1 is "10.10.0.11:25", but must be without a port; write 10.10.0.11.'],
    ),
    (
        {"gw1.mail_gateway_egress_address": "[2001:db8::1]:25"},
        [
            'mail_gateway_egress_address of gw1 is "[2001:db8::1]:25", but must be without brackets and port; write 2001:db8::1.'
        ],
    ),
    (
        {"gw1.mail_gateway_egress_address": "::ffff:10.10.0.11"},
        [
            'mail_gateway_egress_address of gw1 is "::ffff:10.10.0.11", but must be written as the IPv4 that it stands for; write 10.10.0.11.'
        ],
    ),
    (
        {"gw1.mail_gateway_egress_address": "10.10.0.11-10.10.0.12"},
        ['mail_gateway_egress_address of gw1 is "10.10.0.11-10.10.0.12", but must be one address, not a range.'],
    ),
    (
        {"gw1.mail_gateway_egress_address": 10.1},
        [
            "mail_gateway_egress_address of gw1 is 10.1, but must be an address such as 192.0.2.10 or 2001:db8::10; YAML reads it as a number, so put it in quotes."
        ],
    ),
    (
        {"gw1.mail_gateway_egress_address": 168427531},
        [
            "mail_gateway_egress_address of gw1 is 168427531, but must be an address such as 192.0.2.10 or 2001:db8::10; YAML reads it as a number, so put it in quotes."
        ],
    ),
    (
        {"gw1.mail_gateway_egress_address": True},
        [
            "mail_gateway_egress_address of gw1 is true, but must be an address such as 192.0.2.10 or 2001:db8::10; YAML reads yes, no, on and off as true or false, so put such a text in quotes."
        ],
    ),
    (
        {"gw1.mail_gateway_egress_address": ["10.10.0.11"]},
        [
            'mail_gateway_egress_address of gw1 is ["10.10.0.11"], but must be an address such as 192.0.2.10 or 2001:db8::10, not a list.'
        ],
    ),
    (
        {"gw1.mail_gateway_egress_address": "10.10.0.11 "},
        ['mail_gateway_egress_address of gw1 is "10.10.0.11 ", with white space around it; write "10.10.0.11".'],
    ),
    # networks
    (
        {"admin_networks": ["198.51.100.7/24"]},
        [
            'mail_gateway.admin_networks[0] is "198.51.100.7/24", which has host bits set; write 198.51.100.0/24 for the network or 198.51.100.7 for the one host.'
        ],
    ),
    (
        {"admin_networks": ["2001:db8:a::1/64"]},
        [
            'mail_gateway.admin_networks[0] is "2001:db8:a::1/64", which has host bits set; write 2001:db8:a::/64 for the network or 2001:db8:a::1 for the one host.'
        ],
    ),
    (
        {"admin_networks": ["198.51.100.0/33"]},
        ['mail_gateway.admin_networks[0] is "198.51.100.0/33", but the number after the slash must be from 0 to 32.'],
    ),
    (
        {"admin_networks": ["2001:db8::/129"]},
        ['mail_gateway.admin_networks[0] is "2001:db8::/129", but the number after the slash must be from 0 to 128.'],
    ),
    (
        {"admin_networks": ["198.51.100.0/255.255.255.0"]},
        [
            'mail_gateway.admin_networks[0] is "198.51.100.0/255.255.255.0", but must have the number of bits after the slash; write 198.51.100.0/24.'
        ],
    ),
    (
        {"admin_networks": ["198.51.100.0/0.0.0.255"]},
        [
            'mail_gateway.admin_networks[0] is "198.51.100.0/0.0.0.255", but must have the number of bits after the slash; write 198.51.100.0/24.'
        ],
    ),
    (
        {"admin_networks": ["198.51.100.0/x"]},
        ['mail_gateway.admin_networks[0] is "198.51.100.0/x", but the number after the slash must be from 0 to 32.'],
    ),
    (
        {"admin_networks": ["198.51.100.0/"]},
        ['mail_gateway.admin_networks[0] is "198.51.100.0/", but the number after the slash must be from 0 to 32.'],
    ),
    (
        {"admin_networks": ["198.51.100.1-198.51.100.6"]},
        [
            'mail_gateway.admin_networks[0] is "198.51.100.1-198.51.100.6", but must not be a range; write 198.51.100.1, 198.51.100.2/31, 198.51.100.4/31, 198.51.100.6.'
        ],
    ),
    (
        {"admin_networks": ["198.51.100.9-198.51.100.1"]},
        ['mail_gateway.admin_networks[0] is "198.51.100.9-198.51.100.1", but must not be a range; write networks.'],
    ),
    (
        {"admin_networks": ["198.51.100.0/24, 203.0.113.0/24"]},
        [
            'mail_gateway.admin_networks[0] is "198.51.100.0/24, 203.0.113.0/24", but must be one address or network, without a comma or space in it.'
        ],
    ),
    (
        {"admin_networks": ["198.51.100.0/24 203.0.113.0/24"]},
        [
            'mail_gateway.admin_networks[0] is "198.51.100.0/24 203.0.113.0/24", but must be one address or network, without a comma or space in it.'
        ],
    ),
    (
        {"admin_networks": ["office"]},
        [
            'mail_gateway.admin_networks[0] is "office", but must be a network such as 192.0.2.0/24, or an address, not a name.'
        ],
    ),
    (
        {"admin_networks": ["127.0.0.0/8"]},
        [
            'mail_gateway.admin_networks[0] is "127.0.0.0/8", but must not be loopback, which is another host everywhere.'
        ],
    ),
    (
        {"admin_networks": ["224.0.0.0/4"]},
        ['mail_gateway.admin_networks[0] is "224.0.0.0/4", but must not be multicast.'],
    ),
    (
        {"admin_networks": ["169.254.0.0/16"]},
        [
            'mail_gateway.admin_networks[0] is "169.254.0.0/16", but must not be link-local, which means nothing beyond one link.'
        ],
    ),
    (
        {"admin_networks": ["0.0.0.0/0"]},
        ['mail_gateway.admin_networks[0] is "0.0.0.0/0", which is everybody; name the networks of the administrators.'],
    ),
    (
        {"admin_networks": ["::/0"]},
        ['mail_gateway.admin_networks[0] is "::/0", which is everybody; name the networks of the administrators.'],
    ),
    (
        {"admin_networks": ["128.0.0.0/1"]},
        [
            'mail_gateway.admin_networks[0] is "128.0.0.0/1", a large part of the Internet; name the networks of the administrators.'
        ],
    ),
    (
        {"admin_networks": ["2000::/3"]},
        [
            'mail_gateway.admin_networks[0] is "2000::/3", a large part of the Internet; name the networks of the administrators.'
        ],
    ),
    (
        {"admin_networks": ["0.0.0.0/1"]},
        [
            'mail_gateway.admin_networks[0] is "0.0.0.0/1", a large part of the Internet; name the networks of the administrators.'
        ],
    ),
    (
        {"admin_networks": [""]},
        ['mail_gateway.admin_networks[0] is "", but must be a network such as 192.0.2.0/24, or an address.'],
    ),
    (
        {"admin_networks": ["localhost"]},
        [
            'mail_gateway.admin_networks[0] is "localhost", but must be a network such as 192.0.2.0/24, or an address, not a name.'
        ],
    ),
    (
        {"admin_networks": [198]},
        [
            "mail_gateway.admin_networks[0] is 198, but must be a network such as 192.0.2.0/24, or an address; YAML reads it as a number, so put it in quotes."
        ],
    ),
    (
        {"admin_networks": ["198.51.100"]},
        [
            'mail_gateway.admin_networks[0] is "198.51.100", but must be a network such as 192.0.2.0/24, or an address; an IPv4 address has four numbers.'
        ],
    ),
    (
        {"admin_networks": ["::/64", "198.51.100.0/24"]},
        [
            'mail_gateway.admin_networks[0] is "::/64", but must not hold ::/96, which stands for IPv4 addresses; write the networks that are meant.'
        ],
    ),
    (
        {"monitoring_networks": ["::/64", "198.51.100.0/24"]},
        [
            'mail_gateway.monitoring_networks[0] is "::/64", but must not hold ::/96, which stands for IPv4 addresses; write the networks that are meant.'
        ],
    ),
    (
        {"smtp.relay_clients": ["::/64", "198.51.100.0/24"]},
        [
            'mail_gateway.smtp.relay_clients[0] is "::/64", but must not hold ::/96, which stands for IPv4 addresses; write the networks that are meant.'
        ],
    ),
    (
        {"admin_networks": ["::/8", "198.51.100.0/24"]},
        [
            'mail_gateway.admin_networks[0] is "::/8", but must not hold ::/96, which stands for IPv4 addresses; write the networks that are meant.'
        ],
    ),
    (
        {"monitoring_networks": ["::/8", "198.51.100.0/24"]},
        [
            'mail_gateway.monitoring_networks[0] is "::/8", but must not hold ::/96, which stands for IPv4 addresses; write the networks that are meant.'
        ],
    ),
    (
        {"smtp.relay_clients": ["::/8", "198.51.100.0/24"]},
        [
            'mail_gateway.smtp.relay_clients[0] is "::/8", but must not hold ::/96, which stands for IPv4 addresses; write the networks that are meant.'
        ],
    ),
    (
        {"admin_networks": ["::10.1.1.1", "198.51.100.0/24"]},
        [
            'mail_gateway.admin_networks[0] is "::10.1.1.1", but must not be in ::/96, whose addresses wrap an IPv4 one; write the IPv4 that is meant.'
        ],
    ),
    (
        {"monitoring_networks": ["::10.1.1.1", "198.51.100.0/24"]},
        [
            'mail_gateway.monitoring_networks[0] is "::10.1.1.1", but must not be in ::/96, whose addresses wrap an IPv4 one; write the IPv4 that is meant.'
        ],
    ),
    (
        {"smtp.relay_clients": ["::10.1.1.1", "198.51.100.0/24"]},
        [
            'mail_gateway.smtp.relay_clients[0] is "::10.1.1.1", but must not be in ::/96, whose addresses wrap an IPv4 one; write the IPv4 that is meant.'
        ],
    ),
    (
        {"admin_networks": ["2002::/16", "198.51.100.0/24"]},
        [
            'mail_gateway.admin_networks[0] is "2002::/16", but must not be in 2002::/16, whose addresses wrap an IPv4 one; write the IPv4 that is meant.'
        ],
    ),
    (
        {"monitoring_networks": ["2002::/16", "198.51.100.0/24"]},
        [
            'mail_gateway.monitoring_networks[0] is "2002::/16", but must not be in 2002::/16, whose addresses wrap an IPv4 one; write the IPv4 that is meant.'
        ],
    ),
    (
        {"smtp.relay_clients": ["2002::/16", "198.51.100.0/24"]},
        [
            'mail_gateway.smtp.relay_clients[0] is "2002::/16", but must not be in 2002::/16, whose addresses wrap an IPv4 one; write the IPv4 that is meant.'
        ],
    ),
    (
        {"admin_networks": ["2002:ac14:1e19::1", "198.51.100.0/24"]},
        [
            'mail_gateway.admin_networks[0] is "2002:ac14:1e19::1", but must not be in 2002::/16, whose addresses wrap an IPv4 one; write the IPv4 that is meant.'
        ],
    ),
    (
        {"monitoring_networks": ["2002:ac14:1e19::1", "198.51.100.0/24"]},
        [
            'mail_gateway.monitoring_networks[0] is "2002:ac14:1e19::1", but must not be in 2002::/16, whose addresses wrap an IPv4 one; write the IPv4 that is meant.'
        ],
    ),
    (
        {"smtp.relay_clients": ["2002:ac14:1e19::1", "198.51.100.0/24"]},
        [
            'mail_gateway.smtp.relay_clients[0] is "2002:ac14:1e19::1", but must not be in 2002::/16, whose addresses wrap an IPv4 one; write the IPv4 that is meant.'
        ],
    ),
    (
        {"admin_networks": ["64:ff9b::/64", "198.51.100.0/24"]},
        [
            'mail_gateway.admin_networks[0] is "64:ff9b::/64", but must not hold 64:ff9b::/96, which stands for IPv4 addresses; write the networks that are meant.'
        ],
    ),
    (
        {"monitoring_networks": ["64:ff9b::/64", "198.51.100.0/24"]},
        [
            'mail_gateway.monitoring_networks[0] is "64:ff9b::/64", but must not hold 64:ff9b::/96, which stands for IPv4 addresses; write the networks that are meant.'
        ],
    ),
    (
        {"smtp.relay_clients": ["64:ff9b::/64", "198.51.100.0/24"]},
        [
            'mail_gateway.smtp.relay_clients[0] is "64:ff9b::/64", but must not hold 64:ff9b::/96, which stands for IPv4 addresses; write the networks that are meant.'
        ],
    ),
    (
        {"admin_networks": ["64:ff9b::a01:101", "198.51.100.0/24"]},
        [
            'mail_gateway.admin_networks[0] is "64:ff9b::a01:101", but must not be in 64:ff9b::/96, whose addresses wrap an IPv4 one; write the IPv4 that is meant.'
        ],
    ),
    (
        {"monitoring_networks": ["64:ff9b::a01:101", "198.51.100.0/24"]},
        [
            'mail_gateway.monitoring_networks[0] is "64:ff9b::a01:101", but must not be in 64:ff9b::/96, whose addresses wrap an IPv4 one; write the IPv4 that is meant.'
        ],
    ),
    (
        {"smtp.relay_clients": ["64:ff9b::a01:101", "198.51.100.0/24"]},
        [
            'mail_gateway.smtp.relay_clients[0] is "64:ff9b::a01:101", but must not be in 64:ff9b::/96, whose addresses wrap an IPv4 one; write the IPv4 that is meant.'
        ],
    ),
    (
        {"websites[0].servers[0].address": "10.10.0.21"},
        [
            'mail_gateway.websites[0].servers[0].address is "10.10.0.21", which is ex1: all of it would be open to everybody; a website needs another server.'
        ],
    ),
    (
        {"websites[0].servers[0].address": "mail.example.com"},
        [
            'mail_gateway.websites[0].servers[0].address is "mail.example.com", which is Exchange: all of it would be open to everybody; a website needs another server.'
        ],
    ),
    (
        {"metrics_port": 842},
        ["mail_gateway.metrics_port is 842, which is the port of the ACME client; choose another, such as 8404."],
    ),
    (
        {"admin_networks": ["::ffff:0:0/96"]},
        [
            'mail_gateway.admin_networks[0] is "::ffff:0:0/96", but must be written as the IPv4 that it stands for; write 0.0.0.0/0.'
        ],
    ),
    (
        {"admin_networks": ["198.51.100.0\\24"]},
        [
            'mail_gateway.admin_networks[0] is "198.51.100.0\\\\24", but must be a network such as 192.0.2.0/24, or an address.'
        ],
    ),
    # network lists
    (
        {"admin_networks": ["198.51.100.0/24", "198.51.100.0/24"]},
        [
            'mail_gateway.admin_networks[1] is "198.51.100.0/24", which is mail_gateway.admin_networks[0] already; take one of them out.'
        ],
    ),
    (
        {"admin_networks": ["198.51.100.0/24", "198.51.100.128/25"]},
        [
            'mail_gateway.admin_networks[1] is "198.51.100.128/25", which overlaps with mail_gateway.admin_networks[0] ("198.51.100.0/24"); keep the wider one.'
        ],
    ),
    (
        {"admin_networks": ["198.51.100.7", "198.51.100.7/32"]},
        [
            'mail_gateway.admin_networks[1] is "198.51.100.7/32", which is mail_gateway.admin_networks[0] already; take one of them out.'
        ],
    ),
    (
        {"monitoring_networks": ["0.0.0.0/0"]},
        [
            'mail_gateway.monitoring_networks[0] is "0.0.0.0/0", which is everybody; name the networks of the monitoring.'
        ],
    ),
    (
        {"monitoring_networks": ["1.0.0.0/7"]},
        [
            'mail_gateway.monitoring_networks[0] is "1.0.0.0/7", which has host bits set; write 0.0.0.0/7 for the network or 1.0.0.0 for the one host.'
        ],
    ),
    (
        {"ipv6": False, "admin_networks": ["2001:db8:a::/64"]},
        ["mail_gateway.admin_networks has only IPv6 networks, but the gateway listens on IPv4 only; add one of IPv4."],
    ),
    (
        {"service_addresses": ["2001:db8:25::10"], "admin_networks": ["198.51.100.0/24"]},
        [
            "mail_gateway.admin_networks has only IPv4 networks, but the gateway listens on IPv6 only; add one of IPv6.",
            "mail_gateway.smtp.relay_clients has only IPv4 networks, but the gateway listens on IPv6 only; add one of IPv6.",
            "mail_gateway.monitoring_networks has only IPv4 networks, but the gateway listens on IPv6 only; add one of IPv6.",
        ],
    ),
    # relay
    (
        {"smtp.relay_clients": ["0.0.0.0/0"]},
        [
            'mail_gateway.smtp.relay_clients[0] is "0.0.0.0/0", which is everybody: an open relay; name the hosts that may relay.'
        ],
    ),
    (
        {"smtp.relay_clients": ["::/0"]},
        [
            'mail_gateway.smtp.relay_clients[0] is "::/0", which is everybody: an open relay; name the hosts that may relay.'
        ],
    ),
    (
        {"smtp.relay_clients": ["8.8.8.0/24"]},
        [
            'mail_gateway.smtp.relay_clients[0] is "8.8.8.0/24", a network of public addresses, which is too wide for relaying; name its hosts one by one.'
        ],
    ),
    (
        {"smtp.relay_clients": ["2a00::/16"]},
        [
            'mail_gateway.smtp.relay_clients[0] is "2a00::/16", a network of public addresses, which is too wide for relaying; name its hosts one by one.'
        ],
    ),
    (
        {"smtp.relay_clients": ["10.0.0.0/8"]},
        [
            'mail_gateway.smtp.relay_clients[0] is "10.0.0.0/8", which holds 10.10.0.11 (the egress address of gw1), 10.10.0.12 (the egress address of gw2), 10.10.0.21 (the server ex1) and 3 more, where anybody\'s mail comes from; name the relay clients alone.'
        ],
    ),
    (
        {"smtp.relay_clients": ["10.10.0.0/24"]},
        [
            'mail_gateway.smtp.relay_clients[0] is "10.10.0.0/24", which holds 10.10.0.11 (the egress address of gw1), 10.10.0.12 (the egress address of gw2), 10.10.0.21 (the server ex1) and 3 more, where anybody\'s mail comes from; name the relay clients alone.'
        ],
    ),
    (
        {"smtp.relay_clients": ["10.10.0.11"]},
        [
            'mail_gateway.smtp.relay_clients[0] is "10.10.0.11", which is the egress address of gw1, where anybody\'s mail comes from; take it out.'
        ],
    ),
    (
        {"smtp.relay_clients": ["10.10.0.111"]},
        [
            'mail_gateway.smtp.relay_clients[0] is "10.10.0.111", which is the relay address of gw1, where anybody\'s mail comes from; take it out.'
        ],
    ),
    (
        {"smtp.relay_clients": ["10.10.0.21"]},
        [
            'mail_gateway.smtp.relay_clients[0] is "10.10.0.21", which is the server ex1, where anybody\'s mail comes from; take it out.'
        ],
    ),
    (
        {"smtp.relay_clients": ["172.0.0.0/8"]},
        [
            'mail_gateway.smtp.relay_clients[0] is "172.0.0.0/8", a network of public addresses, which is too wide for relaying; name its hosts one by one.'
        ],
    ),
    (
        {"smtp.relay_clients": ["10.30.0.0/24", "10.30.0.25"]},
        [
            'mail_gateway.smtp.relay_clients[1] is "10.30.0.25", which overlaps with mail_gateway.smtp.relay_clients[0] ("10.30.0.0/24"); keep the wider one.'
        ],
    ),
    (
        {"service_addresses": ["203.0.113.10"], "smtp.relay_clients": ["203.0.113.0/28"]},
        [
            'mail_gateway.smtp.relay_clients[0] is "203.0.113.0/28", which holds 203.0.113.10 (a service address of gw1 and gw2), where anybody\'s mail comes from; name the relay clients alone.'
        ],
    ),
    (
        {"gw1.ansible_host": "10.30.1.5"},
        [
            'mail_gateway.smtp.relay_clients[1] is "10.30.1.0/28", which holds 10.30.1.5 (ansible_host of gw1), where anybody\'s mail comes from; name the relay clients alone.'
        ],
    ),
    (
        {"ipv6": False, "smtp.relay_clients": ["2001:db8:5::1"]},
        [
            "mail_gateway.smtp.relay_clients has only IPv6 networks, but the gateway listens on IPv4 only; add one of IPv4."
        ],
    ),
    (
        {"gw1.mail_gateway_egress_address": DROP},
        [
            "mail_gateway_egress_address of gw1 is missing; mail_gateway.smtp.relay_clients needs it, as the address from which everybody else reaches Exchange."
        ],
    ),
    (
        {"gw2.mail_gateway_relay_address": DROP},
        [
            "mail_gateway_relay_address of gw2 is missing; mail_gateway.smtp.relay_clients needs it, as the address from which they reach Exchange."
        ],
    ),
    (
        {"gw1.mail_gateway_relay_address": ""},
        [
            "mail_gateway_relay_address of gw1 is missing; mail_gateway.smtp.relay_clients needs it, as the address from which they reach Exchange."
        ],
    ),
    (
        {"gw1.mail_gateway_relay_address": "10.10.0.11"},
        [
            'mail_gateway_relay_address of gw1 is "10.10.0.11", which is mail_gateway_egress_address too; it must be a second address, by which Exchange knows relay clients.'
        ],
    ),
    (
        {"gw1.mail_gateway_relay_address": "fd00:10::111"},
        [
            'mail_gateway_relay_address of gw1 is "fd00:10::111", an IPv6 address, but ex1 and ex2 have an IPv4 one; use one family for all.'
        ],
    ),
    (
        {"gw1.mail_gateway_egress_address": "fd00:10::11"},
        [
            'mail_gateway_egress_address of gw1 is "fd00:10::11", an IPv6 address, but ex1 and ex2 have an IPv4 one; use one family for all.'
        ],
    ),
    (
        {
            "gw1.mail_gateway_egress_address": "fd00:10::11",
            "ex1.ansible_host": "ex1.example.com",
            "ex2.mail_gateway_server_address": "ex2",
        },
        [
            'mail_gateway_relay_address of gw1 is "10.10.0.111", but mail_gateway_egress_address (fd00:10::11) is of the other family; both must be of the servers\' family.'
        ],
    ),
    (
        {"gw2.mail_gateway_egress_address": "10.10.0.11"},
        [
            'mail_gateway_egress_address of gw2 is "10.10.0.11", which is mail_gateway_egress_address of gw1 too; give each gateway its own.'
        ],
    ),
    (
        {"gw2.mail_gateway_relay_address": "10.10.0.111"},
        [
            'mail_gateway_relay_address of gw2 is "10.10.0.111", which is mail_gateway_relay_address of gw1 too; give each gateway its own.'
        ],
    ),
    (
        {"gw2.mail_gateway_relay_address": "10.10.0.11"},
        [
            'mail_gateway_relay_address of gw2 is "10.10.0.11", which is mail_gateway_egress_address of gw1 too; give each gateway its own.'
        ],
    ),
    (
        {"gw1.mail_gateway_egress_address": "10.10.0.21"},
        [
            'mail_gateway_egress_address of gw1 is "10.10.0.21", which is the address of the server ex1; write the gateway\'s own.'
        ],
    ),
    (
        {"service_addresses": ["10.10.0.111"]},
        [
            'mail_gateway_relay_address of gw1 is "10.10.0.111", which is mail_gateway.service_addresses[0] too; it must be an address that clients don\'t reach.'
        ],
    ),
    (
        {"service_addresses": ["10.10.0.21"]},
        [
            'mail_gateway.service_addresses[0] is "10.10.0.21", which is the address of the server ex1; write the gateway\'s own.'
        ],
    ),
    (
        {"gw1": DROP},
        [
            "mail_gateway_egress_address of gw1 is missing; mail_gateway.smtp.relay_clients needs it, as the address from which everybody else reaches Exchange.",
            "mail_gateway_relay_address of gw1 is missing; mail_gateway.smtp.relay_clients needs it, as the address from which they reach Exchange.",
        ],
    ),
    # inventory
    (
        {"groups.exchange": DROP},
        [
            'mail_gateway.exchange.group is "exchange", but the inventory has no such group; put the Exchange servers into it.'
        ],
    ),
    (
        {"groups.exchange": DROP, "groups.exchange_servers": ["ex1"]},
        [
            'mail_gateway.exchange.group is "exchange", but the inventory has no such group; did you mean "exchange_servers"?'
        ],
    ),
    (
        {"groups.exchange": []},
        ['mail_gateway.exchange.group is "exchange", but that group has no hosts; put the Exchange servers into it.'],
    ),
    (
        {"groups.gateways": DROP},
        ["The inventory has no group gateways; make one of the hosts that are to be gateways."],
    ),
    (
        {"groups.gateways": []},
        ["The inventory's group gateways has no hosts; put the hosts into it that are to be gateways."],
    ),
    (
        {"groups.exchange": ["ex1", "gw1"]},
        [
            'mail_gateway.exchange.group is "exchange", but gw1 in that group is in the group gateways too; a host is a gateway or a server, not both.'
        ],
    ),
    (
        {"exchange.group": "gateways"},
        [
            'mail_gateway.exchange.group is "gateways", but gw1 and gw2 in that group are in the group gateways too; a host is a gateway or a server, not both.'
        ],
    ),
    (
        {"exchange.group": "all"},
        [
            'mail_gateway.exchange.group is "all", but gw1 and gw2 in that group are in the group gateways too; a host is a gateway or a server, not both.'
        ],
    ),
    (
        {"groups.exchange": ["ex1", "ex9"]},
        [
            'mail_gateway.exchange.group is "exchange", but the inventory doesn\'t know ex9 in that group; take it out of the group.'
        ],
    ),
    (
        {"ex2": DROP},
        [
            'mail_gateway.exchange.group is "exchange", but the inventory doesn\'t know ex2 in that group; take it out of the group.'
        ],
    ),
    (
        {"ex1.ansible_host": "127.0.0.1"},
        [
            'ansible_host of ex1 is "127.0.0.1", but must not be loopback, which is another host everywhere; or set mail_gateway_server_address of ex1, which goes before it.'
        ],
    ),
    (
        {"ex1.ansible_host": "localhost"},
        [
            'ansible_host of ex1 is "localhost", but must be an address or a host name that means the same on every gateway; or set mail_gateway_server_address of ex1, which goes before it.'
        ],
    ),
    (
        {"ex1.ansible_host": "10.10.0.22"},
        [
            'mail_gateway_server_address of ex2 is "10.10.0.22", which is the address of ex1 too; give each server its own.'
        ],
    ),
    (
        {"ex1.mail_gateway_server_address": "mail.example.com"},
        [
            'mail_gateway_server_address of ex1 is "mail.example.com", which is a name of the gateway itself; write the server\'s own name or address.'
        ],
    ),
    (
        {"ex1.mail_gateway_server_address": "10.10.0.21:25"},
        [
            'mail_gateway_server_address of ex1 is "10.10.0.21:25", but must be an address or a host name alone, without a port.'
        ],
    ),
    (
        {"ex1.mail_gateway_server_address": "https://ex1"},
        [
            'mail_gateway_server_address of ex1 is "https://ex1", but must be an address or a host name alone, not a URL.'
        ],
    ),
    (
        {"ex1.mail_gateway_server_address": "10.10.0.0/24"},
        ['mail_gateway_server_address of ex1 is "10.10.0.0/24", but must be an address or a host name.'],
    ),
    (
        {"ex1.mail_gateway_server_address": "ex_1"},
        [
            'mail_gateway_server_address of ex1 is "ex_1", but must not hold an underscore, which isn\'t allowed in the name of a host.'
        ],
    ),
    (
        {"ex1.mail_gateway_server_address": ""},
        ['mail_gateway_server_address of ex1 is "", but must be an address or a host name.'],
    ),
    (
        {"ex1.mail_gateway_server_address": "10.10.0.999"},
        ['mail_gateway_server_address of ex1 is "10.10.0.999", but must be an address or a host name.'],
    ),
    (
        {"ex1.mail_gateway_server_address": "ex1.example.com."},
        ['mail_gateway_server_address of ex1 is "ex1.example.com.", with a dot at its end; write "ex1.example.com".'],
    ),
    (
        {"ex1.mail_gateway_server_address": "éx1"},
        ['mail_gateway_server_address of ex1 is "éx1", but must be in its ASCII form (punycode); write xn--x1-9ia.'],
    ),
    (
        {"groups.exchange": ["ex 1"], "hosts.ex 1": {"ansible_host": "10.10.0.21"}},
        [
            'inventory_hostname of ex 1 is "ex 1", but must be a host\'s name in the inventory of letters, digits, dots, hyphens and underscores.'
        ],
    ),
    (
        {"groups.exchange": ["ex_1"], "hosts.ex_1": {}},
        [
            'The name of ex_1 in the inventory is "ex_1", but must not hold an underscore, which isn\'t allowed in the name of a host; or set mail_gateway_server_address of ex_1, which goes before it.'
        ],
    ),
    (
        {"ex1.ansible_host": Unevaluated(template="{{ ip }}", reason="'ip' is undefined")},
        [
            "ansible_host of ex1 is \"{{ ip }}\", but 'ip' is undefined; define it; or set mail_gateway_server_address of ex1, which goes before it."
        ],
    ),
    # ipv6
    (
        {"ipv6": True, "service_addresses": ["203.0.113.10"]},
        ["mail_gateway.ipv6 is true, but mail_gateway.service_addresses has no IPv6 address; add one, or write false."],
    ),
    (
        {"ipv6": False, "service_addresses": ["203.0.113.10", "2001:db8:25::10"]},
        [
            'mail_gateway.service_addresses[1] is "2001:db8:25::10", an IPv6 address, but mail_gateway.ipv6 is false; take one of the two out.'
        ],
    ),
    (
        {"service_addresses": ["203.0.113.10", "203.0.113.10"]},
        [
            'mail_gateway.service_addresses[1] is "203.0.113.10", which is mail_gateway.service_addresses[0] already; take one of them out.'
        ],
    ),
    (
        {"service_addresses": ["0.0.0.0"]},
        ['mail_gateway.service_addresses[0] is "0.0.0.0", but must be a real address, not the unspecified one.'],
    ),
    (
        {"service_addresses": ["203.0.113.0/24"]},
        ['mail_gateway.service_addresses[0] is "203.0.113.0/24", but must be one address; write 203.0.113.0.'],
    ),
    (
        {"service_addresses": "203.0.113.10"},
        ['mail_gateway.service_addresses is "203.0.113.10", but must be a list; write [203.0.113.10].'],
    ),
    # https
    (
        {"https.virtual_directories": ["owa"], "https.internal_only": ["ecp"]},
        [
            'mail_gateway.https.internal_only[0] is "ecp", but mail_gateway.https.virtual_directories doesn\'t have it; take it out here, or publish it there.'
        ],
    ),
    (
        {"https.internal_only": ["ecp", "ecp"]},
        [
            'mail_gateway.https.internal_only[1] is "ecp", which is mail_gateway.https.internal_only[0] already; take one of them out.'
        ],
    ),
    (
        {"https.enabled": False, "smtp.enabled": False, "imap.enabled": False, "pop.enabled": False, "websites": []},
        ["mail_gateway publishes nothing; enable https, smtp, imap or pop, or declare a website."],
    ),
    # websites
    (
        {"websites[0].name": "mail"},
        ['mail_gateway.websites[0].name is "mail", which stands for Exchange\'s certificate; choose another name.'],
    ),
    (
        {
            "websites[1]": {
                "name": "www",
                "hostnames": ["shop.example.com"],
                "servers": [{"address": "10.40.0.10", "port": 80}],
            }
        },
        [
            'mail_gateway.websites[1].name is "www", which is mail_gateway.websites[0].name already; choose another name.'
        ],
    ),
    (
        {
            "websites[1]": {
                "name": "shop",
                "hostnames": ["example.com"],
                "servers": [{"address": "10.40.0.10", "port": 80}],
            }
        },
        [
            'mail_gateway.websites[1].hostnames[0] is "example.com", which is mail_gateway.websites[0].hostnames[1] already; a name belongs to one website.'
        ],
    ),
    (
        {"websites[0].hostnames": ["mail.example.com"]},
        [
            'mail_gateway.websites[0].hostnames[0] is "mail.example.com", which is a name of Exchange already; a website needs another.'
        ],
    ),
    (
        {"websites[0].hostnames": ["autodiscover.example.org"]},
        [
            'mail_gateway.websites[0].hostnames[0] is "autodiscover.example.org", which is a name of Exchange already; a website needs another.'
        ],
    ),
    (
        {"certificate.names": ["mail.example.com", "www.example.com"]},
        [
            'mail_gateway.websites[0].hostnames[0] is "www.example.com", which is a name of Exchange already; a website needs another.'
        ],
    ),
    (
        {"websites[0].hostnames": ["www.example.com", "www.example.com"]},
        [
            'mail_gateway.websites[0].hostnames[1] is "www.example.com", which is mail_gateway.websites[0].hostnames[0] already; take one of them out.'
        ],
    ),
    (
        {"websites[0].servers[1].address": "10.40.0.10"},
        [
            'mail_gateway.websites[0].servers[1] is {"address": "10.40.0.10", "port": 8080}, which is mail_gateway.websites[0].servers[0] already; take one of them out.'
        ],
    ),
    (
        {"websites[0].servers[0]": {"address": "127.0.0.1", "port": 443}},
        [
            "mail_gateway.websites[0].servers[0].port is 443, which is the port of https on the gateway itself (127.0.0.1); choose another."
        ],
    ),
    (
        {"websites[0].servers[0]": {"address": "localhost", "port": 8404}},
        [
            "mail_gateway.websites[0].servers[0].port is 8404, which is the port of the metrics on the gateway itself (localhost); choose another."
        ],
    ),
    (
        {"websites[0].servers[0]": {"address": "10.10.0.11", "port": 25}},
        [
            "mail_gateway.websites[0].servers[0].port is 25, which is the port of smtp on the gateway itself (10.10.0.11); choose another."
        ],
    ),
    # ports
    (
        {"metrics_port": 443},
        ["mail_gateway.metrics_port is 443, which is the port of https; choose another, such as 8404."],
    ),
    (
        {"metrics_port": 25},
        ["mail_gateway.metrics_port is 25, which is the port of smtp; choose another, such as 8404."],
    ),
    (
        {"metrics_port": 22},
        ["mail_gateway.metrics_port is 22, which is the port of ssh; choose another, such as 8404."],
    ),
    (
        {"metrics_port": 993},
        ["mail_gateway.metrics_port is 993, which is the port of imaps; choose another, such as 8404."],
    ),
    # files
    (
        {"certificate.file": "mail.pem"},
        [
            'mail_gateway.certificate.file is "mail.pem", but must be an absolute path on the controller, such as "{{ inventory_dir }}/files/mail.pem".'
        ],
    ),
    (
        {"certificate.file": "~/mail.pem"},
        [
            'mail_gateway.certificate.file is "~/mail.pem", but must be an absolute path on the controller, such as "{{ inventory_dir }}/files/mail.pem".'
        ],
    ),
    (
        {"certificate.file": "/nonexistent/mail.pem"},
        ['mail_gateway.certificate.file is "/nonexistent/mail.pem", but there is no such file on the controller.'],
    ),
    ({"certificate.file": "/etc"}, ['mail_gateway.certificate.file is "/etc", but that is a folder, not a file.']),
    (
        {"certificate.file": 7},
        [
            "mail_gateway.certificate.file is 7, but must be the path of a file; YAML reads it as a number, so put it in quotes."
        ],
    ),
    (
        {"exchange.ca_file": "/nonexistent/ca.pem"},
        ['mail_gateway.exchange.ca_file is "/nonexistent/ca.pem", but there is no such file on the controller.'],
    ),
    (
        {"websites[0].certificate_file": "/etc/hostname"},
        [
            'mail_gateway.websites[0].certificate_file is "/etc/hostname", which holds no certificate; it must be a PEM file with the private key, the certificate and its chain.'
        ],
    ),
    (
        {"exchange.ca_file": "/etc/hostname"},
        [
            'mail_gateway.exchange.ca_file is "/etc/hostname", which holds no certificate; it must be the authority\'s certificate as a PEM file.'
        ],
    ),
    # ssh and firewall
    ({"ssh.root_logon": "yes"}, ['mail_gateway.ssh.root_logon is "yes", but must be key or none.']),
    ({"ssh.ports": [25]}, ["mail_gateway.ssh.ports[0] is 25, which is the port of smtp; choose another."]),
    ({"ssh.ports": [0]}, ["mail_gateway.ssh.ports[0] is 0, but must be from 1 to 65535."]),
    (
        {"ssh.ports": [2222], "metrics_port": 2222},
        ["mail_gateway.metrics_port is 2222, which is the port of ssh; choose another, such as 8404."],
    ),
    ({"ssh.networks": []}, ["mail_gateway.ssh.networks is [], but must have at least one entry."]),
    (
        {"ssh.networks": ["0.0.0.0/0"]},
        ['mail_gateway.ssh.networks[0] is "0.0.0.0/0", which is everybody; name the networks of the administrators.'],
    ),
    (
        {"ssh.administrators": [{"user": "Anna", "keys": [KEY]}]},
        [
            'mail_gateway.ssh.administrators[0].user is "Anna", but must be the name of an account: letters a-z, digits, hyphens, dots and underscores, a letter first.'
        ],
    ),
    (
        {"ssh.administrators": [{"user": "anna"}]},
        ["mail_gateway.ssh.administrators[0].keys is missing; it must be a list."],
    ),
    (
        {"ssh.administrators": [{"user": "anna", "keys": []}]},
        ["mail_gateway.ssh.administrators[0].keys is [], but must have at least one entry."],
    ),
    (
        {"ssh.administrators": [{"user": "anna", "keys": ["files/anna.pub"]}]},
        [
            'mail_gateway.ssh.administrators[0].keys[0] is "files/anna.pub", but must be a public key, the line of a .pub file: ssh-ed25519 or ssh-rsa and so on, and the key behind it.'
        ],
    ),
    (
        {"ssh.administrators": [{"user": "anna", "keys": ["ssh-rsa " + KEY.split()[1]]}]},
        [
            f'mail_gateway.ssh.administrators[0].keys[0] is "ssh-rsa {KEY.split()[1]}", but what stands behind ssh-rsa isn\'t such a key; copy the whole line of the .pub file.'
        ],
    ),
    (
        {"ssh.administrators": [{"user": "anna", "keys": [f"{KEY}\n{KEY}"]}]},
        [
            f'mail_gateway.ssh.administrators[0].keys[0] is "{KEY}\\n{KEY[:71]}…, but must be a public key, the line of a .pub file; give each key an entry of its own.'
        ],
    ),
    (
        {"ssh.administrators": [{"user": "anna", "keys": ["-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl"]}]},
        [
            "mail_gateway.ssh.administrators[0].keys[0] is not shown, but must be a public key, the line of a .pub file, and this is a private key; take it out and use another pair from now on."
        ],
    ),
    (
        {"ssh.administrators": [{"user": "anna", "keys": [KEY]}, {"user": "anna", "keys": [KEY + "2"]}]},
        [
            'mail_gateway.ssh.administrators[1].user is "anna", which is mail_gateway.ssh.administrators[0].user already; put its keys in one entry.'
        ],
    ),
    (
        {"firewall.open": [{"ports": [443], "comment": "x"}]},
        [
            "mail_gateway.firewall.open[0].ports[0] is 443, which is the port of https; what is published says who reaches it."
        ],
    ),
    (
        {"firewall.open": [{"ports": [22], "comment": "x"}]},
        [
            "mail_gateway.firewall.open[0].ports[0] is 22, which is the port of ssh; mail_gateway.ssh.networks says who reaches it."
        ],
    ),
    (
        {"firewall.open": [{"ports": [9100], "comment": "it's"}]},
        [
            'mail_gateway.firewall.open[0].comment is "it\'s", but must be a few words: at most 60 characters, without quotes, backslashes and dollar signs.'
        ],
    ),
    (
        {"firewall.open": [{"ports": [9100], "protocol": "vrrp", "comment": "x"}]},
        ['mail_gateway.firewall.open[0].protocol is "vrrp", but must be tcp or udp.'],
    ),
    ({"firewall.rules": []}, ["mail_gateway.firewall.rules isn't known; the keys here are managed, exact and open."]),
    # fail2ban
    (
        {"fail2ban.max_ban_time": 60},
        [
            "mail_gateway.fail2ban.ban_time is 3600, which is more than mail_gateway.fail2ban.max_ban_time (60); write less, or more there."
        ],
    ),
    ({"fail2ban.ban_time": "1h"}, ['mail_gateway.fail2ban.ban_time is "1h", but must be a whole number.']),
    (
        {"fail2ban.ignored_networks": ["10.0.0.1/8"]},
        [
            'mail_gateway.fail2ban.ignored_networks[0] is "10.0.0.1/8", which has host bits set; write 10.0.0.0/8 for the network or 10.0.0.1 for the one host.'
        ],
    ),
    # what belongs to whom
    (
        {"firewall.open": [{"ports": [2222], "comment": "x"}], "gw2.ansible_port": 2222},
        [
            "mail_gateway.firewall.open[0].ports[0] is 2222, which is the port of ssh; mail_gateway.ssh.networks says who reaches it."
        ],
    ),
    (
        {"gw1.ansible_port": 443},
        ["ansible_port of gw1 is 443, which is the port of https; sshd needs a port of its own."],
    ),
    (
        {"gw1.ansible_port": "842"},
        ["ansible_port of gw1 is 842, which is the port of the ACME client; sshd needs a port of its own."],
    ),
    ({"gw1.ansible_port": "ssh"}, ['ansible_port of gw1 is "ssh", but must be a whole number.']),
    ({"gw1.ansible_port": 0}, ["ansible_port of gw1 is 0, but must be from 1 to 65535."]),
    (
        {"gw1.ansible_port": 2222, "metrics_port": 2222},
        ["mail_gateway.metrics_port is 2222, which is the port of ssh; choose another, such as 8404."],
    ),
    (
        {"websites[0].servers[0]": {"address": "127.0.0.1", "port": 2222}, "gw2.ansible_port": 2222},
        [
            "mail_gateway.websites[0].servers[0].port is 2222, which is the port of ssh on the gateway itself (127.0.0.1); choose another."
        ],
    ),
    (
        {"websites[0].servers[0]": {"address": "127.0.0.1", "port": 842}},
        [
            "mail_gateway.websites[0].servers[0].port is 842, which is the port of the ACME client on the gateway itself (127.0.0.1); choose another."
        ],
    ),
    (
        {"groups.exchange_legacy": ["old1"], "hosts.old1": {"ansible_host": "10.10.0.111"}},
        [
            'mail_gateway_relay_address of gw1 is "10.10.0.111", which is the address of the older server old1; write the gateway\'s own.'
        ],
    ),
    (
        {"groups.exchange_legacy": ["old1"], "hosts.old1": {"ansible_host": "10.10.0.21"}},
        ['ansible_host of old1 is "10.10.0.21", which is the address of ex1 too; give each server its own.'],
    ),
    (
        {"hosts.printer": {"ansible_host": "10.10.0.11"}},
        [
            'mail_gateway_egress_address of gw1 is "10.10.0.11", which is ansible_host of printer; write the gateway\'s own.'
        ],
    ),
    (
        {"hosts.printer": {"ansible_host": "10.50.0.1"}, "service_addresses": ["10.50.0.1", "2001:db8:25::10"]},
        [
            'mail_gateway.service_addresses[0] is "10.50.0.1", which is ansible_host of printer; write the gateway\'s own.'
        ],
    ),
    (
        {"gw1.ansible_host": "10.10.0.12"},
        [
            'ansible_host of gw1 is "10.10.0.12", which is mail_gateway_egress_address of gw2 too; give each gateway its own.'
        ],
    ),
    (
        {"gw1.ansible_host": "203.0.113.1", "gw2.ansible_host": "203.0.113.1"},
        ['ansible_host of gw2 is "203.0.113.1", which is ansible_host of gw1 too; give each gateway its own.'],
    ),
    (
        {"gw1.ansible_host": "10.10.0.21"},
        ['ansible_host of ex1 is "10.10.0.21", which is ansible_host of gw1; write the server\'s own.'],
    ),
    (
        {"exchange.legacy_group": "exchange"},
        [
            'mail_gateway.exchange.legacy_group is "exchange", which is mail_gateway.exchange.group too; older servers are a group of their own.'
        ],
    ),
    (
        {"groups.exchange_legacy": ["ex2"]},
        [
            'mail_gateway.exchange.legacy_group is "exchange_legacy", but ex2 in that group is in the group exchange too; a host is one or the other.'
        ],
    ),
    (
        {"groups.exchange_legacy": ["gw2"]},
        [
            'mail_gateway.exchange.legacy_group is "exchange_legacy", but gw2 in that group is in the group gateways too; a host is one or the other.'
        ],
    ),
    (
        {"exchange.legacy_group": "exchange_odl", "groups.exchange_old": ["old1"], "hosts.old1": {}},
        [
            'mail_gateway.exchange.legacy_group is "exchange_odl", but the inventory has no such group; did you mean "exchange_old"?'
        ],
    ),
    (
        {
            "certificate.authority": "letsencrypt",
            "smtp.relay_clients": [],
            "hosts.gw1": {},
            "hosts.gw2": {"ansible_host": "gw2.example.com"},
        },
        [
            "mail_gateway_egress_address of gw1 is missing, and neither ansible_host nor its name is an address; mail_gateway.certificate.authority needs one, by which the gateways hand certificates to each other.",
            "mail_gateway_egress_address of gw2 is missing, and neither ansible_host nor its name is an address; mail_gateway.certificate.authority needs one, by which the gateways hand certificates to each other.",
        ],
    ),
    (
        {"smtp.relay_clients": [], "hosts.gw2": {}},
        [
            "mail_gateway_egress_address of gw2 is missing, but gw1 has one; Exchange's receive connectors would let in mail of gw1 alone."
        ],
    ),
]


def name(changes: Any) -> str:
    """What was changed, for pytest's list."""
    return ",".join(changes) if isinstance(changes, dict) else ""


def test_the_sound_declaration_is_sound() -> None:
    assert validate(*declared()) == []


@pytest.mark.parametrize(("changes", "sentences"), BAD, ids=name)
def test_every_problem_is_said_in_one_sentence(changes: dict[str, Any], sentences: list[str]) -> None:
    assert [str(problem) for problem in validate(*declared(changes))] == sentences


@pytest.mark.parametrize(
    ("changes", "same_as"),
    [
        ({"smtp": None}, {"smtp": DROP}),
        ({"smtp.relay_clients": None}, {"smtp.relay_clients": DROP}),
        ({"metrics_port": None, "certificate.file": None, "ipv6": None, "pop.enabled": None}, {}),
        ({"imap.enabled": "yes", "websites[0].http2": "True", "ipv6": " on "}, {"ipv6": True}),
        ({"pop.enabled": "False"}, {"pop.enabled": False}),
        ({"pop.enabled": "no"}, {"pop.enabled": False}),
        ({"metrics_port": "8404", "websites[0].servers[0].port": " 8080 "}, {}),
        ({"ex2.mail_gateway_server_weight": "50", "ex2.mail_gateway_egress_address": None}, {}),
    ],
    ids=", ".join,
)
def test_null_is_not_given_and_a_text_is_what_it_can_only_mean(
    changes: dict[str, Any], same_as: dict[str, Any]
) -> None:
    """Texts are what extra variables, INI inventories and surveys make of numbers and switches."""
    found, expected = check(*declared(changes)), check(*declared(same_as))
    assert not found.problems
    assert (found.site.declaration, found.site.servers) == (expected.site.declaration, expected.site.servers)


def test_sentences_are_sentences() -> None:
    for _, sentences in BAD:
        for sentence in sentences:
            assert sentence.endswith((".", "?")), sentence
            assert "\n" not in sentence, sentence
            assert ".." not in sentence.replace("mail..example.com", ""), sentence


def test_the_path_begins_the_sentence() -> None:
    for changes, _ in BAD:
        for problem in validate(*declared(changes)):
            assert problem.sentence.startswith((problem.path, "The inventory")), problem


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("gw 1", "but must be a host's name in the inventory of letters, digits"),
        ("gw1\n", 'with white space around it; write "gw1"'),
        ("gw1]:25", "but must be a host's name in the inventory of letters, digits"),
    ],
)
def test_a_gateways_name_can_be_one_of_a_file_and_a_key(name: str, sentence: str) -> None:
    declaration, inventory = declared()
    groups = {**inventory.groups, "gateways": [*inventory.groups["gateways"], name]}
    found = [problem.sentence for problem in validate(declaration, dataclasses.replace(inventory, groups=groups))]
    assert [one for one in found if one.startswith("inventory_hostname of ") and sentence in one]
