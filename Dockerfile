# docker build -t singula .                                                    with CUDA
# docker build -t singula-cpu --build-arg DEVICE=cpu --build-arg TORCH_INDEX=… .
ARG PYTHON=3.11.13-slim-bookworm
FROM python:${PYTHON}

# cuda: torch brings CUDA's libraries along, the host needs NVIDIA's driver and container toolkit.
# cpu: give TORCH_INDEX the address that pytorch.org names for builds without CUDA.
ARG DEVICE=cuda
ARG TORCH_INDEX=""

# Compiled code is kept in a folder that any user may write, so that `--user` may be given.
ENV PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/opt/singula/compiled \
    MPLCONFIGDIR=/opt/singula/compiled \
    PATH=/opt/singula/venv/bin:${PATH}

RUN useradd --create-home --uid 1000 singula \
    && install --directory --owner singula /opt/singula /opt/singula/source \
    && install --directory --owner singula --mode 0777 /opt/singula/compiled

WORKDIR /opt/singula/source
COPY --chown=singula pyproject.toml constraints.txt README.md LICENSE ./
COPY --chown=singula src src
COPY --chown=singula docker docker
COPY --chown=singula templates /opt/singula/templates
USER singula
RUN docker/install.sh install /opt/singula/venv . "${DEVICE}" \
    && docker/install.sh check /opt/singula/venv \
    && chmod --recursive a+rwX /opt/singula/compiled

WORKDIR /home/singula
ENTRYPOINT ["biapy"]
