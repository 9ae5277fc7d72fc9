#!/usr/bin/env bash
# What this project needs of the system itself.
#
#   tools/setup_system.sh demo       Python 3.11 with venv, Node 20 with npm
#   tools/setup_system.sh build      the same, and a C compiler
#   tools/setup_system.sh chromium   Chromium; CHROMIUM=/path/to/it chooses one
#   tools/setup_system.sh firefox    Firefox; FIREFOX=/path/to/it chooses one
#   tools/setup_system.sh python     prints the path of a Python that serves
#
# Root on Debian gets what is missing from Debian's packages; others are told so in one line.
set -euo pipefail

main() {
  case "${1:-}" in
    demo) demo_tools ;;
    build) demo_tools; compiler ;;
    chromium) chromium ;;
    firefox) firefox ;;
    python) find_python ;;
    *) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
}

demo_tools() {
  local python
  python=$(find_python)
  if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    case $(readlink -f "$python") in
      /usr/bin/*) debian_packages "Python's venv module" python3-venv ;;
      *) missing "the venv module of $python" ;;
    esac
  fi
  node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null ||
    missing "Node.js 20 or newer, with npm$(node -p '` (here: ${process.version})`' 2>/dev/null)"
  command -v npm >/dev/null || missing "npm, which comes with Node.js"
}

compiler() {
  compiles || debian_packages "a C compiler with its headers" gcc libc6-dev
}

find_python() {
  local name
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  missing "Python 3.11 or newer"
}

compiles() {
  local compiler
  for compiler in ${CC:-} gcc cc clang; do
    if command -v "$compiler" >/dev/null; then
      echo '#include <pthread.h>' | "$compiler" -x c -fsyntax-only - 2>/dev/null
      return
    fi
  done
  return 1
}

chromium() {
  local name
  for name in "${CHROMIUM:-}" chromium; do
    # -P: the program, not this function
    if [ -n "$name" ] && type -P "$name" >/dev/null; then return; fi
  done
  debian_packages "Chromium (or its path in CHROMIUM)" chromium fonts-dejavu-core
}

firefox() {
  local name
  for name in "${FIREFOX:-}" firefox-esr firefox; do
    if [ -n "$name" ] && type -P "$name" >/dev/null; then return; fi
  done
  debian_packages "Firefox (or its path in FIREFOX)" firefox-esr
}

# debian_packages WHAT PACKAGE...
debian_packages() {
  local what=$1 log
  shift
  if ! command -v apt-get >/dev/null; then missing "$what"; fi
  if [ "$(id -u)" != 0 ]; then missing "$what; as root: apt-get install $*"; fi
  echo "installing $*" >&2
  if ! log=$(apt-get update -qq 2>&1 &&
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" 2>&1); then
    echo "$log" >&2
    missing "$what; apt-get could not install $*"
  fi
}

missing() {
  echo "missing: $1" >&2
  exit 1
}

main "$@"
