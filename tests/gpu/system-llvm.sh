#!/usr/bin/env bash
# Lets Burn's `cuda` feature build where its LLVM bundle cannot be downloaded: the distribution's LLVM 22 takes its
# place (Debian 12). With kernels by NVRTC, which this project's feature `cuda` chooses, it compiles none of them.
#
# Run: bash tests/gpu/system-llvm.sh        (as root)
set -euo pipefail
apt-get update -qq
apt-get install -y -qq llvm-22-dev libpolly-22-dev zlib1g-dev libzstd-dev libxml2-dev libz3-dev g++
data=${XDG_DATA_HOME:-$HOME/.local/share}
at=$data/tracel/tracel-llvm-23.1.0-4 # the version that tracel-llvm-bundler in Cargo.lock names
mkdir -p "$at"
for part in bin include lib; do ln -sfn "/usr/lib/llvm-22/$part" "$at/$part"; done
touch "$at/.tracel-llvm-installed"
# llvm-config prints libz3 as a path, which the bundler turns into -llibz3.
ln -sf "$(ls /usr/lib/*-linux-gnu/libz3.so | head -1)" /usr/lib/llvm-22/lib/liblibz3.so
"$at/bin/llvm-config" --version
