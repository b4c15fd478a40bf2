#!/bin/sh
# Measures liveact-18b on this machine's GPU in under ten minutes, without its weights:
#
#     tools/gpu_check.sh [--minutes 10] [--output gpu_check.jsonl]
#
# It needs a python3 with torch, triton, safetensors, numpy, typer and rich; with transformers, the
# sound's encoder is measured too. `--device cpu --toy` runs the same code in moments without a GPU.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
# Segments that grow instead of many of fixed size: two models after each other fit then.
export PYTORCH_CUDA_ALLOC_CONF="${PYTORCH_CUDA_ALLOC_CONF:-expandable_segments:True}"
exec "${PYTHON:-python3}" "$root/tools/gpu_check.py" "$@"
