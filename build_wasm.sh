#!/usr/bin/env bash
# Builds what a browser needs:
#
#   dist/oxillama_web-<version>-py3-none-pyodide_2024_0_wasm32.pyemscripten_2026_0_wasm32.whl
#   build/site/    a folder for any static server: page, worker, Python runtime and the wheel
#
#   ./build_wasm.sh                    kernels with the compiler in PyPI's ziglang; no emsdk needed
#   ./build_wasm.sh --pyodide-build    the Python part through `pyodide build`, where it is installed
#
# Needs Python 3.11 or newer, Node 20 or newer with npm, and on the first run a network.
# PYTHON=... chooses the interpreter.
set -euo pipefail
cd "$(dirname "$0")"

KERNELS=build/wasm-kernels
POOL_KERNELS=build/pool-kernels
BASE=build/base-wheel
TEMPLATE_WHEELS=build/template-wheels
REQUIREMENTS=tools/site-requirements.txt

main() {
  local backend=hatch
  case "${1:-}" in
    "") ;;
    --pyodide-build) backend=pyodide ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  local python
  python=$(tools/build_python.sh)

  say "compiling the kernels to WebAssembly"
  "$python" kernels_c/build.py wasm --out "$KERNELS"
  "$python" kernels_c/build.py pool --out "$POOL_KERNELS"
  say "making the Python wheel"
  rm -rf "$BASE"
  if [ "$backend" = pyodide ]; then
    pyodide_base_wheel
  else
    base_wheel "$python"
  fi
  local wheel
  wheel=$("$python" tools/make_wheel.py --kernels "$KERNELS" --out dist "$BASE"/*.whl)
  echo "$wheel"

  runtime
  template_wheels "$python"
  say "putting the page together in build/site"
  "$python" tools/make_site.py --wheel "$wheel" --wheels "$TEMPLATE_WHEELS" \
    --kernels "$POOL_KERNELS" --pyodide node_modules/pyodide --snapshots build/snapshots --out build/site
}

say() {
  echo "$1" >&2
}

usage() {
  sed -n '2,11s/^# \{0,1\}//p' "$0"
}

base_wheel() {
  local log
  if ! log=$(OXILLAMA_KERNELS_BUILD=skip "$1" -m build --wheel --no-isolation --outdir "$BASE" . 2>&1); then
    echo "$log" >&2
    exit 1
  fi
}

pyodide_base_wheel() {
  if ! command -v pyodide >/dev/null || ! pyodide config get pyodide_abi_version >/dev/null 2>&1; then
    echo "pyodide-build and its cross-build environment are not installed;" \
      "run ./build_wasm.sh without --pyodide-build to make the same wheel" >&2
    exit 1
  fi
  # ziglang compiles the kernels, so Emscripten need not be here; .pyodide_build is its scratch folder
  OXILLAMA_KERNELS_BUILD=skip SKIP_EMSCRIPTEN_VERSION_CHECK=1 pyodide build . --outdir "$BASE" >&2
  rm -rf .pyodide_build
}

runtime() {
  local wanted have
  wanted=$(node -p 'require("./package.json").dependencies.pyodide')
  have=$(node -p 'require("./node_modules/pyodide/package.json").version' 2>/dev/null || true)
  if [ "$have" != "$wanted" ] || [ ! -d node_modules/rolldown ]; then
    say "downloading Pyodide and the page's libraries (about 30 MB, once)"
    npm ci --omit=dev --no-fund --no-audit --no-update-notifier --loglevel=error >&2
  fi
}

# jinja2 and markupsafe; the compiler is switched off, so that markupsafe falls back to pure Python
template_wheels() {
  if cmp -s "$REQUIREMENTS" "$TEMPLATE_WHEELS/requirements.txt"; then
    return
  fi
  say "downloading jinja2 for the page"
  rm -rf "$TEMPLATE_WHEELS"
  CC=false "$1" -m pip wheel --quiet --no-deps --no-cache-dir --require-hashes \
    --no-binary markupsafe --requirement "$REQUIREMENTS" --wheel-dir "$TEMPLATE_WHEELS" >&2
  cp "$REQUIREMENTS" "$TEMPLATE_WHEELS/requirements.txt"
}

main "$@"
