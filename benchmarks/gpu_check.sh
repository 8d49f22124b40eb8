#!/usr/bin/env bash
# What there is to check and to measure on a machine with a GPU: builds here, runs the cuda tests, the benchmarks, and
# compute-sanitizer on a short subset. Needs nvcc, torch with CUDA and pybind11; fetches nothing.
#
#   benchmarks/gpu_check.sh              the first part, what is worth most, in four minutes at most
#   benchmarks/gpu_check.sh second       the second part, in a call of its own; then third, fourth
#   benchmarks/gpu_check.sh fps crf      these steps
#   SECONDS_IN_ALL=3000 benchmarks/gpu_check.sh all
#
# A step that fails is reported and the others still run; the exit status says whether all were well. A step gets what
# is left of $SECONDS_IN_ALL (default: 330) where that is less than its own limit; the limits of each part, the build's
# with them, add up to no more than that, those of the first part to 240. Measured on an H100 with 16 cores: build 23 s,
# tests 67, fps 38, crf 45; the other limits are guesses. A benchmark that is cut off leaves the cases that it has.
# Logs, JSON and plots go to out/gpu_check. Where $OUT is set (a lent machine brings back few files from it), it gets
# all of them after each step as gpu_check.tgz; and the extension as built.tgz: put as out/built.tgz and carried to a
# later call, it is unpacked there, and while the sources are the same nothing is compiled.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
work=out/gpu_check
python="${PYTHON:-python3}"
in_all="${SECONDS_IN_ALL:-330}"
archs="${DEEPLAB_CAFFE_ARCHS:-90}"
first=(fps tests crf)
second=(fps_compile kernels ends sanitizer_memcheck domain_transform)
third=(nvrtc segmentation train_speed)
fourth=(sanitizer_crf sanitizer_racecheck fps_all)
every=("${first[@]}" "${second[@]}" "${third[@]}" "${fourth[@]}")
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

wanted=()
for name in "${@:-first}"; do
  case "$name" in
    first) wanted+=("${first[@]}") ;;
    second) wanted+=("${second[@]}") ;;
    third) wanted+=("${third[@]}") ;;
    fourth) wanted+=("${fourth[@]}") ;;
    all) wanted+=("${every[@]}") ;;
    *)
      if [[ " ${every[*]} " != *" $name "* ]]; then
        echo "no step $name: there are first second third fourth all ${every[*]}" >&2
        exit 2
      fi
      wanted+=("$name")
      ;;
  esac
done
mkdir -p "$work"
: >"$work/summary.txt"
failed=()

say() { echo "$@" | tee -a "$work/summary.txt"; }

bring_back() { # FILE [NAME]: into $OUT in one step, so that what is fetched is whole
  [ -n "${OUT:-}" ] || return 0
  local name="${2:-${1##*/}}"
  cp "$1" "$OUT/$name.part" && mv "$OUT/$name.part" "$OUT/$name"
}

pack() {
  tar -C out -czf out/gpu_check.tgz gpu_check && bring_back out/gpu_check.tgz
}

step() { # step NAME SECONDS COMMAND...: runs it within the time, its output in NAME.log
  local name="$1" limit="$2" begin=$SECONDS left=$((in_all - SECONDS))
  shift 2
  # An earlier call's, if the machine is the same.
  rm -f "$work/$name.log" "$work/${name}_cuda".*
  if [ "$left" -lt 10 ]; then
    say "== $name: no time left"
    failed+=("$name (no time left)")
    return 1
  fi
  say "== $name"
  timeout -k 10 "$((limit < left ? limit : left))" "$@" >"$work/$name.log" 2>&1
  local status=$?
  say "   status $status after $((SECONDS - begin)) s: $(tail -n 1 "$work/$name.log" | cut -c -300)"
  if [ "$status" -ne 0 ]; then
    failed+=("$name")
    tail -n 12 "$work/$name.log" | cut -c -300 | sed 's/^/   | /'
  fi
  pack
  return "$status"
}

fps() { # fps STEP SECONDS OPTION...
  step "$1" "$2" "$python" benchmarks/fps.py --device cuda --size 321 --out "$work/$1_cuda.json" "${@:3}"
}

bench() { # bench STEP SECONDS OPTION...: the benchmark of the step's name
  step "$1" "$2" "$python" "benchmarks/$1.py" --device cuda --out "$work/$1_cuda.json" "${@:3}"
}

cuda_tests() { # cuda_tests STEP SECONDS OPTION...: in eight processes where pytest can, which share the cores
  step "$1" "$2" env "${threads[@]}" "$python" -m pytest -q -m cuda --tb=short --durations=15 "${spread[@]}" "${@:3}"
}

