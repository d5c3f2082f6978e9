#!/bin/sh
# Builds the PowerShell of the tests and packs it as ../powershell-linux-x64.tar.xz. Needs a .NET 10 SDK and xz.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
sdk=$(dirname "$(readlink -f "$(command -v dotnet)")")
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
dotnet publish "$here/powershell.csproj" --configuration Release --output "$out/powershell" --nologo --verbosity quiet
cd "$out/powershell"
cp "$sdk/LICENSE.txt" "$sdk/ThirdPartyNotices.txt" .
# Debugging and tracing parts of the runtime, of no use to a script.
rm -f libmscordbi.so libmscordaccore.so libcoreclrtraceptprovider.so libclrgcexp.so createdump
ln -s powershell pwsh
cd ..
# The same content gives the same archive.
tar --sort=name --owner=0 --group=0 --mtime=@0 -cf - powershell | xz -9e >"$here/../powershell-linux-x64.tar.xz"
ls -l "$here/../powershell-linux-x64.tar.xz"
