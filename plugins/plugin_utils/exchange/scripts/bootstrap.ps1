# All that is sent on the command line, which Windows limits. Scripts and data come by standard input, which no log keeps.
# In a scope of its own, so that strict mode is not forced upon the modules of others.
& {
    Set-StrictMode -Version Latest
    $ErrorActionPreference = 'Stop'
    $ProgressPreference = 'SilentlyContinue'
    $document = ConvertFrom-Json -InputObject ([Console]::In.ReadToEnd())
    foreach ($script in $document.scripts) { . ([scriptblock]::Create($script)) }
    Invoke-ExchangeConfiguration -Data $document.data
}
