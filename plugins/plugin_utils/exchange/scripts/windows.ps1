# Functions with the manners of cmdlets for what Windows has no cmdlet for.

function Get-LocalPortFirewallRule {
    # The rules for these local TCP ports, each with its port and program. Names and groups are localised, ports aren't.
    [CmdletBinding()]
    param([Parameter(Mandatory = $true)] [string[]] $LocalPort)
    foreach ($filter in @(Get-NetFirewallPortFilter -Protocol TCP)) {
        $ports = @($filter.LocalPort | ForEach-Object { [string]$_ })
        if (@($ports | Where-Object { $LocalPort -contains $_ }).Count -eq 0) { continue }
        foreach ($rule in @(Get-NetFirewallRule -AssociatedNetFirewallPortFilter $filter)) {
            $program = @(Get-NetFirewallApplicationFilter -AssociatedNetFirewallRule $rule)
            [pscustomobject]@{
                Name                  = [string]$rule.Name
                DisplayName           = [string]$rule.DisplayName
                Direction             = [string]$rule.Direction
                LocalPort             = $ports
                Program               = [string]$program[0].Program
                EdgeTraversalPolicy   = [string]$rule.EdgeTraversalPolicy
                PolicyStoreSourceType = [string]$rule.PolicyStoreSourceType
            }
        }
    }
}

function Get-HostAddress {
    # The addresses that this host has.
    [CmdletBinding()]
    param()
    Get-NetIPAddress
}

function Get-HostInterface {
    # Every network adapter with its IPv4 interface, and every IPv4 interface without an adapter. All at once, since each
    # of these commands takes its time, whatever it is asked.
    [CmdletBinding()]
    param()
    $adapters = @{}
    $interfaces = @{}
    $clients = @{}
    $configurations = @{}
    foreach ($entry in @(Get-NetAdapter)) { $adapters[[int]$entry.InterfaceIndex] = $entry }
    foreach ($entry in @(Get-NetIPInterface -AddressFamily IPv4)) { $interfaces[[int]$entry.InterfaceIndex] = $entry }
    foreach ($entry in @(Get-DnsClient)) { $clients[[int]$entry.InterfaceIndex] = $entry }
    foreach ($entry in @(Get-CimInstance -ClassName Win32_NetworkAdapterConfiguration)) { $configurations[[int]$entry.InterfaceIndex] = $entry }
    $bindings = @(Get-NetAdapterBinding | Where-Object { $_.Enabled })
    $addresses = @(Get-NetIPAddress -AddressFamily IPv4)
    foreach ($index in @(@($adapters.Keys) + @($interfaces.Keys) | Sort-Object -Unique)) {
        $row = [ordered]@{
            Name = ''; ComponentID = $null; PnPDeviceID = $null; Disabled = $false; Bindings = @()
            InterfaceMetric = $null; AutomaticMetric = $null; Dhcp = $null; WeakHostSend = $null; WeakHostReceive = $null
            DnsRegistration = $null; NetbiosOption = $null
        }
        if ($interfaces.ContainsKey($index)) {
            $row.Name = [string]$interfaces[$index].InterfaceAlias
            $row.InterfaceMetric = [int]$interfaces[$index].InterfaceMetric
            foreach ($name in 'AutomaticMetric', 'Dhcp', 'WeakHostSend', 'WeakHostReceive') {
                $row[$name] = [string]$interfaces[$index].$name
            }
        }
        if ($adapters.ContainsKey($index)) {
            $row.Name = [string]$adapters[$index].Name
            $row.ComponentID = [string]$adapters[$index].ComponentID
            $row.PnPDeviceID = [string]$adapters[$index].PnPDeviceID
            $row.Disabled = [string]$adapters[$index].Status -eq 'Disabled'
            $row.Bindings = @($bindings | Where-Object { $_.Name -eq $row.Name } | ForEach-Object { [string]$_.ComponentID })
        }
        if ($clients.ContainsKey($index)) { $row.DnsRegistration = [bool]$clients[$index].RegisterThisConnectionsAddress }
        if ($configurations.ContainsKey($index) -and $null -ne $configurations[$index].TcpipNetbiosOptions) {
            $row.NetbiosOption = [int]$configurations[$index].TcpipNetbiosOptions
        }
        $own = @($addresses | Where-Object { [int]$_.InterfaceIndex -eq $index })
        $row.Addresses = @($own | ForEach-Object { '{0}/{1}' -f $_.IPAddress, $_.PrefixLength } | Sort-Object)
        $row.Sources = @($own | Where-Object { -not $_.SkipAsSource } | ForEach-Object { [string]$_.IPAddress } | Sort-Object)
        [pscustomobject]$row
    }
}

