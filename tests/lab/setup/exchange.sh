# An Exchange server as it is after its setup. The lab does the rest, then starts it.
trust_lab_authority
cp /opt/standin/standin.service /etc/systemd/system/
name=$(echo "$LAB_HOST" | tr '[:lower:]' '[:upper:]')
PYTHONPATH=/opt python3 -m standin fresh --name "$name" --fqdn "$LAB_HOST.example.test" --domain example.test \
    --address "$(ip -brief -4 address show dev inside | awk '{ print $3 }')"

# Windows is reached over WinRM or SSH; here it is SSH, with the lab's key.
install -d -m 700 ~root/.ssh
echo "$LAB_KEY" >~root/.ssh/authorized_keys
ssh-keygen -A >/dev/null
systemctl unmask --quiet ssh.service
systemctl start ssh.service
ln -sf /opt/standin/powershell/powershell /usr/local/bin/powershell

# What a script calls in setupapi.dll and newdev.dll; one file, so that one knows what the other did.
install -d /usr/lib/standin
tcc -shared -nostdlib -o /usr/lib/standin/setupapi.dll /opt/standin/powershell/Windows/setupapi.c
for name in setupapi.so newdev.dll newdev.so; do
    ln -sf setupapi.dll "/usr/lib/standin/$name"
done
