#!/bin/sh
# The steps of the image, which .ci/run takes as well:
#   docker/install.sh install VENV SOURCE cpu|cuda    a fresh virtual environment with Singula
#   docker/install.sh check VENV                      it works, and its code is compiled
# TORCH_INDEX: an index with other builds of torch, such as those without CUDA.
set -eu

install() {
    venv=$1 source=$2 device=$3
    case $device in
        cpu | cuda) ;;
        *) echo "DEVICE is '$device'; allowed: cpu, cuda" >&2; exit 2 ;;
    esac
    python3 -m venv "$venv"
    if [ "$device" = cpu ] && [ -z "${TORCH_INDEX:-}" ]; then
        echo "TORCH_INDEX is not given: torch may come with CUDA's libraries, which stay unused"
    fi
    "$venv/bin/python" -m pip install --quiet --no-cache-dir --constraint constraints.txt \
        ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} "${source}[dask,nifti]"
    echo "$device" > "$venv/device"
}

check() {
    venv=$(cd "$1" && pwd)
    if [ "$(cat "$venv/device")" = cuda ]; then
        "$venv/bin/python" -c 'import sys, torch; torch.version.cuda or sys.exit("torch is built without CUDA")'
    fi
    "$venv/bin/python" -c 'import dask, h5py, nibabel, roifile, zarr'
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
    *) sed -n '2,5s/^# //p' "$0" >&2; exit 2 ;;
esac
shift
"$command" "$@"
