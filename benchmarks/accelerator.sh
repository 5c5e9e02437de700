#!/usr/bin/env bash
# Measures what ten minutes on a GPU or TPU allow, or more if there are more.
#
#     benchmarks/accelerator.sh OUT [MINUTES]
#
# Nothing is installed: JAX for the device and the packages of pyproject.toml must be there, but
# not tensorflow-datasets. The stages, with their shares of the time:
#
#     device       names the device
#     contract     15 %  the contract tests of every attention, on the device; needs pytest and
#                        hypothesis
#     efficiency   45 %  every attention alone, in bfloat16 and float32, forward and backward
#     step         15 %  the training step of every attention
#     runs         the rest: preset small on ListOps, one attention after the other, cheapest first
#
# A stage that has used its share is stopped; the next call with the same OUT goes on. Results are
# in OUT as soon as they are there, and a summary in OUT/summary.md. Variables:
#
#     PYTHON       python3 by default
#     TINY=1       tries the script itself: tiny sizes, two attentions
#     STAGES       "device contract efficiency step runs" by default
set -uo pipefail

(($# == 1 || $# == 2)) || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }
[[ ${2:-10} =~ ^[0-9]+$ ]] || { echo "MINUTES must be a whole number, not $2" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
seconds=$((${2:-10} * 60))
mkdir -p "$1" || exit 2
out=$(cd "$1" && pwd)
python=${PYTHON:-python3}
stages=${STAGES:-device contract efficiency step runs}
end=$((SECONDS + seconds))
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} XLA_FLAGS=${XLA_FLAGS:-}
lra_bench=("$python" -m lra_bench)
# Cheapest first, by the operations of a step of preset small.
attentions=(identity linear performer-relu performer-generalized performer-softmax linformer
    reformer softmax-fused softmax-chunked softmax)
tests=(tests/attentions/test_attention_contract.py tests/attentions/test_attention_math.py)
preset=small names=all effort=(--budget 2) largest=(--largest)
some=1024,4096,16384,65536 others=2048,8192,32768
if [[ ${TINY:-} ]]; then
    attentions=(linear) preset=smoke names=linear effort=(--budget 0.01) some=16 others=32
    largest=(--memory-limit 1GiB)
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
    (cd "$root" && JAX_DEFAULT_MATMUL_PRECISION=highest JAX_COMPILATION_CACHE_DIR=$out/compiled \
        JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 XLA_PYTHON_CLIENT_PREALLOCATE=false \
        PASSED=$out/contract.txt limited "$(share 15)" "$python" -m pytest -o addopts= -q -W default \
        -p no:cacheprovider -p resumed --import-mode=importlib -m "not slow" "${tests[@]}")
    say "contract tests: $(grep -c ^passed "$out/contract.txt" 2>/dev/null || :) passed," \
        "$(grep -c ^failed "$out/contract.txt" 2>/dev/null || :) failed, listed in contract.txt"
}

measure() {
    limited "$until" "${lra_bench[@]}" efficiency --attentions "$names" --rounds 1 \
        --time-limit 2m "${effort[@]}" --out "$out/efficiency" "$@"
}

# What tells most comes first.
efficiency() {
    local until lengths direction dtype
    until=$(share 45)
    for lengths in "$some" "$others"; do
        for direction in backward forward; do
            for dtype in bfloat16 float32; do
                measure --lengths "$lengths" --pass $direction --dtype $dtype
                (($? < 124)) || return
            done
        done
    done
    for dtype in bfloat16 float32; do
        measure --lengths "$some,$others" --pass backward --dtype $dtype "${largest[@]}"
        (($? < 124)) || return
    done
}

step() {
    [[ ! -f $out/step.done ]] || return
    limited "$(share 15)" "${steps[@]}" && touch "$out/step.done"
}

runs() {
    local attention folder
    for attention in "${attentions[@]}"; do
        folder=$out/runs/listops-$attention
        [[ ! -f $folder/record.json ]] || continue
        limited $end "${lra_bench[@]}" run --task listops --preset $preset --attention "$attention" \
            --data-dir "$out/data" --out "$folder" --resume
        (($? < 124)) || return
        say "listops, $attention: finished"
    done
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
