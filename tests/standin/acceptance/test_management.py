"""A script for a real server, on a server of the lab: what it sets is what clients then meet."""

from __future__ import annotations

import imaplib
import smtplib

from standin_exchange import Exchange

from lab import Lab

SESSION = """
$ErrorActionPreference = 'Stop'
$session = New-PSSession -ConfigurationName Microsoft.Exchange -Authentication Kerberos `
    -ConnectionUri http://ex2.example.test/PowerShell/
$null = Import-PSSession $session -DisableNameChecking
"""


def test_ntlm_goes_with_the_restart_of_both_services(exchange: Exchange) -> None:
    def offered() -> bool:
        with imaplib.IMAP4_SSL(exchange.address, ssl_context=exchange.trust, timeout=10) as client:
            return b"AUTH=NTLM" in client.capability()[1][0]

    assert offered()
    exchange.powershell(SESSION + "Set-ImapSettings -Server EX2 -EnableGSSAPIAndNTLMAuth $false")
    assert offered()
    exchange.powershell("Restart-Service MSExchangeImap4, MSExchangeIMAP4BE")
    assert not offered()


def relayed(exchange: Exchange, lab: Lab) -> str:
    """The answer to a recipient elsewhere, for the host `relay`."""
    ask = (
        "import smtplib, sys\n"
        "with smtplib.SMTP(sys.argv[1], timeout=10, local_hostname='relay.example.test') as client:\n"
        "    client.ehlo(); client.mail('a@example.test'); print(client.rcpt('b@example.org')[0])\n"
    )
    return lab.exec("relay", ["python3", "-c", ask, exchange.address]).stdout.strip()


def test_a_relay_connector_for_one_host(exchange: Exchange) -> None:
    lab = exchange.lab
    assert relayed(exchange, lab) == "550"
    exchange.powershell(
        SESSION
        + f"""
        $null = New-ReceiveConnector -Name Test -Server EX2 -TransportRole FrontendTransport -Usage Custom `
            -Bindings 0.0.0.0:25 -RemoteIPRanges {lab.address("relay", "inside")} -PermissionGroups AnonymousUsers
        $null = Add-ADPermission 'EX2\\Test' -User 'NT AUTHORITY\\ANONYMOUS LOGON' `
            -ExtendedRights 'Ms-Exch-SMTP-Accept-Any-Recipient'
        """
    )
    assert relayed(exchange, lab) == "250"
    # From elsewhere it isn't one.
    with smtplib.SMTP(exchange.address, timeout=10, local_hostname="host.example.test") as client:
        client.ehlo()
        client.mail("a@example.test")
        assert client.rcpt("b@example.org")[0] == 550
    exchange.powershell(SESSION + "Remove-ReceiveConnector 'EX2\\Test' -Confirm:$false")
    assert relayed(exchange, lab) == "550"


def test_servers_see_each_other(exchange: Exchange) -> None:
    found = exchange.powershell(SESSION + "Get-ReceiveConnector -Server EX1 | ForEach-Object { $_.Identity }")
    assert "EX1\\Default Frontend EX1" in found.splitlines()
