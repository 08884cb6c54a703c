#!/bin/sh
# Start everything as containers and wait until it is healthy: passwords, images, servers, services, what watches them.
#   deploy/up.sh [arguments of docker compose up, such as --scale tableinator=3]
#
# Of the profiles in COMPOSE_PROFILES (the environment's, else .env's, else .env.example's) those are left out whose image
# can't be had: records are carried without dashboards too.
set -eu
cd "$(dirname "$0")/.."

refuse() {
    echo "$*" >&2
    exit 2
}

# -- what nobody reads

named_in() { # the names that a file of variables sets
    sed -n 's/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}\([A-Za-z_][A-Za-z0-9_]*\)[[:space:]]*=.*/\2/p' "$1"
}

known() { # what compose passes on, and what it fills in; in an override too
    sed -n 's/^ *\([A-Z][A-Z0-9_]*\):\( null\)\{0,1\} *$/\1/p; s/^ *- *\([A-Z][A-Z0-9_]*\) *$/\1/p' docker-compose*.y*ml
    grep -oh '\${[A-Za-z_][A-Za-z0-9_]*' docker-compose*.y*ml | tr -d '${'
}

warn_of_unknown_names() {
    [ -f .env ] || return 0
    names=$(known)
    # Docker has names of its own.
    unknown=$(named_in .env | grep -vxF "$names" | grep -Ev '^(COMPOSE|DOCKER|BUILDKIT)_' | sort -u | tr '\n' ' ')
    [ -z "$unknown" ] || echo "Compose reads none of these names in .env (docker-compose.yml has all that it passes on, and the
addresses and logins of its own servers are not among them): ${unknown% }" >&2
}

# -- profiles

profiles() { # as they are asked for
    if [ -n "${COMPOSE_PROFILES+set}" ]; then
        echo "$COMPOSE_PROFILES"
    elif grep -qs '^COMPOSE_PROFILES=' .env; then
        sed -n 's/^COMPOSE_PROFILES=//p' .env | tail -n 1 | sed 's/ #.*//' | tr -d "\"' "
    else
        sed -n 's/^COMPOSE_PROFILES=//p' .env.example
    fi
}

can_have() {
    docker image inspect "$1" >/dev/null 2>&1 || docker pull --quiet "$1" >/dev/null 2>&1
}

choose_profiles() {
    always=$(COMPOSE_PROFILES='' docker compose config --images)
    wanted=$(profiles)
    COMPOSE_PROFILES='' without=''
    set -f # a profile may be *
    for profile in $(echo "$wanted" | tr , ' '); do
        image=
        case $profile in dashboards | alerting)
            image=$(COMPOSE_PROFILES=$profile docker compose config --images | grep -vxF "$always") || true
            ;;
        esac
        if [ -z "$image" ] || can_have "$image"; then
            COMPOSE_PROFILES=${COMPOSE_PROFILES:+$COMPOSE_PROFILES,}$profile
        else
            without="${without}Without $profile: the image $image can't be had. A mirror's: GRAFANA_IMAGE or
ALERTMANAGER_IMAGE in .env; not to be tried again: COMPOSE_PROFILES in .env without $profile.
"
        fi
    done
    set +f
    export COMPOSE_PROFILES
    printf %s "$without" >&2
}

command -v docker >/dev/null || refuse "No docker command here: without containers, the same stack starts with make stack-up."
warn_of_unknown_names
answer=$(docker version 2>&1 >/dev/null) ||
    refuse "No container engine answers ($answer): start it, or the same stack without containers with make stack-up."
docker compose version >/dev/null 2>&1 || refuse "This docker has no compose: install its plugin, version 2.24 or newer."

deploy/passwords.sh >/dev/null
choose_profiles

SPINDLE_REVISION=${SPINDLE_REVISION:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
SPINDLE_SOURCE=${SPINDLE_SOURCE:-$(git remote get-url origin 2>/dev/null | sed 's#//[^/@]*@#//#')}
export SPINDLE_REVISION SPINDLE_SOURCE

docker compose --profile load --profile tools build
# A service that ends for a wrong setting is begun again and again: there must be an end to waiting.
docker compose up --detach --wait --wait-timeout "${UP_SECONDS:-300}" "$@" || {
    docker compose ps --all >&2
    refuse "Not everything came up. Docker says above what could not be started (a port that is taken: another one by
POSTGRES_PORT and the like in .env; an image that can't be had: another one by POSTGRES_IMAGE and the like).
What started and is not healthy says why itself: docker compose logs --tail 5"
}
printf %s "$without" >&2 # once more: what was built since has moved it off the screen
