# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Management sessions of the Exchange stand-in. The work is done at the far end, a process of `standin manage`; here is
# what a client has: sessions, and functions that hand over what they got. Objects come back as the engine's own
# deserializer shows them, so they are what a remote session shows.

Set-StrictMode -Version 3

$script:FarEnd = $null
$script:Sessions = New-Object System.Collections.ArrayList

# Which properties of local objects are enumerations: name -> type of object (or *) -> enumeration. The module Windows says.
$script:Enumerations = @{}

function Invoke-FarEnd {
    # One request, one answer.
    param([hashtable] $Request)
    if ($null -eq $script:FarEnd -or $script:FarEnd.HasExited) {
        $start = New-Object System.Diagnostics.ProcessStartInfo
        $start.FileName = if ($env:STANDIN_PYTHON) { $env:STANDIN_PYTHON } else { 'python3' }
        $start.Arguments = '-m standin manage'
        $start.UseShellExecute = $false
        $start.RedirectStandardInput = $true
        $start.RedirectStandardOutput = $true
        $start.StandardOutputEncoding = New-Object System.Text.UTF8Encoding $false
        $start.EnvironmentVariables['PYTHONPATH'] = Split-Path -Parent (Split-Path -Parent (Split-Path -Parent $PSScriptRoot))
        $start.EnvironmentVariables['PYTHONDONTWRITEBYTECODE'] = '1'
        $start.EnvironmentVariables['PYTHONIOENCODING'] = 'utf-8'
        $script:FarEnd = [System.Diagnostics.Process]::Start($start)
    }
    # A line end inside a value is escaped; what is left belongs to the layout.
    $text = [System.Management.Automation.PSSerializer]::Serialize($Request, 6) -replace '\r?\n\s*', ''
    $octets = [System.Text.Encoding]::UTF8.GetBytes($text + "`n")
    $script:FarEnd.StandardInput.BaseStream.Write($octets, 0, $octets.Length)
    $script:FarEnd.StandardInput.BaseStream.Flush()
    $line = $script:FarEnd.StandardOutput.ReadLine()
    if ($null -eq $line) {
        throw 'The far end of the session is gone.'
    }
    [System.Management.Automation.PSSerializer]::Deserialize($line)
}

# Accounts are .NET's business on Windows, which knows none here: these take the places of its types.
class IdentityNotMappedException : System.Exception {
    IdentityNotMappedException() : base('Some or all identity references could not be translated.') { }
}
class StandInAccount {
    [string] $Value
    StandInAccount([string] $value) { $this.Value = $value }
    [object] Translate([type] $type) {
        $found = Get-StandInAccount $this.Value
        if (-not $found.Sid) { throw [IdentityNotMappedException]::new() }
        if ($type.Name -eq 'NTAccount') { return [StandInAccount]::new($found.Name) }
        return [StandInAccount]::new($found.Sid)
    }
}
$accelerators = [psobject].Assembly.GetType('System.Management.Automation.TypeAccelerators')
foreach ($type in 'NTAccount', 'SecurityIdentifier') { $accelerators::Add("Security.Principal.$type", [StandInAccount]) }

function Get-StandInAccount {
    # What Windows knows of an account that is named, or given by its number.
    param([string] $Text)
    $answer = Invoke-FarEnd @{ What = 'account'; Text = $Text }
    @{ Sid = [string]$answer.Sid; Name = [string]$answer.Name }
}

function Get-Member_ {
    # A property that may not be there.
    param($Object, [string] $Name)
    $property = $Object.PSObject.Properties[$Name]
    if ($null -ne $property) { , $property.Value }
}

function New-ErrorRecord_ {
    param($Described)
    $types = @{
        'PSRemotingTransportException'                    = [System.Management.Automation.Remoting.PSRemotingTransportException]
        'ParameterBindingException'                       = [System.Management.Automation.ParameterBindingException]
        'ParameterBindingArgumentTransformationException' = [System.Management.Automation.ParameterBindingException]
    }
    $type = $types[[string]$Described.Type]
    if ($null -eq $type) { $type = [System.Management.Automation.RemoteException] }
    $exception = $type::new([string]$Described.Message)
    $record = [System.Management.Automation.ErrorRecord]::new($exception, [string]$Described.Identifier, [string]$Described.Category, $null)
    $record.CategoryInfo.Reason = [string]$Described.Type
    $record
}

