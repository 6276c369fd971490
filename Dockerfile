# syntax=docker/dockerfile:1
# Targets: api (no torch), page and worker. Its torch is the default index's build, which on x86-64 brings CUDA;
# for another one build with --build-arg PIP_EXTRA_INDEX_URL=...
ARG PYTHON=3.12-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/recurra
ENV PATH=/opt/recurra/bin:$PATH
WORKDIR /src
COPY pyproject.toml requirements.lock README.md ./
COPY client client
COPY app app
COPY workers workers
COPY migrations migrations
RUN pip install --constraint requirements.lock ./client .

FROM build AS build-worker
ARG PIP_EXTRA_INDEX_URL
RUN pip install --constraint requirements.lock ./client '.[worker]'

FROM build AS build-page
RUN pip install --constraint requirements.lock ./client '.[page]'

FROM python:${PYTHON} AS base
ENV PATH=/opt/recurra/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RECURRA_DATA_DIR=/var/lib/recurra
RUN groupadd --gid 10001 recurra \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/recurra --shell /usr/sbin/nologin recurra \
    && install -d -o recurra -g recurra -m 0750 /var/lib/recurra
WORKDIR /var/lib/recurra
USER 10001:10001
ENTRYPOINT ["recurra"]

FROM base AS worker
COPY --from=build-worker /opt/recurra /opt/recurra
ENV OMP_NUM_THREADS=1
CMD ["worker", "--role", "train"]
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 \
    CMD ["recurra", "worker", "--role", "train", "--check"]

FROM base AS page
COPY --from=build-page /opt/recurra /opt/recurra
ENV RECURRA_AUTH=keys
EXPOSE 8001
CMD ["page", "--host", "0.0.0.0", "--port", "8001"]
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8001/healthz', timeout=4)"]

FROM base AS api
COPY --from=build /opt/recurra /opt/recurra
ENV RECURRA_AUTH=keys
EXPOSE 8000
CMD ["api", "--host", "0.0.0.0", "--port", "8000"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
