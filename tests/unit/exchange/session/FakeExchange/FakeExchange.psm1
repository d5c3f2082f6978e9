# A session of our own for the tests of the scripts: what they call, over one JSON file, and a record of every call.
# It is no Exchange: it takes what it is given and gives it back.

enum FakeRole { HubTransport = 32; FrontendTransport = 16384 }

$State = $null
$Permissions = $null
function Read-State {
    if ($null -eq $script:State) { $script:State = ConvertFrom-Json -InputObject ([IO.File]::ReadAllText($env:FAKE_EXCHANGE)) }
    $script:State
}
function Write-State { param($State) $script:Permissions = $null; [IO.File]::WriteAllText($env:FAKE_EXCHANGE, (ConvertTo-Json -InputObject $State -Depth 9)) }

function Write-Call {
    param([string] $Name, $Bound)
    $table = [ordered]@{ command = $Name }
    $keys = [string[]]@($Bound.Keys)
    [Array]::Sort($keys)
    foreach ($key in $keys) {
        if ($key -ne 'ErrorAction') { $table[$key] = $Bound[$key] }
    }
    [IO.File]::AppendAllText("$env:FAKE_EXCHANGE.calls", (ConvertTo-Json -InputObject $table -Depth 9 -Compress) + "`n")
    $state = Read-State
    if ($state.fails -contains $Name) {
        throw (New-Object System.InvalidOperationException "The operation couldn't be performed because of ""$Name"".`r`nTry again.")
    }
}

function Read-Serialized {
    # Objects as they came out of PowerShell's serializer, where the test has any for this command.
    param([string] $Name)
    $all = (Read-State).PSObject.Properties['serialized']
    if ($null -ne $all -and $all.Value.PSObject.Properties[$Name]) {
        [Management.Automation.PSSerializer]::Deserialize($all.Value.$Name)
    }
}

# Accounts are .NET's business on Windows, which knows none here: these take the places of its types.
class IdentityNotMappedException : System.Exception { }
class FakeAccount {
    [string] $Value
    FakeAccount([string] $value) { $this.Value = $value }
    [object] Translate([type] $type) {
        foreach ($account in (Read-State).accounts) {
            if ($account.name -ne $this.Value -and $account.sid -ne $this.Value) { continue }
            if ($type.Name -eq 'NTAccount') { return [FakeAccount]::new($account.name) }
            return [FakeAccount]::new($account.sid)
        }
        throw [IdentityNotMappedException]::new()
    }
}
$accelerators = [psobject].Assembly.GetType('System.Management.Automation.TypeAccelerators')
foreach ($type in 'NTAccount', 'SecurityIdentifier') { $accelerators::Add("Security.Principal.$type", [FakeAccount]) }

function Get-ExchangeServer {
    [CmdletBinding()] param($Identity)
    Write-Call 'Get-ExchangeServer' $PSBoundParameters
    Write-Host 'Welcome to the Exchange Management Shell!'
    $real = @(Read-Serialized 'Get-ExchangeServer')
    if ($real.Count -gt 0) { return $real }
    (Read-State).server
}

function Get-ClientAccessServer {
    # As a session before 2016 has it, and no Get-ClientAccessService.
    [CmdletBinding()] param($Identity)
    Write-Call 'Get-ClientAccessServer' $PSBoundParameters
    [pscustomobject]@{ AutoDiscoverServiceInternalUri = [uri]'https://ex1.example.com/Autodiscover/Autodiscover.xml' }
}

function Get-ReceiveConnector {
    [CmdletBinding()] param($Server, $Identity)
    Write-Call 'Get-ReceiveConnector' $PSBoundParameters
    $real = @(Read-Serialized 'Get-ReceiveConnector')
    if ($real.Count -gt 0) { return $real }
    foreach ($connector in (Read-State).connectors) {
        if ($Identity -and $connector.Identity -ne $Identity) { continue }
        # A session shows an enumeration as a number that says its name.
        if ((Read-State).PSObject.Properties['enumerations']) {
            $connector = $connector.PSObject.Copy()
            foreach ($name in (Read-State).enumerations) {
                $text = [Management.Automation.PSSerializer]::Serialize([FakeRole]$connector.$name)
                $connector.$name = [Management.Automation.PSSerializer]::Deserialize($text)
            }
        }
        $connector
    }
}

function Get-ADPermission {
    [CmdletBinding()] param($Identity)
    Write-Call 'Get-ADPermission' $PSBoundParameters
    # A search through all of them for each connector would be the longest part of a run with many.
    if ($null -eq $script:Permissions) {
        $script:Permissions = @{}
        foreach ($entry in (Read-State).permissions) { $script:Permissions[$entry.Identity] = @($script:Permissions[$entry.Identity]) + $entry }
    }
    foreach ($entry in $script:Permissions[$Identity]) { if ($null -ne $entry) { $entry } }
}

