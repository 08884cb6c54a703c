#!/bin/sh
# Make the passwords that compose reads, where it reads them, unless that would lock volumes of an earlier start.
# Prints the folder.
set -eu
cd "$(dirname "$0")/.."

refuse() {
    echo "$*" >&2
    exit 2
}

lost() { # volumes that were made with a password that is gone: no new one opens them
    for server in rabbitmq postgres neo4j grafana; do
        [ -s "$folder/${server}_password" ] || docker volume ls --quiet \
            --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.volume=$server"
    done
}

described=$(docker compose config) || refuse "docker compose does not take docker-compose.yml with this .env."
project=$(printf '%s\n' "$described" | sed -n 's/^name: //p' | tr -d '"')
folder=$(printf '%s\n' "$described" | sed -n 's#^ *file: \(.*\)/rabbitmq_password"\{0,1\}$#\1#p' | tr -d '"')
volumes=$(lost | tr '\n' ' ')
[ -z "$volumes" ] || refuse "In $folder passwords are missing with which volumes of an earlier start were made: ${volumes% }.
New ones would not fit. Put the files back, or SPINDLE_SECRETS in .env to where they are; or begin anew, without the data:
docker volume rm ${volumes% }    (after make down)"
deploy/secrets.sh "$folder"
echo "$folder"
