#!/bin/sh
# Makes an authority, keys and certificates of a server and a client, and the ssl.config of tensorflow_model_server.
#
#   sh make_certificates.sh FOLDER [NAME ...]        NAME: host names of the server, by default localhost
#
# For tests and closed networks. In production the authority of the place signs, and ca.key stays with it.
set -eu
umask 077
folder=${1:?usage: make_certificates.sh FOLDER [NAME ...]}
shift
[ $# -gt 0 ] || set -- localhost
mkdir -p "$folder"
cd "$folder"
names=$(printf 'DNS:%s,' "$@")

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }

key ca
openssl req -x509 -new -key ca.key -subj "/CN=tfar authority" -days 825 -out ca.pem
for who in server client; do
  key "$who"
  printf 'subjectAltName=%sIP:127.0.0.1\n' "$names" > names.txt
  openssl req -new -key "$who.key" -subj "/CN=tfar $who" |
    openssl x509 -req -CA ca.pem -CAkey ca.key -CAcreateserial -days 825 -extfile names.txt -out "$who.pem" 2> errors.txt ||
    { cat errors.txt >&2; exit 1; }
done
rm -f names.txt errors.txt ca.srl

# The file holds the PEM texts themselves, not their paths; a line break is \n.
text() { awk '{ printf "%s\\n", $0 }' "$1"; }
cat > ssl.config <<END
server_key: "$(text server.key)"
server_cert: "$(text server.pem)"
custom_ca: "$(text ca.pem)"
# Only clients with a certificate of this authority are served; false serves everybody.
client_verify: true
END
echo "$folder: ca.pem and client.pem, client.key for clients; ssl.config for the server"
