#!/usr/bin/env bash
# What a GPU does: builds, compares it with the CPU, measures training steps beside PyTorch on the same GPU, and
# writes a table.
#
# Run: bash tests/gpu/measure.sh                        on a machine with an NVIDIA GPU
#      DEVICE=wgpu bash tests/gpu/measure.sh            another back end: wgpu, vulkan, cuda, cpu
#      DRY=1 DEVICE=cpu bash tests/gpu/measure.sh       the script itself: small networks on the CPU
#
# PYTHON is an interpreter with torch, torchvision and lightly; without one, PyTorch's columns stay empty.
# PROGRAM is a program that was built elsewhere; OUT the folder of results [target/gpu-results].
set -euo pipefail
cd "$(dirname "$0")/../.."

device=${DEVICE:-cuda}
out=${OUT:-target/gpu-results}
python=${PYTHON:-}
mkdir -p "$out"
rows=$out/rows.jsonl
: >"$rows"

if [ -z "${PROGRAM:-}" ]; then
    case $device in
        cpu) cargo build --release --locked --package xtask && PROGRAM=target/release/xtask ;;
        *) PROGRAM=$(cargo "xtask-$device" --build) ;;
    esac
fi
"$PROGRAM" devices | tee "$out/devices.txt"

if [ "$device" != cpu ]; then
    "$PROGRAM" devices --check --device "$device" --encoder resnet50 --size 64 --batch 8 | tee "$out/check.txt"
    DEVICE=$device python3 tests/gpu/parity.py "$PROGRAM" | tee "$out/parity.txt"
fi

# measure NAME ENCODER STEM WIDTH SIZE BATCH
measure() {
    local shape=(--stem "$3" --size "$5" --batch "$6" --width "$4" --steps "$steps") precision ours theirs
    for precision in f32 tf32 bf16; do
        ours='{}' theirs='{}'
        # TF32 is PyTorch's to choose; Burn's compiler uses it in f32 where it is faster.
        if [ "$precision" != tf32 ]; then
            ours=$("$PROGRAM" bench train --json --device "$device" --encoder "$2" "${shape[@]}" \
                --precision "$precision" 2>"$out/error.txt" || jq -Rs '{error: .}' <"$out/error.txt")
        fi
        if [ -n "$python" ]; then
            local low=()
            [ "$precision" = f32 ] || low=("--$precision")
            theirs=$("$python" tests/interop/step.py --device "$device" --encoder "$2" "${shape[@]}" "${low[@]}" \
                2>"$out/error.txt" || jq -Rs '{error: .}' <"$out/error.txt")
        fi
        jq -cn --arg name "$1" --arg precision "$precision" --argjson batch "$6" --argjson ours "$ours" \
            --argjson theirs "$theirs" '{name: $name, precision: $precision, batch: $batch, ours: $ours, theirs: $theirs}' |
            tee -a "$rows"
    done
}

if [ -n "${DRY:-}" ]; then
    steps=1
    measure "ResNet-18, width 8, 16 pixels" resnet18 small 8 16 8
else
    steps=20
    for batch in 64 256 1024; do
        measure "ResNet-18, 32 pixels" resnet18 small 64 32 "$batch"
    done
    for batch in 32 64 128; do
        measure "ResNet-50, 224 pixels" resnet50 imagenet 64 224 "$batch"
    done
fi

{
    echo "| Network | Batch | Precision | Pictures/s | PyTorch | Ratio |"
    echo "| --- | ---: | --- | ---: | ---: | ---: |"
    jq -r '
        def rate(x): x.images_per_second // null;
        def shown(x): if x == null then "" else (x * 10 | round / 10 | tostring) end;
        "| \(.name) | \(.batch) | \(.precision) | \(shown(rate(.ours))) | \(shown(rate(.theirs))) | \(
            if rate(.ours) != null and rate(.theirs) != null
            then (rate(.ours) / rate(.theirs) * 100 | round / 100 | tostring) else "" end) |"' "$rows"
} | tee "$out/table.md"
