#!/usr/bin/env bash
# Installs Debian's Chromium if there is none; CHROMIUM=/path/to/it chooses another one.
set -euo pipefail

for name in "${CHROMIUM:-}" chromium; do
  if [ -n "$name" ] && command -v "$name" >/dev/null; then exit 0; fi
done
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
  echo "missing: Chromium; install it (Debian, as root: apt-get install chromium) or set CHROMIUM" >&2
  exit 1
fi
echo "installing Chromium" >&2
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null
