# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Windows' own cmdlets, over the state of the Exchange stand-in. They load by themselves, as on Windows.

enum StandInFamily { IPv4 = 2; IPv6 = 23 }
enum StandInSwitch { Disabled = 0; Enabled = 1 }
enum StandInEdgeTraversal { Block = 0; Allow = 1; DeferToUser = 2; DeferToApp = 3 }
enum StandInRuleEnabled { True = 1; False = 2 }
enum StandInDirection { Inbound = 1; Outbound = 2 }
enum StandInAction { NotConfigured = 0; Allow = 2; Block = 4 }
enum StandInStoreType { None = 0; Local = 1; GroupPolicy = 2; Dynamic = 3; Generated = 4; Hardcoded = 5 }
enum StandInProfile { Any = 0; Domain = 1; Private = 2; Public = 4; NotApplicable = 65535 }
enum StandInConnection { Disconnected = 0; Connected = 1 }
enum StandInAddressState { Invalid = 0; Tentative = 1; Duplicate = 2; Deprecated = 3; Preferred = 4 }

# Properties of local objects that are enumerations, as cmdlets of Windows itself show them: `$x -eq 'Enabled'` is true,
# and JSON has a number.
$enumerations = @{
    'Status'                = @{ 'System.ServiceProcess.ServiceController' = [System.ServiceProcess.ServiceControllerStatus] }
    'StartType'             = @{ 'System.ServiceProcess.ServiceController' = [System.ServiceProcess.ServiceStartMode] }
    'AddressFamily'         = @{ '*' = [StandInFamily] }
    'WeakHostSend'          = @{ '*' = [StandInSwitch] }
    'WeakHostReceive'       = @{ '*' = [StandInSwitch] }
    'AutomaticMetric'       = @{ '*' = [StandInSwitch] }
    'Dhcp'                  = @{ '*' = [StandInSwitch] }
    'Forwarding'            = @{ '*' = [StandInSwitch] }
    'Advertising'           = @{ '*' = [StandInSwitch] }
    'ConnectionState'       = @{ '*' = [StandInConnection] }
    'AddressState'          = @{ '*' = [StandInAddressState] }
    'EdgeTraversalPolicy'   = @{ '*' = [StandInEdgeTraversal] }
    'Enabled'               = @{ 'MSFT_NetFirewallRule' = [StandInRuleEnabled] }
    'Direction'             = @{ '*' = [StandInDirection] }
    'Action'                = @{ '*' = [StandInAction] }
    'Profile'               = @{ '*' = [StandInProfile] }
    'PolicyStoreSourceType' = @{ '*' = [StandInStoreType] }
}

Import-Module StandIn -Global
$far = Get-StandInWindowsModule $enumerations
. ([scriptblock]::Create($far.Text)) $far.Call
