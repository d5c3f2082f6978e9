# Beside the session of the unit tests: what the kinds that it hasn't are read by. The state has it under the cmdlet's name.

function Get-Setting {
    param([string] $Name)
    $state = ConvertFrom-Json -InputObject ([IO.File]::ReadAllText($env:FAKE_EXCHANGE))
    foreach ($object in $state.settings.$Name) { $object }
}

function Get-ImapSettings { [CmdletBinding()] param($Server) Get-Setting 'Get-ImapSettings' }
function Get-PopSettings { [CmdletBinding()] param($Server) Get-Setting 'Get-PopSettings' }
function Get-TransportService { [CmdletBinding()] param($Identity) Get-Setting 'Get-TransportService' }
function Get-FrontendTransportService { [CmdletBinding()] param($Identity) Get-Setting 'Get-FrontendTransportService' }
function Get-ServerComponentState { [CmdletBinding()] param($Identity) Get-Setting 'Get-ServerComponentState' }
function Get-OrganizationConfig { [CmdletBinding()] param() Get-Setting 'Get-OrganizationConfig' }
function Get-TransportConfig { [CmdletBinding()] param() Get-Setting 'Get-TransportConfig' }
function Get-OutlookProvider { [CmdletBinding()] param() Get-Setting 'Get-OutlookProvider' }

Export-ModuleMember -Function @(
    'Get-ImapSettings', 'Get-PopSettings', 'Get-TransportService', 'Get-FrontendTransportService'
    'Get-ServerComponentState', 'Get-OrganizationConfig', 'Get-TransportConfig', 'Get-OutlookProvider'
)