function ConvertTo-LocalObject {
    # What came as a remote object, as the local one that a cmdlet of Windows gives.
    param($Object)
    $Object.PSObject.TypeNames.Insert(0, ($Object.PSObject.TypeNames[0] -replace '^Deserialized\.', ''))
    $kind = $Object.PSObject.TypeNames[0] -replace '^.*/', ''
    foreach ($property in @($Object.PSObject.Properties)) {
        $types = $script:Enumerations[$property.Name]
        if ($null -eq $types -or $null -eq $property.Value) { continue }
        $type = if ($types.ContainsKey('*')) { $types['*'] } else { $types[$kind] }
        if ($null -ne $type) {
            $value = [enum]::Parse($type, [string]$property.Value, $true)
            $Object.PSObject.Properties.Remove($property.Name)
            $Object.PSObject.Properties.Add([System.Management.Automation.PSNoteProperty]::new($property.Name, $value))
        }
    }
    $Object
}

function Write-Answer {
    # Objects, warnings, noise and errors of an answer go where the cmdlet's would.
    param($Cmdlet, $Answer, [bool] $Local)
    foreach ($line in @(Get-Member_ $Answer 'Noise')) {
        if ($null -ne $line) { foreach ($each in $line) { [Console]::Out.WriteLine([string]$each) } }
    }
    $warnings = Get-Member_ $Answer 'Warnings'
    if ($null -ne $warnings) { foreach ($text in $warnings) { $Cmdlet.WriteWarning([string]$text) } }
    $objects = Get-Member_ $Answer 'Objects'
    if ($null -ne $objects) {
        foreach ($object in $objects) {
            if ($Local) { $object = ConvertTo-LocalObject $object }
            $Cmdlet.WriteObject($object)
        }
    }
    $problem = Get-Member_ $Answer 'Error'
    if ($null -ne $problem) {
        $record = New-ErrorRecord_ $problem
        if ($problem.Type -like 'ParameterBinding*') { $Cmdlet.ThrowTerminatingError($record) }
        $Cmdlet.WriteError($record)
    }
}

function Get-Bound_ {
    # The parameters that are the cmdlet's own, ready for the wire.
    param($Cmdlet, $Bound)
    $common = [System.Management.Automation.PSCmdlet]::CommonParameters
    $result = @{}
    foreach ($name in @($Bound.Keys)) {
        if ($common -notcontains $name) { $result[$name] = $Bound[$name] }
    }
    $result
}

function Test-Confirmed {
    # There is nobody to ask: who doesn't say -Confirm:$false gets an error, as in a session without a window.
    param($Cmdlet, $Bound, [bool] $Asks)
    if ($Bound.ContainsKey('Confirm')) { $asked = [bool]$Bound['Confirm'] }
    else { $asked = $Asks -and $global:ConfirmPreference -ne 'None' }
    if (-not $asked -or ($Bound.ContainsKey('WhatIf') -and $Bound['WhatIf'])) { return }
    $text = 'Windows PowerShell is in NonInteractive mode. Read and Prompt functionality is not available.'
    $exception = [System.Management.Automation.PSInvalidOperationException]::new($text)
    $Cmdlet.ThrowTerminatingError([System.Management.Automation.ErrorRecord]::new($exception, 'InvalidOperation', 'InvalidOperation', $null))
}

function Invoke-Cmdlet_ {
    param($Cmdlet, [string] $Name, $Bound, [bool] $Asks, $Session)
    if ($Session -and $Session.State -ne 'Opened') {
        $text = "The session state is $($Session.State). The session must be in the Opened state to run a command."
        $exception = [System.Management.Automation.Runspaces.InvalidRunspaceStateException]::new($text)
        $Cmdlet.ThrowTerminatingError([System.Management.Automation.ErrorRecord]::new($exception, 'InvalidSessionState', 'InvalidOperation', $null))
    }
    Test-Confirmed $Cmdlet $Bound $Asks
    $request = @{ What = 'run'; Name = $Name; Parameters = (Get-Bound_ $Cmdlet $Bound); Session = 0 }
    if ($Session) { $request['Session'] = $Session.Number }
    Write-Answer $Cmdlet (Invoke-FarEnd $request) (-not $Session)
}

