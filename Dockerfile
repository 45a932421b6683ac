# docker build -t singula .                                                    with CUDA
# docker build -t singula-cpu --build-arg DEVICE=cpu --build-arg TORCH_INDEX=… .
# BASE: an image of Debian or Ubuntu with Python 3.11 or newer and its module venv.
ARG BASE=python:3.11.13-slim-bookworm
FROM ${BASE}

# cuda: torch contains the CUDA libraries; the host needs NVIDIA's driver and container toolkit.
# cpu: TORCH_INDEX is the index that pytorch.org names for the CPU, or a folder of wheels, such as docker/wheels.
ARG DEVICE=cuda
ARG TORCH_INDEX=""

# Compiled code is cached in a folder that any user may write, so that `--user` may be given.
ENV PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/opt/singula/compiled \
    MPLCONFIGDIR=/opt/singula/compiled \
    PATH=/opt/singula/venv/bin:${PATH}

# binutils: `strip`
RUN apt-get update -qq && apt-get install -qq --yes --no-install-recommends binutils > /dev/null \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb \
    && useradd --create-home --uid 1000 singula \
    && install --directory --owner singula /opt/singula /opt/singula/source \
    && install --directory --owner singula --mode 0777 /opt/singula/compiled

WORKDIR /opt/singula/source
COPY --chown=singula pyproject.toml constraints.txt README.md LICENSE ./
COPY --chown=singula src src
COPY --chown=singula docs/gui.md docs/gui.md
COPY --chown=singula templates /opt/singula/templates
USER singula
# The secret `pip` is a pip.conf with the index of your institution; it does not get into the image.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf,mode=0444 \
    --mount=type=bind,source=docker,target=/opt/singula/source/docker \
    docker/install.sh install /opt/singula/venv . "${DEVICE}" \
    && docker/install.sh check /opt/singula/venv \
    && chmod --recursive a+rwX /opt/singula/compiled

WORKDIR /home/singula
ENTRYPOINT ["biapy"]