sanitized() { # sanitized STEP SECONDS TOOL OPTION...: torch's own allocator would hide what is past a tensor's end
  step "$1" "$2" env PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool "$3" --error-exitcode 9 \
    --target-processes all "$python" -m pytest -q -x -m cuda "${@:4}"
}

run_step() {
  local largefov=(--model deeplab_largefov)
  case "$1" in
    # The headline: LargeFOV in bfloat16.
    fps) fps fps 50 "${largefov[@]}" --batch 32 1 8 --dtype bfloat16 --no-compile --repeats 5 ;;
    # Compiling takes a minute or more for each batch size, so it has a step of its own.
    fps_compile) fps fps_compile 145 "${largefov[@]}" --batch 32 1 --dtype bfloat16 --engine fast --repeats 5 ;;
    fps_all) fps fps_all 175 --batch 1 32 --dtype bfloat16 float16 float32 --no-compile --repeats 3 ;;
    segmentation)
      fps segmentation 75 "${largefov[@]}" --batch 1 8 32 --dtype bfloat16 tf32 --engine fast default CAFFE \
        --no-compile --repeats 3 --crf --end-to-end
      ;;
    crf) bench crf 60 --repeats 7 --no-peak ;;
    kernels) bench kernels 25 ;;
    ends) bench ends 30 --batch 1 32 --repeats 11 ;;
    domain_transform) bench domain_transform 40 --repeats 5 ;;
    train_speed) bench train_speed 60 --batch 30 --dtype float32 bfloat16 --layout contiguous channels_last ;;
    # The rooms that have such tests: those of the docs import what their pages need, and one such import ended Python.
    tests)
      cuda_tests tests 85 tests/crf tests/inference tests/layers tests/ops tests/pycaffe tests/test_device_errors.py \
        -k "not nvrtc"
      ;;
    # The same kernels compiled at run time, on CuPy's and torch's arrays.
    nvrtc) cuda_tests nvrtc 150 tests/ops tests/crf tests/arrays/nvrtc -k nvrtc ;;
    # The sanitizer slows kernels a hundredfold: one small case of each operation.
    sanitizer_memcheck) sanitized "$1" 45 memcheck tests/ops -k "by_hand and not nvrtc and not cupy" ;;
    sanitizer_racecheck) sanitized "$1" 55 racecheck tests/ops -k "by_hand and not nvrtc and not cupy" ;;
    sanitizer_crf)
      sanitized "$1" 55 memcheck tests/crf/test_cuda.py tests/crf/test_cuda_dense_crf.py \
        -k "(several_kernels and 8 or heavy or compatibilities and 3-none) and not nvrtc and not cupy"
      ;;
  esac
}

# What an extension was built from; the first line is its file.
sources() {
  echo "deeplab_caffe/_C$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')"
  echo "$archs $(find csrc setup.py -type f -print0 | LC_ALL=C sort -z | xargs -0 cat | sha256sum)"
}

with_cuda() { "$python" -c 'from deeplab_caffe import _C; raise SystemExit(not _C.with_cuda)'; }

build() {
  sources >out/sources
  if tar -xzOf out/built.tgz out/sources 2>/dev/null | cmp -s - out/sources && tar -xzf out/built.tgz && with_cuda; then
    say "== build: out/built.tgz is of these sources"
    bring_back out/built.tgz
    return
  fi
  rm -f out/built.tgz
  if step build 45 env DEEPLAB_CAFFE_CUDA=1 DEEPLAB_CAFFE_ARCHS="$archs" "$python" setup.py build_ext --inplace; then
    tar -czf out/built.tgz out/sources "$(head -n 1 out/sources)" && bring_back out/built.tgz
  else
    # The kernels can be compiled at run time all the same.
    step build_cpu 120 env DEEPLAB_CAFFE_CUDA=0 "$python" setup.py build_ext --inplace
  fi
}

for tool in nvcc compute-sanitizer; do
  if ! command -v "$tool" >/dev/null && [ -x "/usr/local/cuda/bin/$tool" ]; then
    export PATH="/usr/local/cuda/bin:$PATH"
  fi
done
{
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
  nvcc --version
  "$python" --version
  "$python" -c 'import setuptools; print("setuptools", setuptools.__version__)'
  timeout 30 "$python" -m pip list
} >"$work/gpu.txt" 2>&1
spread=() threads=()
if "$python" -c 'import xdist' 2>/dev/null; then
  spread=(-n 8) threads=(OMP_NUM_THREADS=2)
fi
pack

build
for name in "${wanted[@]}"; do
  run_step "$name"
done

if [ ${#failed[@]} -gt 0 ]; then
  say "failed: ${failed[*]}"
  pack
  exit 1
fi
say "all steps passed in $SECONDS s; results in $work"
pack
