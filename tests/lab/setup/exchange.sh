# An Exchange server as it is after its setup. The lab does the rest, then starts it.
trust_lab_authority
cp /opt/standin/standin.service /etc/systemd/system/
name=$(echo "$LAB_HOST" | tr '[:lower:]' '[:upper:]')
PYTHONPATH=/opt python3 -m standin fresh --name "$name" --fqdn "$LAB_HOST.example.test" --domain example.test

# Windows is reached over WinRM or SSH; here it is SSH, with the lab's key.
install -d -m 700 ~root/.ssh
echo "$LAB_KEY" >~root/.ssh/authorized_keys
ssh-keygen -A >/dev/null
systemctl unmask --quiet ssh.service
systemctl start ssh.service
ln -sf /opt/standin/powershell/powershell /usr/local/bin/powershell
