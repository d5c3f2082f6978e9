# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The documented calls that install a root device, for the loopback adapter.
$ErrorActionPreference = 'Stop'
Add-Type -TypeDefinition @'
using System;
using System.ComponentModel;
using System.Runtime.InteropServices;
using System.Text;

public static class RootDevice
{
    [StructLayout(LayoutKind.Sequential)]
    public struct DeviceInfo { public int Size; public Guid Class; public int Instance; public IntPtr Reserved; }

    [DllImport("setupapi.dll", SetLastError = true)]
    static extern IntPtr SetupDiCreateDeviceInfoList(ref Guid type, IntPtr window);
    [DllImport("setupapi.dll", SetLastError = true, CharSet = CharSet.Unicode)]
    static extern bool SetupDiCreateDeviceInfo(IntPtr set, string name, ref Guid type, string text, IntPtr window, int flags, ref DeviceInfo info);
    [DllImport("setupapi.dll", SetLastError = true, CharSet = CharSet.Unicode)]
    static extern bool SetupDiSetDeviceRegistryProperty(IntPtr set, ref DeviceInfo info, int property, byte[] value, int size);
    [DllImport("setupapi.dll", SetLastError = true)]
    static extern bool SetupDiCallClassInstaller(int function, IntPtr set, ref DeviceInfo info);
    [DllImport("setupapi.dll", SetLastError = true)]
    static extern bool SetupDiDestroyDeviceInfoList(IntPtr set);
    [DllImport("newdev.dll", SetLastError = true, CharSet = CharSet.Unicode)]
    static extern bool UpdateDriverForPlugAndPlayDevices(IntPtr window, string id, string file, int flags, out bool reboot);

    static void Check(bool done) { if (!done) throw new Win32Exception(Marshal.GetLastWin32Error()); }

    public static void Install(string id, string file)
    {
        Guid net = new Guid("4d36e972-e325-11ce-bfc1-08002be10318");
        IntPtr set = SetupDiCreateDeviceInfoList(ref net, IntPtr.Zero);
        DeviceInfo info = new DeviceInfo();
        info.Size = Marshal.SizeOf(typeof(DeviceInfo));
        Check(SetupDiCreateDeviceInfo(set, "NET", ref net, null, IntPtr.Zero, 1, ref info));
        byte[] value = Encoding.Unicode.GetBytes(id + "\0\0");
        Check(SetupDiSetDeviceRegistryProperty(set, ref info, 1, value, value.Length));
        Check(SetupDiCallClassInstaller(0x19, set, ref info));
        bool reboot;
        Check(UpdateDriverForPlugAndPlayDevices(IntPtr.Zero, id, file, 1, out reboot));
        SetupDiDestroyDeviceInfoList(set);
    }
}
'@
[RootDevice]::Install('*MSLOOP', "$env:windir\inf\netloop.inf")
Get-NetAdapter | Where-Object { $_.ComponentID -eq '*msloop' } | ForEach-Object { "$($_.InterfaceDescription) $($_.ComponentID)" }