function Open-Session_ {
    param($Cmdlet, [string] $Way, [string] $Target, [string] $Authentication, [string] $Name)
    $answer = Invoke-FarEnd @{ What = 'open'; Way = $Way; Target = $Target; Authentication = $Authentication }
    $problem = Get-Member_ $answer 'Error'
    if ($null -ne $problem) {
        $problem.Message = "[$Target] Connecting to remote server $Target failed with the following error message : " +
            "$($problem.Message) For more information, see the about_Remote_Troubleshooting Help topic."
        $Cmdlet.WriteError((New-ErrorRecord_ $problem))
        return
    }
    $session = [pscustomobject]@{
        Id                = $script:Sessions.Count + 1
        Name              = if ($Name) { $Name } else { "WinRM$($script:Sessions.Count + 1)" }
        ComputerName      = [string]$answer.Server
        ComputerType      = 'RemoteMachine'
        State             = 'Opened'
        Availability      = 'Available'
        ConfigurationName = 'Microsoft.Exchange'
        InstanceId        = [guid]$answer.Identity
        Number            = [int]$answer.Session
        Text              = [string]$answer.Module
    }
    $session.PSObject.TypeNames.Insert(0, 'System.Management.Automation.Runspaces.PSSession')
    [void]$script:Sessions.Add($session)
    $session
}

function New-ProxyModule {
    # A module with the session's cmdlets. The text comes from the far end and holds nothing but parameters.
    param($Session, [string] $Text, [string] $Name)
    # A closure is a module of its own; the functions it needs are this module's.
    $mine = $ExecutionContext.SessionState.Module
    $call = { param($Cmdlet, $Command, $Bound, $Asks) & $mine { param($c, $n, $b, $a, $s) Invoke-Cmdlet_ $c $n $b $a $s } $Cmdlet $Command $Bound $Asks $Session }.GetNewClosure()
    New-Module -Name $Name -ScriptBlock ([scriptblock]::Create($Text)) -ArgumentList $call
}

function New-PSSession {
    [CmdletBinding()]
    param(
        [Parameter(Position = 0)] [string[]] $ComputerName,
        [string] $ConfigurationName,
        [uri] $ConnectionUri,
        [System.Management.Automation.Runspaces.AuthenticationMechanism] $Authentication = 'Default',
        [pscredential] $Credential,
        [string[]] $Name,
        [switch] $AllowRedirection,
        $SessionOption,
        [string] $CertificateThumbprint,
        [int] $ThrottleLimit,
        [switch] $EnableNetworkAccess
    )
    $target = if ($ConnectionUri) { $ConnectionUri.Host } else { "$ComputerName" }
    $exchange = $ConfigurationName -eq 'Microsoft.Exchange' -and $ConnectionUri -and
        $ConnectionUri.AbsolutePath.TrimEnd('/') -eq '/PowerShell'
    if (-not $exchange) {
        $text = "[$target] Connecting to remote server $target failed with the following error message : The WS-Management " +
            "service cannot process the request. Cannot find the $ConfigurationName session configuration."
        $exception = [System.Management.Automation.Remoting.PSRemotingTransportException]::new($text)
        $PSCmdlet.WriteError([System.Management.Automation.ErrorRecord]::new($exception, 'CannotConnect,PSSessionOpenFailed', 'OpenError', $null))
        return
    }
    Open-Session_ $PSCmdlet 'remote' $target ([string]$Authentication) "$Name"
}

function Select-Session_ {
    param($Session, $Id, $Name, $InstanceId)
    foreach ($known in @($script:Sessions)) {
        if ($Session) { if (@($Session) -contains $known) { $known } }
        elseif ($Id) { if (@($Id) -contains $known.Id) { $known } }
        elseif ($InstanceId) { if (@($InstanceId) -contains $known.InstanceId) { $known } }
        elseif ($Name) { if (@($Name | Where-Object { $known.Name -like $_ }).Count) { $known } }
        else { $known }
    }
}

function Get-PSSession {
    [CmdletBinding()]
    param([int[]] $Id, [string[]] $Name, [guid[]] $InstanceId, [string] $ConfigurationName, [string[]] $ComputerName)
    foreach ($known in @(Select-Session_ $null $Id $Name $InstanceId)) {
        if ($known.State -ne 'Opened') { continue }
        if ($ConfigurationName -and $known.ConfigurationName -ne $ConfigurationName) { continue }
        if ($ComputerName -and $ComputerName -notcontains $known.ComputerName) { continue }
        $known
    }
}

