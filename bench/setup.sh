#!/bin/sh
# Installs what the engine is measured against: llama.cpp (compiled for this machine's processor,
# some 7 minutes on two cores) and two versions of wllama. Does nothing that is already done.
set -eu
cd "$(dirname "$0")/.."
: "${PYTHON:=python3}"
home=build/bench
llama_cpp_python=0.3.36

mkdir -p "$home/npm" "$home/models"
[ -x "$home/venv/bin/python" ] || "$PYTHON" -m venv "$home/venv"
installed=$("$home/venv/bin/python" -c \
    'import importlib.metadata as m; print(m.version("llama-cpp-python"))' 2>/dev/null || true)
if [ "$installed" != "$llama_cpp_python" ]; then
    : "${CMAKE_ARGS:=-DGGML_NATIVE=ON -DCMAKE_CXX_FLAGS='-include $PWD/bench/ldtilecfg.h'}"
    # no cached wheel: it may have been compiled with other options
    CMAKE_ARGS=$CMAKE_ARGS nice -n 19 "$home/venv/bin/pip" install --no-cache-dir \
        --no-binary llama-cpp-python "llama-cpp-python==$llama_cpp_python"
fi

missing=
for version in 2.2.1 3.8.1; do
    [ -f "$home/npm/node_modules/wllama-$version/package.json" ] || missing=yes
done
if [ -n "$missing" ]; then
    npm install --prefix "$home/npm" --no-audit --no-fund --ignore-scripts \
        wllama-2.2.1@npm:@wllama/wllama@2.2.1 wllama-3.8.1@npm:@wllama/wllama@3.8.1
fi