function Get-AccountTable {
    # Each account's number (SID) and own name: names of built-in accounts depend on the system's language. One that
    # Windows doesn't know has neither; that it can't be asked is an error.
    param($Names)
    $table = @{}
    foreach ($name in $Names) {
        $row = @{ sid = $null; name = $null }
        try {
            if ($name -match '^S-1(-[0-9]+)+$') { $sid = New-Object Security.Principal.SecurityIdentifier $name }
            else { $sid = (New-Object Security.Principal.NTAccount $name).Translate([System.Security.Principal.SecurityIdentifier]) }
            $row.sid = [string]$sid.Value
            $row.name = [string]$sid.Translate([System.Security.Principal.NTAccount]).Value
        } catch {
            if ($_.Exception.GetBaseException().GetType().Name -ne 'IdentityNotMappedException') { throw }
        }
        $table[$name] = $row
    }
    $table
}

function Get-LoopbackAdapter {
    # The loopback adapter of this name, or else the one of this device.
    param([string] $Name, [string] $DeviceID)
    $found = @(Get-NetAdapter | Where-Object { $_.ComponentID -eq '*msloop' })
    foreach ($adapter in $found) { if ($adapter.Name -eq $Name) { return $adapter } }
    foreach ($adapter in $found) { if ($adapter.PnPDeviceID -eq $DeviceID) { return $adapter } }
}

function Wait-Until {
    # What Windows does to its network shows a moment later.
    param($Condition, [string] $Otherwise)
    foreach ($try in 1..120) {
        if (& $Condition) { return }
        Start-Sleep -Milliseconds 500
    }
    throw $Otherwise
}

function Get-IPv4InterfaceIndex {
    # The number by which the interface of this very name is known; nothing where there is none.
    param([string] $InterfaceAlias)
    foreach ($interface in @(Get-NetIPInterface -AddressFamily IPv4)) {
        if ($interface.InterfaceAlias -eq $InterfaceAlias) { return [int]$interface.InterfaceIndex }
    }
}

