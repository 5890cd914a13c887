# Rollguard's image: `docker build -t rollguard .` (docs/deploy.md). Not root, nothing to compile, and a root that may be read-only.
# It writes nowhere but to /var/lib/rollguard (a database of SQLite, where the config names one) and /tmp.

FROM python:3.11.13-slim-bookworm AS build
WORKDIR /source
COPY deploy/container/requirements.lock ./
# Wheels alone, each checked against its hash: no compiler, and nothing that nobody has seen.
RUN python -m venv /opt/rollguard \
    && /opt/rollguard/bin/pip install --no-cache-dir --require-hashes --only-binary :all: --requirement requirements.lock
COPY . .
RUN /opt/rollguard/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/rollguard/bin/pip check \
    && /opt/rollguard/bin/pip uninstall --yes setuptools pip

FROM python:3.11.13-slim-bookworm
LABEL org.opencontainers.image.title="Rollguard" \
    org.opencontainers.image.description="Watches what customers feel, names the change that hurt them, and pages or rolls it back." \
    org.opencontainers.image.licenses="Apache-2.0"
# Numbers, so that Kubernetes can see that it is not root (runAsNonRoot), and fixed ones, so that a volume fits the next version too.
RUN groupadd --system --gid 10001 rollguard \
    && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/rollguard --shell /usr/sbin/nologin rollguard \
    && install -d -o 10001 -g 10001 -m 0750 /var/lib/rollguard /run/rollguard
COPY --from=build /opt/rollguard /opt/rollguard
ENV PATH=/opt/rollguard/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/rollguard
VOLUME /var/lib/rollguard
EXPOSE 6067
# Whether the worker answers. /readyz says whether it works: one that waits for Kafka is well, and must not be started again for it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 6067, timeout=4); c.request('GET', '/healthz'); exit(c.getresponse().status != 200)"]
ENTRYPOINT ["rollguard"]
CMD ["worker", "--config", "/etc/rollguard/rollguard.yaml", "--logs", "json"]
