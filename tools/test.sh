#!/usr/bin/env bash
# All tests, in two processes: a browser waits more than it works, and the tests without one take
# the time that it leaves. Their report comes second.
#
#     tools/test.sh [PYTHON]
set -uo pipefail
cd "$(dirname "$0")/.."
python=${1:-.venv/bin/python}
first='browser or timed'
report=$(mktemp)

nice -n 10 "$python" -m pytest -q -p no:cacheprovider -m "not ($first)" >"$report" 2>&1 &
others=$!
trap 'kill "$others" 2>/dev/null; rm -f "$report"' EXIT
"$python" -m pytest -q -m "$first"
status=$?
wait "$others" || status=$?
cat "$report"
exit "$status"
