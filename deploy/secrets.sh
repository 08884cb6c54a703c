#!/bin/sh
# Make the passwords of the compose stack, once: what is there already stays as it is.
#   deploy/secrets.sh [folder]       default: $SPINDLE_SECRETS, else secrets/ beside docker-compose.yml
#
# The servers take a password when their volume is new and never again: a folder that is lost while the volumes
# stay locks everybody out (docker compose down -v starts anew).
set -eu
export LC_ALL=C # in other languages A-Z has letters that a URL has not

folder=${1:-${SPINDLE_SECRETS:-$(dirname "$0")/../secrets}}

# The folder is for its owner alone. The files can't be: a container sees each under the owner and mode that it has
# here, and the users that must read it there have other numbers.
mkdir -p "$folder"
chmod 700 "$folder"
cd "$folder"

# Complete or not at all: a file that was cut short would be taken for a password at the next start.
write() {
    printf '%s\n' "$2" >".$1.new"
    chmod 644 ".$1.new"
    mv ".$1.new" "$1"
}

for server in rabbitmq postgres neo4j grafana; do
    file=${server}_password
    [ -s "$file" ] || write "$file" "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')"
    chmod 644 "$file"
    password=$(cat "$file")
    # What needs no quotes in rabbitmq.conf and no escape in a URL; Neo4j takes nothing below 8.
    case $password in
    *[!A-Za-z0-9._~-]* | ? | ?? | ??? | ???? | ????? | ?????? | ???????)
        echo "$folder/$file: allowed are 8 or more letters, digits and the characters . _ ~ -" >&2
        exit 2
        ;;
    esac
done

# The forms that two servers want theirs in: a piece of configuration, because RabbitMQ's image reads no secret from
# a file, and user and password in one.
write rabbitmq.conf "default_user = spindle
default_pass = $(cat rabbitmq_password)"
write neo4j_auth "neo4j/$(cat neo4j_password)"
