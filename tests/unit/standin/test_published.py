"""What the stand-in takes from the published help."""

from __future__ import annotations

import re

import pytest
from standin_powershell import HERE

from standin import published, quantities, state


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Version 15.0 (Build 1497.2)", "2013"),
        ("Version 15.1 (Build 2507.6)", "2016"),
        ("Version 15.2 (Build 1118.7)", "2019"),
        ("Version 15.2 (Build 1748.10)", "2019"),
        ("Version 15.2 (Build 2562.17)", "SE"),
        ("Version 14.3 (Build 123.4)", "2010"),
    ],
)
def test_a_version_is_told_by_its_build(text: str, version: str) -> None:
    assert published.exchange_version(text) == version


def test_windows_module_exports_what_is_published() -> None:
    text = (HERE / "powershell" / "Windows" / "Windows.psd1").read_text()
    exported = re.findall(r"'([A-Z]\w+-\w+)'", text)
    assert exported == sorted(published.of_windows())


def test_every_property_that_a_connector_can_be_given_is_in_the_state() -> None:
    kind = state.KINDS["ReceiveConnector"]
    known = {*kind.acted, *(kind.carried or ())}
    for name in ("New-ReceiveConnector", "Set-ReceiveConnector"):
        told = set(published.parameters(name, "SE"))
        told -= {
            "Confirm",
            "WhatIf",
            "DomainController",
            "Usage",
            "Custom",
            "Internet",
            "Internal",
            "Client",
            "Partner",
        }
        assert told <= known


def test_every_enumeration_of_a_connector_has_its_values() -> None:
    plain = "Boolean Int32 String Unlimited ByteQuantifiedSize EnhancedTimeSpan Fqdn MultiValuedProperty".split()
    plain += "SwitchParameter ReceiveConnectorIdParameter AcceptedDomainIdParameter SmtpX509Identifier".split()
    plain.append("ServerIdParameter")
    for name in ("New-ReceiveConnector", "Set-ReceiveConnector", "Set-ImapSettings", "Set-PopSettings"):
        for fact in published.parameters(name, "SE").values():
            kind = fact["type"]
            assert kind in [*plain, "Uri"] or kind in quantities.FLAGS or kind in quantities.NAMES, (name, kind)
