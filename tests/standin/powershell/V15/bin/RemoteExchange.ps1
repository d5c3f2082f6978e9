# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The management shell's own script, as far as scripts use it: it greets, and defines Connect-ExchangeServer.

function global:Connect-ExchangeServer {
    [CmdletBinding()]
    param(
        [string] $ServerFqdn,
        [switch] $Auto,
        [switch] $Prompt,
        [string] $UserName,
        [string] $ClientApplication,
        [switch] $Silent,
        [switch] $AllowClobber
    )
    if (-not $Auto -and -not $ServerFqdn) {
        Write-Error 'Specify either -Auto or -ServerFqdn.'
        return
    }
    if (-not $ServerFqdn) { $ServerFqdn = Get-StandInFqdn }
    Write-Host "VERBOSE: Connecting to $ServerFqdn."
    Connect-StandInShell -ServerFqdn $ServerFqdn
}

Write-Host ''
Write-Host '         Welcome to the Exchange Management Shell!'
Write-Host ''
Write-Host 'Full list of cmdlets: Get-Command'
Write-Host 'Only Exchange cmdlets: Get-ExCommand'
Write-Host ''
