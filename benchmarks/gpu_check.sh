#!/usr/bin/env bash
# One command for a machine with a GPU: builds here, runs the cuda tests, compute-sanitizer on a short subset, and the
# benchmarks. Logs and JSON go to $OUT (default: out/gpu_check). A step that fails is reported and the others still run;
# the exit status says whether all were well. Needs nvcc, torch with CUDA and pybind11; fetches nothing.
set -uo pipefail
cd "$(dirname "$0")/.."
out="${OUT:-out/gpu_check}"
mkdir -p "$out"
python="${PYTHON:-python3}"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
failed=()

step() { # step NAME SECONDS COMMAND...: runs it within the time, its output in NAME.log
  local name="$1" limit="$2" begin=$SECONDS
  shift 2
  echo "== $name"
  timeout "$limit" "$@" >"$out/$name.log" 2>&1
  local status=$?
  echo "   status $status after $((SECONDS - begin)) s: $(tail -n 1 "$out/$name.log")"
  [ "$status" -eq 0 ] || failed+=("$name")
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv >"$out/gpu.txt" 2>&1
step build 240 env DEEPLAB_CAFFE_CUDA=1 DEEPLAB_CAFFE_ARCHS="${DEEPLAB_CAFFE_ARCHS:-90}" \
  "$python" setup.py build_ext --inplace
step tests 180 "$python" -m pytest -q -m cuda tests
# The sanitizer slows kernels a hundredfold: one small case of each operation.
for tool in memcheck racecheck; do
  step "sanitizer_$tool" 120 compute-sanitizer --tool "$tool" --error-exitcode 9 --target-processes all \
    "$python" -m pytest -q -x -m cuda tests/ops -k "by_hand"
done
step sanitizer_crf 120 compute-sanitizer --tool memcheck --error-exitcode 9 --target-processes all \
  "$python" -m pytest -q -x -m cuda tests/crf/test_cuda.py tests/crf/test_cuda_dense_crf.py -k "several_kernels and 8 or heavy or compatibilities and 3-none"
step crf 240 "$python" benchmarks/crf.py --device cuda --quick --no-peak --out "$out/crf_cuda.json"
step fps 180 "$python" benchmarks/fps.py --device cuda --batch 1 8 32 --repeats 7 --out "$out/fps_cuda.json"

if [ ${#failed[@]} -gt 0 ]; then
  echo "failed: ${failed[*]}"
  exit 1
fi
echo "all steps passed; results in $out"
