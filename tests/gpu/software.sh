#!/usr/bin/env bash
# The checks on a GPU, without one: Mesa's software Vulkan takes its place. Debian; as root, or with packages
# installed. A job of its own, since what wgpu needs takes a quarter of an hour to build on two cores.
#
# Run: bash tests/gpu/software.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

need=()
[ -e /usr/include/vulkan/vk_layer.h ] || need+=(libvulkan-dev gcc libc6-dev)
[ -e /usr/share/vulkan/icd.d/lvp_icd.x86_64.json ] || need+=(mesa-vulkan-drivers libvulkan1)
if [ ${#need[@]} -gt 0 ]; then
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${need[@]}"
fi

# Another software Vulkan, of which some versions give wrong gradients without an error; Debian has it in chromium-common.
swiftshader=${SWIFTSHADER:-target/swiftshader}
if [ ! -e "$swiftshader/usr/lib/chromium/libvk_swiftshader.so" ]; then
    mkdir -p "$swiftshader"
    (cd "$swiftshader" && apt-get download -qq chromium-common && dpkg-deb -x chromium-common_*.deb . && rm chromium-common_*.deb) ||
        echo "SwiftShader is not to be had here: that check is left out" >&2
fi

# A device that is broken on purpose.
broken=target/broken
mkdir -p "$broken"
cc -Wall -shared -fPIC -o "$broken/libbroken.so" tests/gpu/broken.c
cp tests/gpu/VK_LAYER_BYOL_broken.json "$broken"

program=$(cargo xtask-wgpu --build)
python3 tests/gpu/parity.py "$program" "$broken" "$swiftshader"
