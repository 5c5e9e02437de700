#!/usr/bin/env bash
# Measures what ten minutes on a GPU or TPU allow, or more if there are more.
#
#     benchmarks/accelerator.sh OUT [MINUTES]
#
# Nothing is installed: JAX for the device and the packages of pyproject.toml must be there, but
# not tensorflow-datasets. The stages, with their shares of the time:
#
#     device       names the device
#     runs         50 %  ListOps as Nystromformer trained on it: each attention once, then more seeds
#                        of some. Several runs share a GPU. At the same time, or after that on other
#                        devices, the contract tests of every attention, on the device; they need
#                        pytest and hypothesis
#     efficiency   35 %  every attention alone, forward and backward, in bfloat16 and float32
#     step         the rest: the training step of every attention
#
# A stage that has used its share is stopped; the next call with the same OUT goes on. Results are
# in OUT as soon as they are there, and a summary in OUT/summary.md. Variables:
#
#     PYTHON       python3 by default
#     TINY=1       tries the script itself: tiny sizes, two attentions
#     STAGES       "device runs efficiency step" by default; also trainings and contract
#     JOBS         runs at a time on a GPU; 6 by default
set -uo pipefail

(($# == 1 || $# == 2)) || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }
[[ ${2:-10} =~ ^[0-9]+$ ]] || { echo "MINUTES must be a whole number, not $2" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
seconds=$((${2:-10} * 60))
mkdir -p "$1" || exit 2
out=$(cd "$1" && pwd)
python=${PYTHON:-python3}
[[ $python != */* || $python = /* ]] || python=$PWD/$python
cd "$out" || exit 2 # another lra_bench in the current folder would come before the one of $root
stages=${STAGES:-device runs efficiency step}
end=$((SECONDS + seconds))
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} XLA_FLAGS=${XLA_FLAGS:-}
lra_bench=("$python" -m lra_bench)
# The slowest first, so that it does not end last.
attentions=softmax,nystromformer,reformer,linformer,performer-softmax,linear,skyformer,bigbird
again=linformer,performer-softmax,nystromformer
tests=(tests/attentions/test_attention_contract.py tests/attentions/test_attention_math.py)
preset=small published=nystromformer names=all effort=(--budget 1) largest=(--largest)
settings=(--set train.eval_every=250 --set train.log_every=50)
some=softmax,softmax-fused,performer-softmax,performer-relu,linear,linformer,reformer,nystromformer
# What tells most comes first.
cells="$some backward bfloat16 4096,16384
$some backward bfloat16 1024,65536
all backward bfloat16 4096,16384
$some forward bfloat16 4096,16384,1024,65536
all backward bfloat16 1024,65536
all forward bfloat16 4096,16384,1024,65536
all backward float32 4096,16384,1024,65536
all forward float32 4096,16384,1024,65536
all backward bfloat16 2048,8192,32768
all forward bfloat16 2048,8192,32768"
if [[ ${TINY:-} ]]; then
    attentions=linear again=linear preset=smoke published=smoke settings=() names=linear
    effort=(--budget 0.01) largest=(--memory-limit 1GiB)
    cells="linear backward bfloat16 16
linear forward float32 32"
    tests=("${tests[0]}" -k "test_always and linear and float32 and padding")
fi

steps=("$python" "$root/benchmarks/step.py" peers parts --preset $preset --attentions "$names"
    --rounds 1 --out "$out/step.jsonl")

say() { printf '%s\n' "$*" | tee -a "$out/log.txt"; }

# share PERCENT: the second at which a stage that starts now must end.
share() {
    local until=$((SECONDS + seconds * $1 / 100))
    echo $((until < end ? until : end))
}

# limited UNTIL COMMAND...: run it until that second at most; status 124 or more: its time is over.
# Nothing useful starts in 5 s.
limited() {
    local limit=$(($1 - SECONDS))
    shift
    ((limit >= 5)) || { say "the time of this stage is over; the next call goes on"; return 124; }
    timeout --kill-after=60 "$limit" "$@" >> "$out/log.txt" 2>&1
    local status=$?
    ((status != 124 && status != 137)) || say "stopped after $limit s; the next call goes on"
    return $status
}

device() {
    "$python" - << 'PYTHON' 2>> "$out/log.txt" | tee "$out/device.txt"
import platform
import jax

devices = jax.devices()
print(f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform}) on {platform.node()}, "
      f"jax {jax.__version__}, Python {platform.python_version()}")
PYTHON
}

# Float32 products are exact here: by default a GPU or TPU rounds what it multiplies.
contract() {
    if ! "$python" -c "import hypothesis, pytest" 2>> "$out/log.txt"; then
        say "the contract tests need pytest and hypothesis, which are not installed: skipped"
        return
    fi
    local several=()
    if on_gpu && "$python" -c "import xdist" 2>> "$out/log.txt"; then
        several=(-n "$(($(nproc) / 2))")
    fi
    (cd "$root" && JAX_DEFAULT_MATMUL_PRECISION=highest JAX_COMPILATION_CACHE_DIR=$out/compiled \
        JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 XLA_PYTHON_CLIENT_PREALLOCATE=false \
        PASSED=$out/contract.txt limited "$(share 50)" "$python" -m pytest -o addopts= -q -W default \
        -p no:cacheprovider "${several[@]}" -p resumed --import-mode=importlib -m "not slow" "${tests[@]}")
    say "contract tests: $(grep -c ^passed "$out/contract.txt" 2>/dev/null || :) passed," \
        "$(grep -c ^failed "$out/contract.txt" 2>/dev/null || :) failed, listed in contract.txt"
}

# Other devices than GPUs belong to one process at a time.
runs() {
    if on_gpu; then
        contract &
        trainings
        wait
    else
        trainings
        contract
    fi
}

on_gpu() { grep -q "(gpu)" "$out/device.txt"; }

# sweep SEEDS ATTENTIONS
sweep() {
    limited "$until" "${lra_bench[@]}" sweep --tasks listops --preset "$published" \
        --attentions "$2" --seeds "$1" "${settings[@]}" "${jobs[@]}" --no-calibration \
        --data-dir data --out runs
}

trainings() {
    local until jobs=()
    until=$(share 50)
    ! on_gpu || jobs=(--jobs "${JOBS:-6}")
    sweep 0 "$attentions"
    (($? < 124)) && sweep 1,2 "$again"
    say "runs: $(find "$out" -path "*/runs/*/record.json" | wc -l) finished"
}

efficiency() {
    local until some direction dtype lengths
    until=$(share 35)
    while read -r some direction dtype lengths; do
        measure --attentions "$some" --lengths "$lengths" --pass "$direction" --dtype "$dtype"
        (($? < 124)) || return
    done <<< "$cells"
    for dtype in bfloat16 float32; do
        measure --attentions "$names" --lengths 1024 --pass backward --dtype $dtype "${largest[@]}"
        (($? < 124)) || return
    done
}

measure() {
    limited "$until" "${lra_bench[@]}" efficiency --rounds 1 --time-limit 2m "${effort[@]}" \
        --out "$out/efficiency" "$@" < /dev/null
}

step() {
    [[ ! -f $out/step.done ]] || return
    limited $end "${steps[@]}" && touch "$out/step.done"
}

summary() {
    printf '# %s\n\n' "$(cat "$out/device.txt" 2>/dev/null)"
    grep -h "^contract tests:" "$out/log.txt" | tail -n 1
    for folder in "$out/runs" "$out/efficiency"; do
        [[ -d $folder ]] && "${lra_bench[@]}" table "$folder" 2>> "$out/log.txt"
    done
    [[ ! -f $out/step.done ]] || "${steps[@]}" 2>> "$out/log.txt"
    for folder in "$out"/runs/*; do
        [[ -f $folder/record.json || ! -f $folder/metrics.jsonl ]] ||
            printf '%s, not finished: %s\n' "${folder##*/}" "$(tail -n 1 "$folder/metrics.jsonl")"
    done
}

for stage in $stages; do
    say "== $stage, $((end - SECONDS)) s left"
    $stage
done
summary > "$out/summary.md"
say "results in $out, tables in $out/summary.md"
