# Reads and changes an Exchange server as the data say that come with it. Windows PowerShell 5.1.
#
# Data only: the names of commands are held against the list below, their parameters are splatted, and no text becomes
# script. What comes out is one JSON document between two marks that no JSON text can hold.

$ExchangeCommands = @(
    'Get-ExchangeServer'
    'Get-ReceiveConnector', 'New-ReceiveConnector', 'Set-ReceiveConnector', 'Remove-ReceiveConnector'
    'Get-ADPermission', 'Add-ADPermission', 'Remove-ADPermission'
    'Get-ImapSettings', 'Set-ImapSettings', 'Get-PopSettings', 'Set-PopSettings'
    'Get-TransportService', 'Set-TransportService'
    'Get-FrontendTransportService', 'Set-FrontendTransportService'
    'Get-TransportConfig', 'Set-TransportConfig', 'Get-OrganizationConfig', 'Set-OrganizationConfig'
    # The second pair is what Exchange calls the first one before 2016.
    'Get-ClientAccessService', 'Set-ClientAccessService', 'Get-ClientAccessServer', 'Set-ClientAccessServer'
    'Get-OutlookProvider', 'Set-OutlookProvider'
    'Get-ServerComponentState', 'Set-ServerComponentState'
    'Get-ExchangeDiagnosticInfo', 'Get-ExchangeCertificate'
)
$WindowsCommands = @(
    'Get-Service', 'Set-Service', 'Start-Service', 'Stop-Service'
    'Set-NetFirewallRule'
    'Get-LocalPortFirewallRule'
    'Get-HostAddress', 'Get-HostInterface', 'Install-LoopbackAdapter', 'Uninstall-LoopbackAdapter', 'Disable-NetAdapter'
    'Set-AdapterBinding', 'Set-NetIPInterface', 'Set-DnsClient', 'Set-NetbiosOption', 'Set-WeakHost'
    'Set-LoopbackAddress', 'Remove-NetIPAddress'
)

