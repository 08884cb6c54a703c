# A small image for each program:  docker build --target graphinator -t spindle-graphinator .
#                                  (or tableinator, extractor, spindle; docker compose builds them all)
#
# pip asks the index that its own configuration in the base image names, or another by --build-arg PIP_INDEX_URL=…
# (the build's history keeps it: put no login in it); proxies by the usual --build-arg HTTPS_PROXY=….
#
# Two builds from one revision and one base image have the same files: every package is pinned by its hashes, none is
# resolved (--no-deps), and compiled code carries a hash of its source instead of a date.

ARG PYTHON_IMAGE=python:3.13-slim

# What the two services need. Without pip, which nobody needs later. Wheels only: there is no compiler here, and a clear
# refusal is better than a build that fails half way. --build-arg TRACING=otlp adds what TRACING=otlp needs.
FROM ${PYTHON_IMAGE} AS dependencies
ARG PIP_INDEX_URL
ARG TRACING=off
COPY requirements.hashes.txt requirements-tracing.hashes.txt ./
RUN python -m venv --without-pip /opt/spindle \
 && grep -viE '^(lxml|markdown-it-py|mdurl|psutil|pygments|rich|shtab|urllib3)==' requirements.hashes.txt >services.txt \
 && case "$TRACING" in [Oo][Tt][Ll][Pp]) \
      grep -v '^#' requirements-tracing.hashes.txt >>services.txt \
      && grep '^urllib3==' requirements.hashes.txt >>services.txt;; \
    esac \
 && python -m pip --python /opt/spindle install --no-cache-dir --disable-pip-version-check \
      --no-deps --no-compile --only-binary :all: --require-hashes --requirement services.txt \
 && python -m compileall -q --invalidation-mode unchecked-hash /opt/spindle/lib

# What is written for a person, reads XML, or fetches it: the rest. What is compiled already is left as it is.
FROM dependencies AS all-dependencies
ARG PIP_INDEX_URL
RUN grep -vxFf services.txt requirements.hashes.txt >rest.txt \
 && python -m pip --python /opt/spindle install --no-cache-dir --disable-pip-version-check \
      --no-deps --no-compile --only-binary :all: --require-hashes --requirement rest.txt \
 && find /opt/spindle/lib -name '*.py' -newer rest.txt \
  | python -m compileall -q --invalidation-mode unchecked-hash -i -

FROM ${PYTHON_IMAGE} AS sources
WORKDIR /app
COPY common common
COPY graphinator graphinator
COPY tableinator tableinator
COPY extractor extractor
COPY spindle spindle
# The programs run on a read-only file system and could never keep what they compile.
RUN python -m compileall -q --invalidation-mode unchecked-hash .

# What makes the compose stack's passwords, before anything else runs; as root, because the volumes are root's.
FROM ${PYTHON_IMAGE} AS passwords
COPY --chmod=755 deploy/passwords.py /usr/local/bin/passwords
LABEL org.opencontainers.image.title="passwords" \
      org.opencontainers.image.description="Passwords of the compose stack, made once"
ENTRYPOINT ["python", "/usr/local/bin/passwords"]

FROM ${PYTHON_IMAGE} AS program
# Not by useradd, which writes down the day: tomorrow's image would differ.
RUN echo 'spindle:x:10001:10001::/nonexistent:/usr/sbin/nologin' >>/etc/passwd \
 && echo 'spindle:x:10001:' >>/etc/group
WORKDIR /app
COPY LICENSE .
COPY --from=sources /app/common common
ENV PATH=/opt/spindle/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# By number: Kubernetes can tell that it is not root.
USER 10001:10001
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.vendor="Spindle" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.revision=${REVISION} \
      org.opencontainers.image.source=${SOURCE}

# The image's own check is liveness: whoever acts on it restarts the container, which helps against nothing else.
# docker-compose.yml replaces it with readiness, which is what others wait for.
FROM program AS service
COPY --from=dependencies /opt/spindle /opt/spindle
COPY --chmod=755 deploy/healthcheck.py /usr/local/bin/healthcheck
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["healthcheck", "live"]

FROM service AS graphinator
COPY --chmod=755 deploy/program.sh /usr/local/bin/graphinator
COPY --from=sources /app/graphinator graphinator
ENV METRICS_PORT=8001
EXPOSE 8001
LABEL org.opencontainers.image.title="graphinator" \
      org.opencontainers.image.description="Records from RabbitMQ into Neo4j, in batches"
ENTRYPOINT ["graphinator"]

FROM service AS tableinator
COPY --chmod=755 deploy/program.sh /usr/local/bin/tableinator
COPY --from=sources /app/tableinator tableinator
ENV METRICS_PORT=8002
EXPOSE 8002
LABEL org.opencontainers.image.title="tableinator" \
      org.opencontainers.image.description="Records from RabbitMQ into PostgreSQL, in batches"
ENTRYPOINT ["tableinator"]

# These two do one thing and end: there is nothing to check the health of.
FROM program AS command
COPY --from=all-dependencies /opt/spindle /opt/spindle
# An empty volume that is mounted here takes over whose it is.
USER 0:0
RUN install -d -o 10001 -g 10001 /state
USER 10001:10001

FROM command AS extractor
COPY --chmod=755 deploy/program.sh /usr/local/bin/extractor
COPY --from=sources /app/extractor extractor
LABEL org.opencontainers.image.title="extractor" \
      org.opencontainers.image.description="Discogs dump files or synthetic records as messages to RabbitMQ"
ENTRYPOINT ["extractor"]

FROM command AS spindle
COPY --chmod=755 deploy/program.sh /usr/local/bin/spindle
COPY --from=sources /app/graphinator graphinator
COPY --from=sources /app/tableinator tableinator
COPY --from=sources /app/extractor extractor
COPY --from=sources /app/spindle spindle
LABEL org.opencontainers.image.title="spindle" \
      org.opencontainers.image.description="The operator's command: status, doctor, dead-letters, verify"
ENTRYPOINT ["spindle"]
