# Every host: wait until systemd has started all that the image starts.
set -eu
limit=$(($(date +%s) + LAB_LIMIT))
until state=$(systemctl is-system-running --wait 2>/dev/null) || [ "$state" = degraded ]; do
    if [ "$(date +%s)" -gt "$limit" ]; then
        echo "systemd on $LAB_HOST is still '$state' after $LAB_LIMIT seconds" >&2
        exit 1
    fi
    sleep 0.1
done

trust_lab_authority() {
    ln -s lab-ca.pem "/etc/ssl/certs/$(openssl x509 -in /etc/ssl/certs/lab-ca.pem -noout -hash).0"
    cat /etc/ssl/certs/lab-ca.pem >>/etc/ssl/certs/ca-certificates.crt
}
