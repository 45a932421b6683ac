# docker build --tag singula .                              CPU
# docker build --tag singula --build-arg DEVICE=cuda .      CUDA
# docs/docker.md says how to run it.
FROM python:3.11.13-slim-bookworm

ARG DEVICE=cpu
ARG EXTRAS=
# The id of the user within; the first user of most Linux machines has 1000.
ARG UID=1000

# Compiled functions and fonts are cached where any user may write, see `docker run --user`.
ENV PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    NUMBA_CACHE_DIR=/tmp/numba \
    MPLCONFIGDIR=/tmp/matplotlib

RUN useradd --uid "$UID" --create-home singula

WORKDIR /opt/singula
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY docker docker
COPY src src
COPY templates templates
RUN DEVICE="$DEVICE" EXTRAS="$EXTRAS" docker/install.sh

USER singula
WORKDIR /home/singula
ENTRYPOINT ["/opt/singula/docker/entrypoint.sh"]
