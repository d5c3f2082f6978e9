# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
@{
    RootModule        = 'Windows.psm1'
    ModuleVersion     = '1.0.0'
    GUID              = '4f0a7a52-6a0c-4a1e-9c1b-2f0d5d0c8e11'
    FunctionsToExport = @(
        'Disable-NetAdapter', 'Disable-NetAdapterBinding', 'Enable-NetAdapter', 'Enable-NetAdapterBinding',
        'Get-CimInstance', 'Get-DnsClient', 'Get-NetAdapter', 'Get-NetAdapterBinding',
        'Get-NetFirewallApplicationFilter', 'Get-NetFirewallPortFilter', 'Get-NetFirewallRule', 'Get-NetIPAddress',
        'Get-NetIPConfiguration', 'Get-NetIPInterface', 'Get-Service', 'Invoke-CimMethod', 'New-NetIPAddress',
        'Remove-NetIPAddress', 'Rename-NetAdapter', 'Restart-Service', 'Set-DnsClient', 'Set-NetFirewallRule',
        'Set-NetIPAddress', 'Set-NetIPInterface', 'Set-Service', 'Start-Service', 'Stop-Service'
    )
    CmdletsToExport   = @()
    AliasesToExport   = @()
}
