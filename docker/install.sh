#!/bin/sh
# Steps of the container images; .ci/run executes them, too:
#   docker/install.sh install VENV SOURCE cpu|cuda    a new virtual environment with Singula
#   docker/install.sh check VENV                      Singula works, and its code is compiled
# TORCH_INDEX: an index, or a folder of wheels, with other builds of torch. Required for cpu.
set -eu

stop() {
    printf 'docker/install.sh: %s\n' "$@" >&2
    exit 2
}

install() {
    venv=$1 source=$2 device=$3 index=${TORCH_INDEX:-}
    case $device in
        cpu | cuda) ;;
        *) stop "DEVICE: got '$device', expected cpu or cuda" ;;
    esac
    # Without dependencies (PIP_NO_DEPS), no torch is installed.
    if [ "$device" = cpu ] && [ -z "$index" ] && [ -z "${PIP_NO_DEPS:-}" ]; then
        stop "TORCH_INDEX: got nothing, expected builds of torch for the CPU" \
            "the usual torch for Linux contains the CUDA libraries: an image of 6 GB instead of 1.4 GB" \
            "give the index that pytorch.org names for the CPU, or a folder with the wheel of torch:" \
            "    --build-arg DEVICE=cpu --build-arg TORCH_INDEX=…" \
            "or build for NVIDIA GPUs: --build-arg DEVICE=cuda"
    fi
    python3 -m venv "$venv"
    pip() { "$venv/bin/python" -m pip install --quiet --no-cache-dir --constraint constraints.txt "$@"; }
    if [ "$device" = cpu ] && [ -n "$index" ]; then
        # First and alone, so that torch from another index with CUDA is rejected in time
        if [ -d "$index" ]; then
            pip --no-compile --no-deps --no-index --find-links "$index" torch
        else
            pip --no-compile --no-deps --index-url "$index" torch
        fi
        cuda=$(torch_cuda)
        [ "$cuda" = None ] || stop "TORCH_INDEX: got torch with CUDA $cuda, expected a build for the CPU"
        index=
    fi
    if [ -d "$index" ]; then set -- --find-links "$index"; else set -- ${index:+--extra-index-url "$index"}; fi
    # `check` compiles the modules that Singula imports; the others would take 200 MB.
    pip --no-compile "$@" "${source}[dask,formats,nifti,slides,stardist]"
    echo "$device" > "$venv/device"
    prune
}

# Remove files that no command of Singula reads.
prune() {
    site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
    find "$site" -type d -name tests -prune -exec rm -rf {} +
    # Programs and headers of torch for C++; CMake, which pylibCZIrw requires; the server of TensorBoard
    rm -rf "$site/torch/test" "$site/torch/include" "$site/cmake" "$site/tensorboard_data_server"
    if [ -d "$site/torch/bin" ]; then
        find "$site/torch/bin" -type f ! -name torch_shm_manager -exec rm {} +
    fi
    # Symbols for debuggers. Files in *.libs were edited by auditwheel, and stripping can damage them.
    if [ "$device" = cpu ] && command -v strip > /dev/null; then
        find "$site" -type f -name '*.so' ! -path '*.libs/*' -exec strip --strip-unneeded {} +
    fi
}

# The version of CUDA with which torch was built, or None; does not import torch.
torch_cuda() {
    "$venv/bin/python" -c 'import importlib.util, pathlib, runpy
folder = pathlib.Path(importlib.util.find_spec("torch").origin).parent
print(runpy.run_path(str(folder / "version.py"))["cuda"])'
}

check() {
    venv=$(cd "$1" && pwd)
    cuda=$(torch_cuda)
    case $(cat "$venv/device"):$cuda in
        cuda:None) stop "torch: got a build for the CPU, expected one with CUDA" ;;
        cpu:[!N]*) stop "torch: got a build with CUDA $cuda, expected one for the CPU" ;;
    esac
    "$venv/bin/python" -c 'import dask, h5py, liffile, nd2, nibabel, oiffile, openslide, pylibCZIrw, roifile, stardist, zarr'
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    cd "$work"
    "$venv/bin/singula" --version
    "$venv/bin/singula" --help > /dev/null
    "$venv/bin/biapy" --help > /dev/null
    "$venv/bin/singula" demo --quick --output demo
    # A built-in model of the installed package
    image=$(find demo -path '*/test/x/*' -name '*.tif' | sort | head -n 1)
    "$venv/bin/singula" models
    "$venv/bin/singula" predict "$image" --output predicted
    test -n "$(find predicted -name '*_overlay.png')"
}

command=${1:-}
case "$command:$#" in
    install:4 | check:2) ;;
    *) sed -n '2,6s/^# //p' "$0" >&2; exit 2 ;;
esac
shift
"$command" "$@"
