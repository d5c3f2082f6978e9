# All that is sent on the command line, which Windows limits. Scripts and data come by standard input, which no log keeps.
# In a scope of its own, so that strict mode is not forced upon the modules of others.
& {
    Set-StrictMode -Version Latest
    $ErrorActionPreference = 'Stop'
    $ProgressPreference = 'SilentlyContinue'
    $document = ConvertFrom-Json -InputObject ([Console]::In.ReadLine())
    # Secrets come behind, a line each. What Windows logs are the parameters of commands: no secret is one.
    $Secrets = New-Object System.Collections.ArrayList
    while ($null -ne ($line = [Console]::In.ReadLine())) {
        $secret = New-Object System.Security.SecureString
        foreach ($character in [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($line)).ToCharArray()) { $secret.AppendChar($character) }
        [void]$Secrets.Add($secret)
    }
    $line = $null
    foreach ($script in $document.scripts) { . ([scriptblock]::Create($script)) }
    Invoke-ExchangeConfiguration -Data $document.data
}
