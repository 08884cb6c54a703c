# A small image for each service:  docker build --target graphinator -t spindle-graphinator .
#                                  (or tableinator, extractor; docker compose builds them all)
#
# pip asks the index that its own configuration in the base image names, or another by --build-arg PIP_INDEX_URL=…
# (the build's history keeps it: put no login in it); proxies by the usual --build-arg HTTPS_PROXY=….

ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS dependencies
ARG PIP_INDEX_URL
COPY requirements.txt .
# Without pip, which nobody needs later. Wheels only: there is no compiler here, and a clear refusal is better than
# a build that fails half way.
RUN python -m venv --without-pip /opt/spindle \
 && python -m pip --python /opt/spindle install --no-cache-dir --disable-pip-version-check \
      --only-binary :all: --requirement requirements.txt

FROM ${PYTHON_IMAGE} AS sources
WORKDIR /app
COPY common common
COPY graphinator graphinator
COPY tableinator tableinator
COPY extractor extractor
# The services run on a read-only file system and could never keep what they compile.
RUN python -m compileall -q .

FROM ${PYTHON_IMAGE} AS service
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin spindle
COPY --from=dependencies /opt/spindle /opt/spindle
COPY --chmod=755 deploy/healthcheck.py /usr/local/bin/healthcheck
WORKDIR /app
COPY --from=sources /app/common common
ENV PATH=/opt/spindle/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# By number: Kubernetes can tell that it is not root.
USER 10001:10001
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.vendor="Spindle" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.revision=${REVISION}

# The image's own check is liveness: whoever acts on it restarts the container, which helps against nothing else.
# docker-compose.yml replaces it with readiness, which is what others wait for.

FROM service AS graphinator
COPY --from=sources /app/graphinator graphinator
ENV METRICS_PORT=8001
EXPOSE 8001
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["healthcheck", "live"]
LABEL org.opencontainers.image.title="graphinator" \
      org.opencontainers.image.description="Records from RabbitMQ into Neo4j, in batches"
ENTRYPOINT ["python", "-m", "graphinator"]

FROM service AS tableinator
COPY --from=sources /app/tableinator tableinator
ENV METRICS_PORT=8002
EXPOSE 8002
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["healthcheck", "live"]
LABEL org.opencontainers.image.title="tableinator" \
      org.opencontainers.image.description="Records from RabbitMQ into PostgreSQL, in batches"
ENTRYPOINT ["python", "-m", "tableinator"]

FROM service AS extractor
COPY --from=sources /app/extractor extractor
LABEL org.opencontainers.image.title="extractor" \
      org.opencontainers.image.description="Discogs dump files or synthetic records as messages to RabbitMQ"
ENTRYPOINT ["python", "-m", "extractor"]
