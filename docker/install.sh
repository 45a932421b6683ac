#!/bin/sh
# The steps of the image, which .ci/run takes too: install Singula with the versions that were
# tested together, then see that it starts. Call it in the folder of pyproject.toml.
#
#   PYTHON       the Python to install into                         [python3]
#   DEVICE       cpu: torch without CUDA, gigabytes smaller; cuda   [cpu]
#   TORCH_INDEX  index of torch's CPU wheels; empty: pip's own      [PyTorch's, for DEVICE cpu]
#   EXTRAS       extras of pyproject.toml, for example openvino     [none]
set -eu

python=${PYTHON:-python3}
device=${DEVICE:-cpu}
extras=${EXTRAS:-}

case $device in
  cpu) index=${TORCH_INDEX-https://download.pytorch.org/whl/cpu} ;;
  cuda) index= ;; # the usual wheels for Linux bring CUDA; the host gives the driver
  *)
    echo "DEVICE: found $device; allowed cpu or cuda" >&2
    exit 2
    ;;
esac

"$python" -m pip install --no-cache-dir --constraint constraints.txt \
  ${index:+--extra-index-url "$index"} ".${extras:+[$extras]}"

# It is the installed package that starts, not the sources beside this script.
cd /
bin=$("$python" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')
"$bin/singula" --version
"$bin/singula" --help > /dev/null
"$bin/biapy" --help > /dev/null
"$python" -c 'import singula, torch; print("torch", torch.__version__, "CUDA", torch.version.cuda)'
