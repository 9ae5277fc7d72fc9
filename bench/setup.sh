#!/bin/sh
# Installs what the engine is measured against: llama.cpp (compiled for this machine's processor,
# some 7 minutes on two cores) and two versions of wllama. Does nothing that is already done.
# `setup.sh --without-amx` also compiles llama.cpp without AMX, to compare AVX-512 with AVX-512.
set -eu
cd "$(dirname "$0")/.."
: "${PYTHON:=python3}"
home=build/bench
llama_cpp_python=0.3.36

# install_llama_cpp VENV C++-FLAGS
install_llama_cpp() {
    [ -x "$home/$1/bin/python" ] || "$PYTHON" -m venv "$home/$1"
    installed=$("$home/$1/bin/python" -c \
        'import importlib.metadata as m; print(m.version("llama-cpp-python"))' 2>/dev/null || true)
    [ "$installed" = "$llama_cpp_python" ] && return
    # no cached wheel: it may have been compiled with other options
    CMAKE_ARGS="-DGGML_NATIVE=ON -DCMAKE_C_FLAGS='$2' -DCMAKE_CXX_FLAGS='$2'" \
        nice -n 19 "$home/$1/bin/pip" install --no-cache-dir \
        --no-binary llama-cpp-python "llama-cpp-python==$llama_cpp_python"
}

mkdir -p "$home/npm"
install_llama_cpp venv "-include $PWD/bench/ldtilecfg.h"
if [ "${1:-}" = --without-amx ]; then
    install_llama_cpp venv-noamx "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
fi

missing=
for version in 2.2.1 3.13.0; do
    [ -f "$home/npm/node_modules/wllama-$version/package.json" ] || missing=yes
done
if [ -n "$missing" ]; then
    npm install --prefix "$home/npm" --no-audit --no-fund --ignore-scripts \
        wllama-2.2.1@npm:@wllama/wllama@2.2.1 wllama-3.13.0@npm:@wllama/wllama@3.13.0
fi
