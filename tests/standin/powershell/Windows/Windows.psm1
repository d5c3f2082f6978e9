# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Windows' own cmdlets, over the state of the Exchange stand-in. They load by themselves, as on Windows.

Import-Module StandIn -Global
$far = Get-StandInWindowsModule
. ([scriptblock]::Create($far.Text)) $far.Call
