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