function ConvertTo-JsonString {
    param([string] $Text)
    $Text = $Text.Replace('\', '\\').Replace('"', '\"')
    # 5.1 writes the console in the system's code page: whatever isn't plain ASCII is escaped. Only where there is any, since
    # a script block that .NET calls takes longer than all the rest of an object.
    if ($Text -cmatch '[^\x20-\x7e]') {
        $Text = [regex]::Replace($Text, '[^\x20-\x7e]', { '\u{0:x4}' -f [int][char]$args[0].Value })
    }
    '"' + $Text + '"'
}

# What has to be escaped in JSON, or is for safety. Most values are plain texts, and a call for each of those would take
# longer than all the rest of an object.
$UnplainText = '[^\x20-\x7e]|["\\]'

function ConvertTo-PlainJson {
    # In place of ConvertTo-Json, which makes numbers of enumerations and objects of arrays that passed a pipeline.
    param($Value)
    if ($null -eq $Value) { return 'null' }
    if ($Value -is [string]) { return ConvertTo-JsonString $Value }
    if ($Value -is [bool]) { if ($Value) { return 'true' } else { return 'false' } }
    # JSON already.
    if ($Value -is [Text.StringBuilder]) { return $Value.ToString() }
    if ($Value -is [int] -or $Value -is [long] -or $Value -is [uint32] -or $Value -is [byte] -or $Value -is [uint16]) {
        return $Value.ToString([Globalization.CultureInfo]::InvariantCulture)
    }
    if ($Value -is [Collections.IDictionary]) {
        $pairs = foreach ($key in $Value.Keys) {
            $item = $Value[$key]
            if ($item -is [string] -and ($key + $item) -cnotmatch $UnplainText) { '"' + $key + '":"' + $item + '"' }
            else { (ConvertTo-JsonString $key) + ':' + (ConvertTo-PlainJson $item) }
        }
        return '{' + (@($pairs) -join ',') + '}'
    }
    if ($Value -is [Collections.IEnumerable]) {
        $items = foreach ($item in $Value) {
            if ($item -is [string] -and $item -cnotmatch $UnplainText) { '"' + $item + '"' } else { ConvertTo-PlainJson $item }
        }
        return '[' + (@($items) -join ',') + ']'
    }
    ConvertTo-JsonString ([string]$Value)
}

function ConvertTo-ErrorTable {
    param($ErrorRecord, [string] $Command)
    @{
        command = $Command
        message = [string]$ErrorRecord.Exception.Message
        id      = [string]$ErrorRecord.FullyQualifiedErrorId
        reason  = [string]$ErrorRecord.CategoryInfo.Reason
    }
}

function ConvertTo-ParameterTable {
    param($Object)
    $table = @{}
    foreach ($property in $Object.PSObject.Properties) {
        $value = $property.Value
        if ($value -is [Management.Automation.PSCustomObject]) {
            # The one kind of object among parameters: the number of a secret.
            $value = $Secrets[[int]$value.secret]
        }
        $table[$property.Name] = $value
    }
    $table
}

# The domain controller that all commands ask and tell, since what one knows the others know only later; and which
# commands can be told so.
$DomainController = ''
$TakesController = @{}

function Invoke-Command51 {
    # Runs one command of the lists; whatever it says is wrong ends it.
    param([string] $Name, [hashtable] $Parameters)
    if ($ExchangeCommands -notcontains $Name -and $WindowsCommands -notcontains $Name) {
        throw "The command $Name is not one that this program runs."
    }
    if ($DomainController -and $ExchangeCommands -contains $Name) {
        if (-not $TakesController.ContainsKey($Name)) {
            $command = Get-Command -Name $Name -ErrorAction SilentlyContinue
            $TakesController[$Name] = $null -ne $command -and $command.Parameters.ContainsKey('DomainController')
        }
        if ($TakesController[$Name]) { $Parameters['DomainController'] = $DomainController }
    }
    & $Name @Parameters -ErrorAction Stop
}

function Get-FullName {
    # Kerberos knows the server by its full name: the computer's own domain, or what name resolution says.
    param([string] $Name)
    $properties = [Net.NetworkInformation.IPGlobalProperties]::GetIPGlobalProperties()
    if ($properties.HostName -eq $Name -and $properties.DomainName) { return $Name + '.' + $properties.DomainName }
    [Net.Dns]::GetHostEntry($Name).HostName
}

function Open-ExchangeSession {
    # Called with a dot, since the management shell's own scripts leave their functions where they are called from.
    param([string] $Way, [string] $Fqdn)
    if ($Way -eq 'present') { return }
    if ($Way -eq 'remote') {
        $session = New-PSSession -ConfigurationName Microsoft.Exchange -ConnectionUri "http://$Fqdn/PowerShell/" -Authentication Kerberos -ErrorAction Stop
        # A command that the account has no right to is not in the session; whoever calls it is told so.
        $null = Import-PSSession -Session $session -CommandName $ExchangeCommands -DisableNameChecking -AllowClobber -ErrorAction SilentlyContinue -ErrorVariable problems
        # If none is, that is another matter.
        if (@($problems).Count -gt 0 -and -not (Get-Command -Name 'Get-ExchangeServer' -ErrorAction SilentlyContinue)) {
            throw @($problems)[0].Exception
        }
        return
    }
    if (-not $env:ExchangeInstallPath) { throw 'The Exchange management shell is not installed: ExchangeInstallPath is not set.' }
    # Exchange's own scripts are written for neither of these.
    Set-StrictMode -Off
    $ErrorActionPreference = 'Continue'
    . (Join-Path (Join-Path $env:ExchangeInstallPath 'bin') 'RemoteExchange.ps1')
    Connect-ExchangeServer -ServerFqdn $Fqdn -ClientApplication:ManagementShell
    $ErrorActionPreference = 'Stop'
    Set-StrictMode -Version Latest
    # It says what went wrong, and goes on.
    if (-not (Get-Command -Name 'Get-ExchangeServer' -ErrorAction SilentlyContinue)) {
        if ($Error.Count -gt 0) { throw $Error[$Error.Count - 1].Exception }
        throw 'The management shell did not bring its commands.'
    }
}

function Select-PlainProperty {
    # The named properties as plain values, in this order; one that this version doesn't have is left out.
    param($Object, $Names)
    $table = [ordered]@{}
    foreach ($name in $Names) {
        $property = $Object.PSObject.Properties[$name]
        if ($null -eq $property) { continue }
        $value = $property.Value
        if ($null -eq $value -or $value -is [string] -or $value -is [bool]) {
            $table[$name] = $value
        } elseif ($value -is [int] -or $value -is [long] -or $value -is [uint32] -or $value -is [byte]) {
            # An enumeration that came through a session is a number that shows a name.
            if ($value.PSObject.TypeNames[0] -clike 'Deserialized.*') { $table[$name] = [string]$value } else { $table[$name] = $value }
        } elseif ($value -is [byte[]]) {
            $table[$name] = [Convert]::ToBase64String($value)
        } elseif ($value -is [Collections.IEnumerable]) {
            $table[$name] = @(foreach ($item in $value) { [string]$item })
        } else {
            $table[$name] = [string]$value
        }
    }
    $table
}

function Get-PermissionIdentity {
    # The distinguished name is the one that no other object has: connectors of all servers have the same names.
    param($Connector)
    if ($Connector['DistinguishedName']) { $Connector['DistinguishedName'] } else { $Connector['Identity'] }
}

function Find-PermissionIdentity {
    # The same of the connector that has this name now.
    param([string] $Name)
    $found = Invoke-Command51 'Get-ReceiveConnector' @{ Identity = $Name }
    Get-PermissionIdentity (Select-PlainProperty $found @('DistinguishedName', 'Identity'))
}

function Invoke-Query {
    param($Query, [string] $Server, [hashtable] $Read)
    $objects = New-Object System.Collections.ArrayList
    # Each object's JSON is made once, for the digest and for the answer.
    $texts = New-Object System.Collections.ArrayList
    $users = @{}
    $parameters = ConvertTo-ParameterTable $Query.parameters
    if ($Query.server_parameter) { $parameters[$Query.server_parameter] = $Server }
    $name = $Query.command
    if ($Query.former -ne $name -and -not (Get-Command -Name $name -ErrorAction SilentlyContinue)) { $name = $Query.former }
    try {
        if (-not $Query.each) {
            foreach ($found in @(Invoke-Command51 $name $parameters)) {
                if ($null -eq $found) { continue }
                $table = Select-PlainProperty $found $Query.properties
                $null = $objects.Add($table)
                $null = $texts.Add((ConvertTo-PlainJson $table))
            }
        } else {
            foreach ($source in $Read[$Query.each]['objects']) {
                $parameters['Identity'] = Get-PermissionIdentity $source
                foreach ($found in @(Invoke-Command51 $name $parameters)) {
                    if ($null -eq $found) { continue }
                    $table = Select-PlainProperty $found $Query.properties
                    $table['Of'] = $source['Identity']
                    if ($table['User']) { $users[[string]$table['User']] = $true }
                    $null = $texts.Add((ConvertTo-PlainJson $table))
                }
            }
        }
    } catch {
        return @{ objects = @(); texts = @(); error = (ConvertTo-ErrorTable $_ $name) }
    }
    @{ objects = $objects.ToArray(); texts = $texts.ToArray(); users = @($users.Keys) }
}

function Get-StableText {
    # The same text for the same objects, in whatever order they came.
    param([hashtable] $Read, $Queries)
    $lines = foreach ($query in $Queries) {
        if (-not $query.volatile) { foreach ($text in $Read[$query.name]['texts']) { $query.name + $text } }
    }
    (@($lines) | Sort-Object) -join "`n"
}

function ConvertTo-ReadJson {
    param([hashtable] $Read)
    $parts = foreach ($name in $Read.Keys) {
        $part = '"objects":[' + ($Read[$name]['texts'] -join ',') + ']'
        if ($Read[$name].ContainsKey('error')) { $part += ',"error":' + (ConvertTo-PlainJson $Read[$name]['error']) }
        (ConvertTo-JsonString $name) + ':{' + $part + '}'
    }
    New-Object Text.StringBuilder ('{' + (@($parts) -join ',') + '}')
}

function Get-Digest {
    param([string] $Text)
    $sha = [Security.Cryptography.SHA256]::Create()
    try { [BitConverter]::ToString($sha.ComputeHash([Text.Encoding]::UTF8.GetBytes($Text))) } finally { $sha.Dispose() }
}

function Test-Foreseen {
    # Whether an object's access control list holds nothing but what was foreseen.
    param($Foreseen)
    $accounts = @{}
    foreach ($name in $Foreseen.accounts) { $accounts[$name] = $true }
    $rights = @{}
    foreach ($name in @($Foreseen.rights) + @($Foreseen.grants)) { $rights[$name] = $true }
    foreach ($entry in @(Invoke-Command51 'Get-ADPermission' @{ Identity = Find-PermissionIdentity $Foreseen.object })) {
        $table = Select-PlainProperty $entry @('User', 'AccessRights', 'ExtendedRights', 'Deny')
        $user = [string]$table['User']
        if ([string]$table['Deny'] -eq 'True' -or $accounts.ContainsKey($user)) { continue }
        $named = @($table['ExtendedRights'] | Where-Object { $_ })
        $general = @($table['AccessRights'] | ForEach-Object { ([string]$_).Split(',') } | ForEach-Object { $_.Trim() } | Where-Object { $_ })
        if ($named.Count -gt 0) { $general = @($general | Where-Object { $_ -ne 'ExtendedRight' }) }
        # An entry that says nothing is one that can't be read.
        if ($named.Count + $general.Count -eq 0) { return $false }
        foreach ($right in $named + $general) {
            if (-not $rights.ContainsKey($right) -and -not $rights.ContainsKey("$user|$right")) { return $false }
        }
    }
    $true
}

function Invoke-Operation {
    # One after the other. After the first that fails only those that must happen anyway are run.
    param($Operations)
    $failed = $false
    foreach ($operation in $Operations) {
        if ($failed -and -not $operation.always) { @{ state = 'left' }; continue }
        try {
            $parameters = ConvertTo-ParameterTable $operation.parameters
            if ($operation.connector) {
                # A connector's permissions are found by its distinguished name, which a new one has only now.
                $parameters['Identity'] = Find-PermissionIdentity $operation.connector
            }
            if ($null -ne $operation.foreseen -and -not (Test-Foreseen $operation.foreseen)) { @{ state = 'withheld' }; continue }
            $null = Invoke-Command51 $operation.command $parameters
            @{ state = 'done' }
        } catch {
            $failed = $true
            @{ state = 'failed'; error = (ConvertTo-ErrorTable $_ $operation.command) }
        }
    }
}

function Write-Answer {
    param([hashtable] $Answer)
    [Console]::Out.Write("`n<<""postern"">>" + (ConvertTo-PlainJson $Answer) + "<<""end"">>`n")
}

function Invoke-ExchangeConfiguration {
    param($Data)
    $answer = @{}
    $before = @()
    $stage = 'session'
    try {
        $before = @(Get-PSSession | ForEach-Object { $_.InstanceId })
        $name = [string]$Data.server
        if (-not $name) { $name = [Environment]::MachineName }
        if ($name -notmatch '^[A-Za-z0-9._-]+$') { throw 'That is not the name of a server.' }
        $fqdn = $name
        if ($fqdn -notmatch '\.' -and $Data.session -ne 'present') { $fqdn = Get-FullName $name }
        . Open-ExchangeSession -Way $Data.session -Fqdn $fqdn

        $stage = 'server'
        $answer['host'] = if ($env:COMPUTERNAME) { $env:COMPUTERNAME } else { [Environment]::MachineName }
        $DomainController = [string]$Data.controller
        $servers = @(Invoke-Command51 'Get-ExchangeServer' @{ Identity = $name })
        $server = [string]$servers[0].Name
        $about = Select-PlainProperty $servers[0] @('Name', 'Fqdn', 'AdminDisplayVersion', 'ServerRole', 'IsEdgeServer', 'OriginatingServer')
        $answer['server'] = $about
        # An Edge server has a directory of its own.
        if (-not $DomainController -and [string]$about['IsEdgeServer'] -ne 'True') { $DomainController = [string]$about['OriginatingServer'] }
        $answer['controller'] = $DomainController

        $stage = 'read'
        $read = @{}
        foreach ($query in $Data.queries) {
            $read[$query.name] = Invoke-Query -Query $query -Server $server -Read $read
        }
        $answer['digest'] = Get-Digest (Get-StableText $read $Data.queries)

        if ($Data.mode -ne 'apply') {
            $stage = 'asked for its accounts'
            $names = @($Data.accounts) + @($read.Values | ForEach-Object { $_['users'] }) | Where-Object { $_ } | Sort-Object -Unique
            $answer['accounts'] = Get-AccountTable $names
            $answer['read'] = ConvertTo-ReadJson $read
        } elseif ($answer['digest'] -ne $Data.expected) {
            $answer['moved'] = $true
        } else {
            $stage = 'apply'
            $answer['operations'] = @(Invoke-Operation $Data.operations)
        }
    } catch {
        $answer['fatal'] = ConvertTo-ErrorTable $_ $stage
    } finally {
        # Whoever opened them, the management shell's scripts included.
        foreach ($session in @(Get-PSSession)) {
            if ($before -notcontains $session.InstanceId) { Remove-PSSession -Session $session }
        }
        Write-Answer $answer
    }
}
