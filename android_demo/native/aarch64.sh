#!/usr/bin/env bash
# aarch64.sh BUNDLE...: build the runner for 64-bit Arm Linux, and verify bundles with it under qemu.
#
# It shows that the outputs are right on that instruction set. Its times would mean nothing.
# Debian: apt install cmake g++-aarch64-linux-gnu qemu-user-static nlohmann-json3-dev; nothing else is installed.
set -euo pipefail

native=$(cd "$(dirname "$0")" && pwd)
build=$native/../../build/native-aarch64
mkdir -p "$build"
build=$(cd "$build" && pwd)

# ExecuTorch's libraries, from its own wheel.
if [ ! -d "$build/wheel" ]; then
    echo "executorch==1.5.1 --hash=sha256:8ee02348a3ea80ddf770822911ebf78da616b73afce0fbaaa79f23311c88c66a" \
        > "$build/requirements.txt"
    "${PYTHON:-python3}" -m pip install --quiet --no-deps --require-hashes --only-binary :all: \
        --platform manylinux_2_28_aarch64 --python-version 3.11 --implementation cp \
        --target "$build/wheel.part" -r "$build/requirements.txt"
    mv "$build/wheel.part" "$build/wheel"
fi

cmake -S "$native" -B "$build/runner" -DCMAKE_TOOLCHAIN_FILE="$native/cmake/aarch64-linux-gnu.cmake" \
    -DCMAKE_PREFIX_PATH="$build/wheel/executorch"
cmake --build "$build/runner" --parallel 2

for bundle in "$@"; do
    echo "$bundle"
    qemu-aarch64-static -L /usr/aarch64-linux-gnu "$build/runner/mnet-runner" verify "$bundle"
done
