#!/bin/sh
# Do what docker compose up --detach --wait does, and say more: which image can't be had and what names another, what in
# .env nobody reads, why something did not come up, and at the end what runs where.
#   deploy/up.sh [arguments of docker compose up, such as --scale tableinator=3]
#
# Of the profiles in COMPOSE_PROFILES (the environment's, else .env's) those are left out whose image can't be had: records
# are carried without dashboards too.
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

# -- images

services_and_images() { # a line each: the service and the image that it is started from, or ours are made from
    docker compose "$@" config | awk '
        /^[^ ]/ { listed = /^services:/ }
        /^  [^ ]/ { service = $1; sub(":", "", service); built = 0 }
        /^    build:/ { built = 1 }
        listed && /^        PYTHON_IMAGE:/ { print "python", $2 }
        listed && /^    image:/ && !built { print service, $2 }' | tr -d '"' | sort -u
}

fetch() { # an image, if it is not here; what docker says against it goes to $said
    docker image inspect "$1" >/dev/null 2>&1 || said=$(docker pull --quiet "$1" 2>&1)
}

variable_of() {
    echo "$(echo "$1" | tr a-z- A-Z_)_IMAGE"
}

fetch_images() {
    services_and_images | while read -r service image; do
        fetch "$image" || refuse "The image $image can't be had: $(echo "$said" | tail -n 1)
$(variable_of "$service") in .env names another, such as a mirror's."
    done
}

# -- profiles

profiles() { # as they are asked for
    if [ -n "${COMPOSE_PROFILES+set}" ]; then
        echo "$COMPOSE_PROFILES"
    elif [ -f .env ]; then
        sed -n 's/^COMPOSE_PROFILES=//p' .env | tail -n 1 | sed 's/ #.*//' | tr -d "\"' "
    fi
}

choose_profiles() {
    wanted=$(profiles)
    COMPOSE_PROFILES='' without=''
    set -f # a profile may be *
    for profile in $(echo "$wanted" | tr , ' '); do
        case $profile in
        dashboards) service=grafana ;;
        alerting) service=alertmanager ;;
        *) service= ;;
        esac
        image=
        [ -z "$service" ] || image=$(services_and_images --profile "$profile" | sed -n "s/^$service //p")
        if [ -z "$image" ] || fetch "$image"; then
            COMPOSE_PROFILES=${COMPOSE_PROFILES:+$COMPOSE_PROFILES,}$profile
        else
            without="${without}Without $profile: the image $image can't be had. $(variable_of "$service") in .env names another, such as
a mirror's; it is not tried again if COMPOSE_PROFILES in .env is without $profile.
"
        fi
    done
    set +f
    export COMPOSE_PROFILES
}

# -- what did not come up

explain() { # who is not well, and the last that it says
    docker compose ps --all --format '{{.Service}}|{{.Name}}|{{.State}}|{{.Health}}|{{.ExitCode}}' |
        while IFS='|' read -r service name state health code; do
            case "$service $state $health $code" in *" running healthy "* | *" created "* | "passwords exited  0") continue ;; esac
            echo "$name is $state${health:+, $health}; the last of docker compose logs $service:"
            docker logs --tail 3 "$name" 2>&1 | cut -c 1-600 | sed 's/^/    /'
        done
}

command -v docker >/dev/null || refuse "No docker command here: without containers, the same stack starts with make stack-up."
warn_of_unknown_names
answer=$(docker version 2>&1 >/dev/null) ||
    refuse "No container engine answers ($answer): start it, or the same stack without containers with make stack-up."
docker compose version >/dev/null 2>&1 || refuse "This docker has no compose: install its plugin, version 2.24 or newer."

described=$(docker compose config --quiet 2>&1) || refuse "docker compose does not take docker-compose.yml with this .env: $described"
choose_profiles
fetch_images

SPINDLE_REVISION=${SPINDLE_REVISION:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
SPINDLE_SOURCE=${SPINDLE_SOURCE:-$(git remote get-url origin 2>/dev/null | sed 's#//.*@#//#')}
export SPINDLE_REVISION SPINDLE_SOURCE

docker compose --profile load --profile tools build
# A service that ends for a wrong setting is begun again and again: there must be an end to waiting.
docker compose up --detach --wait --wait-timeout "${UP_SECONDS:-600}" "$@" || {
    explain >&2
    refuse "Not everything came up. What could not be started (a port that is taken: POSTGRES_PORT and the like in .env name
another), docker says above; what started and is not well says why itself."
}
echo
deploy/places.sh | expand -t 20
printf %s "$without" >&2