function Initialize-RootDevice {
    # Windows has no command that adds a device that nothing is plugged in for, or takes it away (pnputil does the latter
    # from Server 2022 on); its own device installation has functions for it. C# 5, which 5.1 compiles.
    if ('Postern.RootDevice' -as [type]) { return }
    Add-Type -TypeDefinition @'
using System;
using System.ComponentModel;
using System.Runtime.InteropServices;
using System.Text;

namespace Postern
{
    public static class RootDevice
    {
        const int HardwareIdProperty = 1;
        const int RegisterDevice = 0x19, RemoveDevice = 0x05;
        const int NoMoreItems = 259, NoSuchDevice = unchecked((int)0xE000020B);
        static readonly IntPtr NoWindow = IntPtr.Zero, NoList = new IntPtr(-1);
        static Guid network = new Guid("4d36e972-e325-11ce-bfc1-08002be10318");

        [StructLayout(LayoutKind.Sequential)]
        public struct Device
        {
            public int Size;
            public Guid Class;
            public int Instance;
            public IntPtr Reserved;
        }

        [DllImport("setupapi.dll", SetLastError = true)]
        static extern IntPtr SetupDiCreateDeviceInfoList(ref Guid type, IntPtr window);
        [DllImport("setupapi.dll", SetLastError = true)]
        static extern bool SetupDiDestroyDeviceInfoList(IntPtr list);
        [DllImport("setupapi.dll", SetLastError = true, CharSet = CharSet.Unicode)]
        static extern bool SetupDiCreateDeviceInfo(
            IntPtr list, string id, ref Guid type, string description, IntPtr window, int flags, ref Device device);
        [DllImport("setupapi.dll", SetLastError = true, CharSet = CharSet.Unicode)]
        static extern bool SetupDiOpenDeviceInfo(IntPtr list, string id, IntPtr window, int flags, ref Device device);
        [DllImport("setupapi.dll", SetLastError = true, CharSet = CharSet.Unicode)]
        static extern bool SetupDiSetDeviceRegistryProperty(
            IntPtr list, ref Device device, int property, byte[] value, int size);
        [DllImport("setupapi.dll", SetLastError = true)]
        static extern bool SetupDiCallClassInstaller(int function, IntPtr list, ref Device device);
        [DllImport("newdev.dll", SetLastError = true, CharSet = CharSet.Unicode)]
        static extern bool UpdateDriverForPlugAndPlayDevices(
            IntPtr window, string hardwareId, string file, int flags, out bool restart);

        delegate void Work(IntPtr list, ref Device device);

        static void Check(bool done)
        {
            if (!done) throw new Win32Exception(Marshal.GetLastWin32Error());
        }

        static void Do(Work work)
        {
            IntPtr list = SetupDiCreateDeviceInfoList(ref network, NoWindow);
            Check(list != NoList);
            try
            {
                Device device = new Device();
                device.Size = Marshal.SizeOf(typeof(Device));
                work(list, ref device);
            }
            finally
            {
                SetupDiDestroyDeviceInfoList(list);
            }
        }

        // A device that isn't there is gone already.
        public static void Remove(string id)
        {
            Do(delegate(IntPtr list, ref Device device)
            {
                if (!SetupDiOpenDeviceInfo(list, id, NoWindow, 0, ref device))
                {
                    Check(Marshal.GetLastWin32Error() == NoSuchDevice);
                    return;
                }
                Check(SetupDiCallClassInstaller(RemoveDevice, list, ref device));
            });
        }

        public static void Add(string id, string hardwareId, string file)
        {
            // Without a driver it is what an installation left that was cut short.
            Remove(id);
            Do(delegate(IntPtr list, ref Device device)
            {
                Check(SetupDiCreateDeviceInfo(list, id, ref network, null, NoWindow, 0, ref device));
                byte[] ids = Encoding.Unicode.GetBytes(hardwareId + "\0\0");
                Check(SetupDiSetDeviceRegistryProperty(list, ref device, HardwareIdProperty, ids, ids.Length));
                Check(SetupDiCallClassInstaller(RegisterDevice, list, ref device));
                bool restart;
                // Not by force, which would install the driver of other loopback adapters anew and cut them off. "No more
                // items" is that Windows was quicker: the device has its driver.
                if (UpdateDriverForPlugAndPlayDevices(NoWindow, hardwareId, file, 0, out restart)) return;
                int error = Marshal.GetLastWin32Error();
                if (error == NoMoreItems) return;
                SetupDiCallClassInstaller(RemoveDevice, list, ref device);
                throw new Win32Exception(error);
            });
        }
    }
}
'@
}

function Install-LoopbackAdapter {
    # There is a loopback adapter, by this name and at work. One that is there is taken: by its name, or as the device that
    # is made here, whose name a run that was cut short didn't get to.
    [CmdletBinding()]
    param([Parameter(Mandatory = $true)] [string] $Name, [Parameter(Mandatory = $true)] [string] $DeviceID)
    if ($null -eq (Get-LoopbackAdapter $Name $DeviceID)) {
        Initialize-RootDevice
        [Postern.RootDevice]::Add($DeviceID, '*MSLOOP', (Join-Path (Join-Path $env:SystemRoot 'inf') 'netloop.inf'))
        Wait-Until { $null -ne (Get-LoopbackAdapter $Name $DeviceID) } 'The loopback adapter is installed, but Windows shows none; restart the server and run again.'
    }
    $adapter = Get-LoopbackAdapter $Name $DeviceID
    if ([string]$adapter.Status -eq 'Disabled') { $adapter | Enable-NetAdapter -Confirm:$false }
    if ($adapter.Name -ne $Name) { $adapter | Rename-NetAdapter -NewName $Name }
    # Where IPv4 isn't bound there is no interface yet: binding it is the next thing that happens.
    $bound = @(Get-NetAdapterBinding -Name $Name -ComponentID 'ms_tcpip' | Where-Object { $_.Enabled })
    if ($bound.Count -gt 0) { Wait-IPv4Interface $Name }
}

function Wait-IPv4Interface {
    param([string] $InterfaceAlias)
    Wait-Until { $null -ne (Get-IPv4InterfaceIndex $InterfaceAlias) } "Windows has made no IPv4 interface for the network adapter $InterfaceAlias."
}

