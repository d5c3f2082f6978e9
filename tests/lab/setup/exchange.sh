# An Exchange server as it is after its setup. The lab does the rest, then starts it.
trust_lab_authority
cp /opt/standin/standin.service /etc/systemd/system/
name=$(echo "$LAB_HOST" | tr '[:lower:]' '[:upper:]')
PYTHONPATH=/opt python3 -m standin fresh --name "$name" --fqdn "$LAB_HOST.example.test" --domain example.test
