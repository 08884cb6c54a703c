#!/bin/sh
# Start everything as containers and wait until it is healthy: passwords, images, servers, services, what watches them.
#   deploy/up.sh [arguments of docker compose up, such as --scale tableinator=3]
#
# Where neither .env nor the environment says COMPOSE_PROFILES, those of .env.example whose images can be had are on.
set -eu
cd "$(dirname "$0")/.."

refuse() {
    echo "$*" >&2
    exit 2
}

can_have() {
    docker image inspect "$1" >/dev/null 2>&1 || docker pull --quiet "$1" >/dev/null 2>&1
}

command -v docker >/dev/null || refuse "No docker command here: without containers, the same stack starts with make stack-up."
answer=$(docker version 2>&1 >/dev/null) ||
    refuse "No container engine answers ($answer): start it, or the same stack without containers with make stack-up."
docker compose version >/dev/null 2>&1 || refuse "This docker has no compose: install its plugin, version 2.24 or newer."

deploy/secrets.sh

if [ -z "${COMPOSE_PROFILES+set}" ] && ! grep -qs '^COMPOSE_PROFILES=' .env; then
    always=$(COMPOSE_PROFILES='' docker compose config --images)
    COMPOSE_PROFILES=
    for profile in $(sed -n 's/^COMPOSE_PROFILES=//p' .env.example | tr , ' '); do
        image=$(COMPOSE_PROFILES=$profile docker compose config --images | grep -vxF "$always")
        if can_have "$image"; then
            COMPOSE_PROFILES=${COMPOSE_PROFILES:+$COMPOSE_PROFILES,}$profile
        else
            echo "Without $profile: the image $image can't be had." >&2
        fi
    done
    export COMPOSE_PROFILES
fi

SPINDLE_REVISION=${SPINDLE_REVISION:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
SPINDLE_SOURCE=${SPINDLE_SOURCE:-$(git remote get-url origin 2>/dev/null | sed 's#//[^/@]*@#//#')}
export SPINDLE_REVISION SPINDLE_SOURCE

docker compose --profile load --profile tools build
# A service that ends for a wrong setting is begun again and again: there must be an end to waiting.
docker compose up --detach --wait --wait-timeout "${UP_SECONDS:-300}" "$@" || {
    docker compose ps --all >&2
    refuse "Not everything came up. Docker says above what could not be started (a port that is taken: another one by
POSTGRES_PORT and the like in .env; an image that can't be had: leave its profile out of COMPOSE_PROFILES in .env).
What started and is not healthy says why itself: docker compose logs --tail 5"
}
