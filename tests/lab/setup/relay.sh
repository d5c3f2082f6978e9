# A host on the relay list, which is also the plain web server behind the gate.
trust_lab_authority
cp /opt/lab/website.service /etc/systemd/system/
systemctl enable --quiet --now website.service