function Remove-PSSession {
    [CmdletBinding()]
    param(
        [Parameter(Position = 0, ValueFromPipeline)] $Session,
        [int[]] $Id, [string[]] $Name, [guid[]] $InstanceId
    )
    process {
        foreach ($known in @(Select-Session_ $Session $Id $Name $InstanceId)) {
            if ($known.State -ne 'Opened') { continue }
            $null = Invoke-FarEnd @{ What = 'close'; Session = $known.Number }
            $known.State = 'Closed'
            $known.Availability = 'None'
            $script:Sessions.Remove($known)
        }
    }
}

function Import-PSSession {
    [CmdletBinding()]
    param(
        [Parameter(Mandatory, Position = 0)] $Session,
        [Parameter(Position = 1)] [string[]] $CommandName,
        [string[]] $FormatTypeName,
        [string] $Prefix,
        [string[]] $Module,
        $CommandType,
        $ArgumentList,
        [switch] $AllowClobber,
        [switch] $DisableNameChecking
    )
    $name = 'tmp_' + [guid]::NewGuid().ToString('N').Substring(0, 8)
    $made = New-ProxyModule $Session $Session.Text $name
    $wanted = @($made.ExportedFunctions.Keys)
    if ($CommandName) { $wanted = @($wanted | Where-Object { $each = $_; @($CommandName | Where-Object { $each -like $_ }).Count }) }
    $options = @{ Function = $wanted; Global = $true; DisableNameChecking = $true; PassThru = $true }
    if ($Prefix) { $options['Prefix'] = $Prefix }
    if (-not $DisableNameChecking) {
        $PSCmdlet.WriteWarning("The names of some imported commands from the module '$name' include unapproved verbs that " +
            'might make them less discoverable. To find the commands with unapproved verbs, run the Import-Module command ' +
            'again with the Verbose parameter. For a list of approved verbs, type Get-Verb.')
    }
    Import-Module $made @options
}

function Invoke-InSession {
    param($Cmdlet, $Session, [scriptblock] $ScriptBlock, $ArgumentList)
    # What a session without a language takes: commands with parameters, and values that are known on this side: those of
    # the block's own parameters, and of variables with $using.
    try {
        $names = [System.Collections.ArrayList]::new()
        $values = [System.Collections.ArrayList]::new()
        $given = @($ArgumentList)
        if ($ScriptBlock.Ast.ParamBlock) {
            foreach ($parameter in $ScriptBlock.Ast.ParamBlock.Parameters) {
                $value = if ($names.Count -lt $given.Count) { $given[$names.Count] }
                [void]$names.Add($parameter.Name.VariablePath.UserPath)
                [void]$values.Add($value)
            }
        }
        $used = $ScriptBlock.Ast.FindAll({ param($a) $a -is [System.Management.Automation.Language.UsingExpressionAst] }, $true)
        foreach ($name in @($used | ForEach-Object { $_.SubExpression.VariablePath.UserPath } | Select-Object -Unique)) {
            [void]$names.Add($name)
            [void]$values.Add($Cmdlet.SessionState.PSVariable.GetValue($name))
        }
        $text = $ScriptBlock.Ast.EndBlock.Extent.Text
        if ($ScriptBlock.Ast.ParamBlock) { $text = $text -replace ('^\s*' + [regex]::Escape($ScriptBlock.Ast.ParamBlock.Extent.Text)), '' }
        if ($names.Count) { $text = "param(`$$($names -join ', $')) $text" }
        $pipeline = [scriptblock]::Create(($text -replace '\$using:', '$')).GetPowerShell([object[]]$values.ToArray())
    }
    catch {
        $text = 'The syntax is not supported by this runspace. This can occur if the runspace is in no-language mode.'
        $exception = [System.Management.Automation.RemoteException]::new($text)
        $Cmdlet.WriteError([System.Management.Automation.ErrorRecord]::new($exception, 'ScriptsNotAllowed', 'ParserError', $null))
        return
    }
    $made = New-ProxyModule $Session $Session.Text 'session'
    $results = $null
    $first = $true
    foreach ($command in $pipeline.Commands.Commands) {
        if (-not $made.ExportedFunctions.ContainsKey($command.CommandText)) {
            $text = "The term '$($command.CommandText)' is not recognized as the name of a cmdlet, function, script file, or " +
                'operable program. Check the spelling of the name, or if a path was included, verify that the path is correct ' +
                'and try again.'
            $exception = [System.Management.Automation.RemoteException]::new($text)
            $Cmdlet.WriteError([System.Management.Automation.ErrorRecord]::new($exception, 'CommandNotFoundException', 'ObjectNotFound', $command.CommandText))
            return
        }
        $named = @{}
        $listed = @()
        $function = $made.ExportedFunctions[$command.CommandText]
        $waiting = ''
        foreach ($parameter in $command.Parameters) {
            if ($parameter.Name) {
                $waiting = $parameter.Name -replace '^-|:$', ''
                $named[$waiting] = if ($null -eq $parameter.Value) { $true } else { $parameter.Value }
                # A parameter that isn't a switch takes the value that comes next.
                $known = $function.Parameters[$waiting]
                if ($null -ne $parameter.Value -or ($known -and $known.SwitchParameter)) { $waiting = '' }
            }
            elseif ($waiting) { $named[$waiting] = $parameter.Value; $waiting = '' }
            else { $listed += , $parameter.Value }
        }
        if ($first) { $results = @(& $function @listed @named) }
        else { $results = @($results | & $function @listed @named) }
        $first = $false
    }
    foreach ($result in $results) { $Cmdlet.WriteObject($result) }
}

