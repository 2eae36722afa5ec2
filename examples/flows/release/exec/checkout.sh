#!/bin/sh
# Checks a tag out beside the repository's own files: checkout.sh REPO TAG
set -eu
git -C "$1" worktree prune
git -C "$1" worktree add --force --detach "$FLOWD_ROUND_DIR/source" "refs/tags/$2"
echo "FLOW_RESULT {\"status\": \"changed\", \"message\": \"$(git -C "$1" rev-parse --short "$2^{commit}")\"}"
