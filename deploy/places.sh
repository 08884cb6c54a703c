#!/bin/sh
# Say what of the compose stack runs where, how to log in, and what to type next: a line each, name, tab, place.
set -eu
cd "$(dirname "$0")/.."

running=$(docker compose --profile '*' ps --format '{{.Service}} {{.Name}} {{.Ports}}')

say() {
    printf '%s\t%s\n' "$1" "$2"
}

published() { # on which address of this machine a service's port is, if it runs
    printf '%s\n' "$running" | sed -n "s#^$1 [^ ]*.*[ ,]\([0-9.]*:[0-9]*\)->$2/tcp.*#\1#p" | head -n 1
}

say_of_profile() { # name, service, port, profile, what else to say of it
    address=$(published "$2" "$3")
    if [ -n "$address" ]; then
        say "$1" "http://$address$5"
    else
        say "$1" "off; it starts with COMPOSE_PROFILES=$4 in .env and make up"
    fi
}

printf '%s\n' "$running" | sed -n 's#^[a-z]*inator \([^ ]*\).*[ ,]\([0-9.]*:[0-9]*\)->800[12]/tcp.*#\1\thttp://\2/metrics#p' | sort
say RabbitMQ "http://$(published rabbitmq 15672) (user spindle)"
say PostgreSQL "$(published postgres 5432), database spindle (user spindle)"
say Neo4j "http://$(published neo4j 7474), bolt://$(published neo4j 7687) (user neo4j)"
say Prometheus "http://$(published prometheus 9090), alerts on http://$(published prometheus 9090)/alerts"
say_of_profile Grafana grafana 3000 dashboards " (user admin; looking needs no login)"
say_of_profile Alertmanager alertmanager 9093 alerting ""
say passwords "docker compose exec rabbitmq cat /run/secrets/rabbitmq/password (or postgres, neo4j, grafana)"
say logs "docker compose logs --tail 20"
say stop "make down: the data stays"
say load "docker compose run --rm extractor --synthetic 20000 --seed 1"
say watch "docker compose run --rm spindle status --watch"
