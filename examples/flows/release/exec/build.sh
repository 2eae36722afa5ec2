#!/bin/sh
# Packs the sources, and notes down what has changed since the tag before: build.sh TAG
set -eu
cd "$FLOWD_ROUND_DIR/source"
before=$(git describe --tags --abbrev=0 "$1^" 2>/dev/null) && range="$before..$1" || range="$1"
{ printf '# %s\n\n' "$1"; git log --format='- %s' "$range"; } >"$FLOWD_ROUND_DIR/NOTES.md"
git archive --prefix="$1/" --output="$FLOWD_ROUND_DIR/$1.tar.gz" "$1"
echo 'FLOW_RESULT {"status": "changed", "message": "packed"}'
