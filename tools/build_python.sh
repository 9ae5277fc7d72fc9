#!/usr/bin/env bash
# Prints the path of a Python that has the build tools: $PYTHON or that of .venv if it has them, else
# one that is made for this, in .cache/build-wasm.
set -euo pipefail
cd "$(dirname "$0")/.."

TOOLS=.cache/build-wasm

main() {
  local python
  for python in "${PYTHON:-}" .venv/bin/python; do
    if [ -n "$python" ] && "$python" -c 'import build, hatchling, ziglang' 2>/dev/null; then
      echo "$python"
      return
    fi
  done
  if [ ! -e "$TOOLS/complete" ]; then
    make_environment >&2
  fi
  echo "$TOOLS/bin/python"
}

make_environment() {
  echo "downloading the compiler and the build tools to $TOOLS (about 110 MB, once)"
  "${PYTHON:-$(tools/setup_system.sh python)}" -m venv --clear "$TOOLS"
  "$TOOLS/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    $(grep -oE '"(build|hatchling|ziglang)==[^"]+"' pyproject.toml | tr -d '"')
  # of ziglang only what compiles C to WebAssembly stays: libraries of other systems are half of it
  rm -rf "$TOOLS"/lib/python3*/site-packages/ziglang/lib/{libc,libcxx*,libtsan,libunwind,compiler,std/*/,include/arm_*}
  "$TOOLS/bin/python" -m pip uninstall --quiet --yes setuptools 2>/dev/null
  touch "$TOOLS/complete"
}

main
