# A Windows server before Exchange's setup. The lab does the rest.
trust_lab_authority
cp /opt/standin/standin.service /etc/systemd/system/

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