function Get-ExchangeDiagnosticInfo {
    [CmdletBinding()] param($Server, $Process, $Component)
    Write-Call 'Get-ExchangeDiagnosticInfo' $PSBoundParameters
    $real = @(Read-Serialized 'Get-ExchangeDiagnosticInfo')
    if ($real.Count -gt 0) { return $real }
    [pscustomobject]@{ Result = "<AggregateUse>Low</AggregateUse>$([Guid]::NewGuid())" }
}

function New-ReceiveConnector {
    [CmdletBinding()] param($Name, $Server, $Usage, $Bindings, $RemoteIPRanges, $TransportRole, $AuthMechanism, $PermissionGroups, $ExtendedProtectionPolicy, $Enabled, $Comment, $Fqdn, $Banner, $MaxMessageSize, $Confirm)
    Write-Call 'New-ReceiveConnector' $PSBoundParameters
    $state = Read-State
    $new = $state.template.PSObject.Copy()
    foreach ($key in $PSBoundParameters.Keys) {
        if ($new.PSObject.Properties[$key]) { $new.$key = $PSBoundParameters[$key] }
    }
    $new.Identity = "$Server\$Name"
    $new.DistinguishedName = "CN=$Name,CN=$Server"
    $state.connectors = @($state.connectors) + $new
    Write-State $state
}

function Set-ReceiveConnector {
    [CmdletBinding()] param($Identity, $Bindings, $RemoteIPRanges, $PermissionGroups, $Enabled, $Comment, $Fqdn, $Banner, $MaxMessageSize, $Confirm)
    Write-Call 'Set-ReceiveConnector' $PSBoundParameters
    $state = Read-State
    foreach ($connector in $state.connectors) {
        if ($connector.Identity -ne $Identity) { continue }
        foreach ($key in $PSBoundParameters.Keys) {
            if ($key -ne 'Identity' -and $connector.PSObject.Properties[$key]) { $connector.$key = $PSBoundParameters[$key] }
        }
    }
    Write-State $state
}

function Remove-ReceiveConnector {
    [CmdletBinding()] param($Identity, $Confirm)
    Write-Call 'Remove-ReceiveConnector' $PSBoundParameters
    $state = Read-State
    $state.connectors = @($state.connectors | Where-Object { $_.Identity -ne $Identity })
    Write-State $state
}

function Add-ADPermission {
    [CmdletBinding()] param($Identity, $User, $ExtendedRights, $Confirm)
    Write-Call 'Add-ADPermission' $PSBoundParameters
    $state = Read-State
    $state.permissions = @($state.permissions) + [pscustomobject]@{
        Identity = $Identity; User = $User; ExtendedRights = @($ExtendedRights); Deny = $false; IsInherited = $false
    }
    Write-State $state
}

function Get-Service {
    [CmdletBinding()] param($Name)
    Write-Call 'Get-Service' $PSBoundParameters
    $real = @(Read-Serialized 'Get-Service')
    if ($real.Count -gt 0) { return $real }
    foreach ($service in (Read-State).services) { if ($Name -contains $service.Name) { $service } }
}

function Get-ServerComponentState {
    [CmdletBinding()] param($Identity)
    Write-Call 'Get-ServerComponentState' $PSBoundParameters
    Read-Serialized 'Get-ServerComponentState'
}

function Get-NetFirewallPortFilter {
    [CmdletBinding()] param($Protocol)
    foreach ($rule in (Read-State).firewall) { [pscustomobject]@{ InstanceID = $rule.Name; LocalPort = $rule.LocalPort } }
}

function Get-NetFirewallRule {
    [CmdletBinding()] param($AssociatedNetFirewallPortFilter)
    foreach ($rule in (Read-State).firewall) { if ($rule.Name -eq $AssociatedNetFirewallPortFilter.InstanceID) { $rule } }
}

function Get-NetFirewallApplicationFilter {
    [CmdletBinding()] param($AssociatedNetFirewallRule)
    [pscustomobject]@{ Program = $AssociatedNetFirewallRule.Program }
}

Export-ModuleMember -Function @(
    'Get-ExchangeServer', 'Get-ClientAccessServer', 'Get-ReceiveConnector', 'New-ReceiveConnector', 'Set-ReceiveConnector', 'Remove-ReceiveConnector'
    'Get-ADPermission', 'Add-ADPermission', 'Get-ExchangeDiagnosticInfo', 'Get-Service', 'Get-ServerComponentState'
    'Get-NetFirewallPortFilter', 'Get-NetFirewallRule', 'Get-NetFirewallApplicationFilter'
)