function Uninstall-LoopbackAdapter {
    # That of the device that is made here, and no other.
    [CmdletBinding()]
    param([Parameter(Mandatory = $true)] [string] $DeviceID)
    Initialize-RootDevice
    [Postern.RootDevice]::Remove($DeviceID)
    Wait-Until { $null -eq (Get-LoopbackAdapter '' $DeviceID) } 'The loopback adapter is removed, but Windows still shows it; restart the server and run again.'
}

function Set-AdapterBinding {
    # Binds an adapter to this component and to nothing else.
    [CmdletBinding()]
    param([Parameter(Mandatory = $true)] [string] $Name, [Parameter(Mandatory = $true)] [string] $ComponentID)
    Enable-NetAdapterBinding -Name $Name -ComponentID $ComponentID -Confirm:$false
    $others = @(Get-NetAdapterBinding -Name $Name | Where-Object { $_.Enabled -and $_.ComponentID -ne $ComponentID } | ForEach-Object { [string]$_.ComponentID })
    if ($others.Count -gt 0) { Disable-NetAdapterBinding -Name $Name -ComponentID $others -Confirm:$false }
    Wait-IPv4Interface $Name
}

function Set-LoopbackAddress {
    # The adapter has the address, and Windows sends from it only where a program says so.
    [CmdletBinding()]
    param(
        [Parameter(Mandatory = $true)] [string] $InterfaceAlias,
        [Parameter(Mandatory = $true)] [string] $IPAddress,
        [Parameter(Mandatory = $true)] [byte] $PrefixLength
    )
    $address = @{ InterfaceAlias = $InterfaceAlias; IPAddress = $IPAddress; PrefixLength = $PrefixLength; SkipAsSource = $true }
    $there = @(Get-NetIPAddress -AddressFamily IPv4 | Where-Object { $_.InterfaceAlias -eq $InterfaceAlias -and $_.IPAddress -eq $IPAddress })
    # An adapter that was disabled comes back with its addresses.
    if ($there.Count -gt 0) { Set-NetIPAddress @address } else { $null = New-NetIPAddress @address }
}

function Set-NetbiosOption {
    # 0 as DHCP says, 1 on, 2 off.
    [CmdletBinding()]
    param([Parameter(Mandatory = $true)] [string] $InterfaceAlias, [Parameter(Mandatory = $true)] [uint32] $Option)
    $index = Get-IPv4InterfaceIndex $InterfaceAlias
    $configuration = Get-CimInstance -ClassName Win32_NetworkAdapterConfiguration -Filter "InterfaceIndex = $index"
    foreach ($try in 1..20) {
        $done = $configuration | Invoke-CimMethod -MethodName SetTcpipNetbios -Arguments @{ TcpipNetbiosOptions = $Option }
        # 84: the adapter has no address at work, and one that has just come is tried for a moment first.
        if ($done.ReturnValue -ne 84) { break }
        Start-Sleep -Milliseconds 500
    }
    # 1: from the next restart on.
    if ($done.ReturnValue -gt 1) { throw "SetTcpipNetbios ended with $($done.ReturnValue)." }
}

function Set-WeakHost {
    # By netsh, by the interface's number. It speaks the system's language, so that it is asked for its exit status alone.
    [CmdletBinding()]
    param(
        [Parameter(Mandatory = $true)] [string] $InterfaceAlias,
        [ValidateSet('Enabled', 'Disabled')] [string] $WeakHostSend,
        [ValidateSet('Enabled', 'Disabled')] [string] $WeakHostReceive
    )
    $index = Get-IPv4InterfaceIndex $InterfaceAlias
    $words = @()
    if ($WeakHostSend) { $words += 'weakhostsend=' + $WeakHostSend.ToLowerInvariant() }
    if ($WeakHostReceive) { $words += 'weakhostreceive=' + $WeakHostReceive.ToLowerInvariant() }
    $null = & (Join-Path (Join-Path $env:SystemRoot 'System32') 'netsh.exe') interface ipv4 set interface $index @words
    if ($LASTEXITCODE -ne 0) { throw "netsh ended with $LASTEXITCODE when it was to set $($words -join ' ') for interface $index." }
}
