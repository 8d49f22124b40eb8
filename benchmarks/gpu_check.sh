#!/usr/bin/env bash
# One command for a machine with a GPU, in under ten minutes: builds here, runs the cuda tests, the benchmarks, and
# compute-sanitizer on a short subset, what is worth most first. Logs, JSON and plots go to $OUT (default: out/gpu_check).
# A step that fails is reported and the others still run; the exit status says whether all were well. A step gets the
# time that is left of $SECONDS_IN_ALL (default: 560) where that is less than its own limit. Needs nvcc, torch with CUDA
# and pybind11; fetches nothing.
#
#   benchmarks/gpu_check.sh              all steps
#   benchmarks/gpu_check.sh fps crf      the build and these
set -uo pipefail
cd "$(dirname "$0")/.."
out="${OUT:-out/gpu_check}"
mkdir -p "$out"
python="${PYTHON:-python3}"
in_all="${SECONDS_IN_ALL:-560}"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
wanted=("$@") failed=() known=()

step() { # step NAME SECONDS COMMAND...: runs it within the time, its output in NAME.log
  local name="$1" limit="$2" begin=$SECONDS left=$((in_all - SECONDS))
  shift 2
  known+=("$name")
  if [ ${#wanted[@]} -gt 0 ] && [ "$name" != build ] && [[ " ${wanted[*]} " != *" $name "* ]]; then return; fi
  if [ "$left" -lt 10 ]; then
    echo "== $name: no time left"
    failed+=("$name (no time left)")
    return
  fi
  echo "== $name"
  timeout "$((limit < left ? limit : left))" "$@" >"$out/$name.log" 2>&1
  local status=$?
  echo "   status $status after $((SECONDS - begin)) s: $(tail -n 1 "$out/$name.log")"
  [ "$status" -eq 0 ] || failed+=("$name")
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv >"$out/gpu.txt" 2>&1
step build 240 env DEEPLAB_CAFFE_CUDA=1 DEEPLAB_CAFFE_ARCHS="${DEEPLAB_CAFFE_ARCHS:-90}" \
  "$python" setup.py build_ext --inplace
step tests 150 "$python" -m pytest -q -m cuda tests -k "not nvrtc"
# The headline: LargeFOV, with torch.compile beside it. Results are written case by case.
step fps 170 "$python" benchmarks/fps.py --device cuda --model deeplab_largefov --size 321 --batch 32 1 8 \
  --dtype bfloat16 --repeats 5 --out "$out/fps_cuda.json"
step segmentation 90 "$python" benchmarks/fps.py --device cuda --model deeplab_largefov --size 321 --batch 1 8 32 \
  --dtype bfloat16 tf32 --engine fast default CAFFE --no-compile --repeats 3 --crf --end-to-end \
  --out "$out/segmentation_cuda.json"
step crf 60 "$python" benchmarks/crf.py --device cuda --repeats 7 --no-peak --out "$out/crf_cuda.json"
step kernels 40 "$python" benchmarks/kernels.py --device cuda --out "$out/kernels_cuda.json"
step ends 40 "$python" benchmarks/ends.py --device cuda --batch 1 32 --out "$out/ends_cuda.json"
step train_speed 60 "$python" benchmarks/train_speed.py --device cuda --batch 30 --dtype float32 bfloat16 \
  --layout contiguous channels_last --out "$out/train_speed_cuda.json"
# The sanitizer slows kernels a hundredfold: one small case of each operation.
for tool in memcheck racecheck; do
  step "sanitizer_$tool" 60 compute-sanitizer --tool "$tool" --error-exitcode 9 --target-processes all \
    "$python" -m pytest -q -x -m cuda tests/ops -k "by_hand"
done
step sanitizer_crf 60 compute-sanitizer --tool memcheck --error-exitcode 9 --target-processes all \
  "$python" -m pytest -q -x -m cuda tests/crf/test_cuda.py tests/crf/test_cuda_dense_crf.py \
  -k "several_kernels and 8 or heavy or compatibilities and 3-none"
# The same kernels compiled at run time, on CuPy's and torch's arrays.
step nvrtc 150 "$python" -m pytest -q -m cuda tests/ops tests/crf tests/nvrtc -k nvrtc
step fps_all 120 "$python" benchmarks/fps.py --device cuda --size 321 --batch 1 32 --dtype bfloat16 float16 float32 \
  --no-compile --repeats 3 --out "$out/fps_all_cuda.json"

for name in ${wanted[@]+"${wanted[@]}"}; do
  [[ " ${known[*]} " == *" $name "* ]] || failed+=("$name (there are ${known[*]})")
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "failed: ${failed[*]}"
  exit 1
fi
echo "all steps passed in $SECONDS s; results in $out"
