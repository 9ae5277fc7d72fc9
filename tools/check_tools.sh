#!/usr/bin/env bash
# Says in one line what this machine lacks, or nothing. With --python, prints a Python that serves.
set -euo pipefail

find_python() {
  local name
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  missing "Python 3.11 or newer (Debian: apt-get install python3 python3-venv)"
}

missing() {
  echo "missing: $1" >&2
  exit 1
}

python=$(find_python)
if [ "${1:-}" = --python ]; then
  echo "$python"
  exit
fi
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
  missing "Python's venv module (Debian: apt-get install python3-venv)"
node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null ||
  missing "Node.js 20 or newer, with npm"
command -v npm >/dev/null || missing "npm, which comes with Node.js"
command -v gcc >/dev/null || command -v cc >/dev/null || command -v clang >/dev/null ||
  missing "a C compiler (Debian: apt-get install gcc libc6-dev)"