function Invoke-Command {
    [CmdletBinding(PositionalBinding = $false)]
    param(
        [Parameter(Position = 0)] [scriptblock] $ScriptBlock,
        $Session,
        [string[]] $ComputerName,
        [object[]] $ArgumentList,
        [switch] $HideComputerName,
        [switch] $NoNewScope,
        [Parameter(ValueFromPipeline)] $InputObject
    )
    process {
        $known = @($Session | Where-Object { $null -ne $_ -and $script:Sessions -contains $_ })
        if ($known.Count) {
            foreach ($each in $known) { Invoke-InSession $PSCmdlet $each $ScriptBlock $ArgumentList }
        }
        else { Microsoft.PowerShell.Core\Invoke-Command @PSBoundParameters }
    }
}

function Add-PSSnapin {
    [CmdletBinding()]
    param([Parameter(Mandatory, Position = 0)] [string[]] $Name, [switch] $PassThru)
    foreach ($each in $Name) {
        if ($each -notin 'Microsoft.Exchange.Management.PowerShell.SnapIn', 'Microsoft.Exchange.Management.PowerShell.E2010') {
            $text = "The Windows PowerShell snap-in '$each' is not installed on this computer."
            $exception = [System.Management.Automation.PSArgumentException]::new($text)
            $PSCmdlet.WriteError([System.Management.Automation.ErrorRecord]::new($exception, 'AddPSSnapInRead', 'InvalidArgument', $each))
            continue
        }
        $session = Open-Session_ $PSCmdlet 'snapin' '' '' $each
        if ($session) { Import-Module (New-ProxyModule $session $session.Text $each) -Global -DisableNameChecking }
    }
}

function Get-StandInFqdn {
    # The server that this is.
    [string](Invoke-FarEnd @{ What = 'home' }).Fqdn
}

function Connect-StandInShell {
    # What RemoteExchange.ps1's Connect-ExchangeServer does on the server itself.
    [CmdletBinding()]
    param([string] $ServerFqdn)
    $session = Open-Session_ $PSCmdlet 'shell' $ServerFqdn 'Kerberos' 'Session1'
    if ($session) {
        Write-Host "VERBOSE: Connected to $($session.ComputerName)."
        $null = Import-PSSession $session -DisableNameChecking -AllowClobber
    }
}

function Get-StandInWindowsModule {
    # The text of the module with Windows' own cmdlets, and what their functions call.
    param([hashtable] $Enumerations)
    $script:Enumerations = $Enumerations
    $mine = $ExecutionContext.SessionState.Module
    $answer = Invoke-FarEnd @{ What = 'windows' }
    @{
        Text = [string]$answer.Module
        Call = { param($Cmdlet, $Command, $Bound, $Asks) & $mine { param($c, $n, $b, $a) Invoke-Cmdlet_ $c $n $b $a $null } $Cmdlet $Command $Bound $Asks }.GetNewClosure()
    }
}

Export-ModuleMember -Function New-PSSession, Get-PSSession, Remove-PSSession, Import-PSSession, Invoke-Command, Add-PSSnapin,
    Connect-StandInShell, Get-StandInFqdn, Get-StandInWindowsModule
