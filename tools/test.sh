#!/usr/bin/env bash
# All tests: first those with and without a browser side by side, for a browser waits more than it
# works, and the others take the time that it leaves; then those that measure something.
#
#     tools/test.sh [PYTHON]
set -uo pipefail
cd "$(dirname "$0")/.."
python=${1:-.venv/bin/python}
report=$(mktemp)
status=0

# bash has what runs in the background ignore Ctrl-C, and so would the programs that tests interrupt
nice -n 10 env --default-signal=INT "$python" -m pytest -q -p no:cacheprovider \
	-m 'not (browser or alone)' >"$report" 2>&1 &
others=$!
trap 'kill "$others" 2>/dev/null; rm -f "$report"' EXIT
"$python" -m pytest -q -m 'browser and not alone' || status=$?
wait "$others" || status=$?
cat "$report"
"$python" -m pytest -q -m alone || status=$?
exit "$status"
