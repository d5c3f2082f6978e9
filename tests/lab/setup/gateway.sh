# A gateway: the administrator's key, and nothing else.
install -d -m 700 -o operator -g operator ~operator/.ssh
echo "$LAB_KEY" >~operator/.ssh/authorized_keys
chown operator:operator ~operator/.ssh/authorized_keys
