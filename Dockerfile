# Targets: api (no torch), page and worker. Its torch is the default index's build, which on x86-64 brings CUDA;
# for another one build with --build-arg PIP_EXTRA_INDEX_URL=...
# PYTHON_IMAGE may name a digest: `make digests` writes today's into .env, from where docker-compose.yml passes it on.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

# What is to be installed, alone: nothing else that changes in pyproject.toml installs anything anew.
FROM ${PYTHON_IMAGE} AS requirements
ARG WORKER_EXTRAS=worker
WORKDIR /requirements
COPY deploy/image/requirements.py pyproject.toml ./
COPY client/pyproject.toml client/
RUN python requirements.py --build pyproject.toml client/pyproject.toml > build.txt \
    && python requirements.py pyproject.toml client/pyproject.toml > api.txt \
    && python requirements.py --extra page pyproject.toml client/pyproject.toml > page.txt \
    && python requirements.py --extra ${WORKER_EXTRAS} pyproject.toml client/pyproject.toml > worker.txt

FROM ${PYTHON_IMAGE} AS packages
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/build && python -m venv --without-pip /opt/recurra
WORKDIR /requirements
COPY requirements.lock ./
COPY --from=requirements /requirements/api.txt ./
RUN /opt/build/bin/pip --python /opt/recurra/bin/python install --constraint requirements.lock --requirement api.txt

FROM packages AS packages-worker
COPY --from=requirements /requirements/worker.txt ./
RUN /opt/build/bin/pip --python /opt/recurra/bin/python install --constraint requirements.lock --requirement worker.txt

FROM packages AS packages-page
COPY --from=requirements /requirements/page.txt ./
RUN /opt/build/bin/pip --python /opt/recurra/bin/python install --constraint requirements.lock --requirement page.txt

# The project by itself, to be laid over its packages as a layer of its own.
FROM packages AS project
COPY --from=requirements /requirements/build.txt ./
RUN /opt/build/bin/pip install --constraint requirements.lock --requirement build.txt
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY client client
COPY app app
COPY workers workers
COPY migrations migrations
RUN /opt/build/bin/pip wheel --no-build-isolation --no-deps --no-index --wheel-dir /wheels ./client . \
    && /opt/build/bin/pip --python /opt/recurra/bin/python install --no-deps --no-index --prefix /project /wheels/*.whl

FROM ${PYTHON_IMAGE} AS base
ENV PATH=/opt/recurra/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RECURRA_DATA_DIR=/var/lib/recurra
RUN groupadd --gid 10001 recurra \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/recurra --shell /usr/sbin/nologin recurra \
    && install -d -o recurra -g recurra -m 0750 /var/lib/recurra
COPY deploy/image/healthy.sh /usr/local/bin/recurra-healthy
WORKDIR /var/lib/recurra
USER 10001:10001
ENTRYPOINT ["recurra"]

FROM base AS worker
COPY --from=packages-worker /opt/recurra /opt/recurra
COPY --from=project /project /opt/recurra
ENV OMP_NUM_THREADS=1
CMD ["worker", "--role", "train"]
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 CMD ["recurra-healthy", "train"]

FROM base AS page
COPY --from=packages-page /opt/recurra /opt/recurra
COPY --from=project /project /opt/recurra
ENV RECURRA_AUTH=keys
EXPOSE 8001
CMD ["page", "--host", "0.0.0.0", "--port", "8001"]
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 CMD ["recurra-healthy", "page"]

FROM base AS api
COPY --from=packages /opt/recurra /opt/recurra
COPY --from=project /project /opt/recurra
ENV RECURRA_AUTH=keys
EXPOSE 8000
CMD ["api", "--host", "0.0.0.0", "--port", "8000"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["recurra-healthy", "api"]
