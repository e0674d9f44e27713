# One image for both roles: run `daf-coordinator` (the default) or `daf-worker`. Nothing runs as root.
# tests/packaging/clean-root carries out these very steps without Docker, and then compose.yaml's services.

FROM debian:bookworm-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/daf
COPY setup.cfg pyproject.toml README.md LICENSE /src/
COPY mapreduce /src/mapreduce
COPY plugins /src/plugins
COPY nerf_plugin /src/nerf_plugin
RUN /opt/daf/bin/pip install --no-cache-dir "/src[nerf]" \
    && find /opt/daf -name tests -type d -prune -exec rm -rf {} + \
    && /opt/daf/bin/pip uninstall -y pip setuptools

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-log-init --create-home --home-dir /var/lib/daf --shell /usr/sbin/nologin daf \
    && install --directory --owner=daf --group=daf /blobs
COPY --from=build /opt/daf /opt/daf
ENV PATH=/opt/daf/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/var/lib/daf/numba
USER daf
WORKDIR /var/lib/daf
VOLUME /var/lib/daf /blobs
EXPOSE 7077
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["daf", "ping"]
CMD ["daf-coordinator", "--bind", "tcp://127.0.0.1:7077", "--store", "sqlite:////var/lib/daf/daf.sqlite"]
