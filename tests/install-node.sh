#!/bin/sh
# Installs what the widget is checked with (TypeScript, fast-check, axe-core) as tests/widget/package-lock.json says.
# Never fails: without npm its tests skip (or, with CI=true, fail) with a line of their own.
set -u
cd "$(dirname "$0")/widget" || exit 0

if [ package-lock.json -ot node_modules/.package-lock.json ] 2>/dev/null; then
    exit 0
fi
if ! command -v npm >/dev/null 2>&1; then
    echo "not installed: npm; the widget's types, rules and accessibility are not checked"
    exit 0
fi
echo "installing what the widget is checked with"
npm ci --silent --no-audit --no-fund || echo "npm could not install it; tests that need it are skipped"
exit 0
