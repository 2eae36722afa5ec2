#!/bin/sh
# Asks whether to publish, or does it: publish.sh --ask|--publish REPO TAG
set -eu
notes="$FLOWD_ROUND_DIR/NOTES.md"
if [ "$1" = --ask ]; then
  cat "$notes"
  echo "FLOW_RESULT {\"status\": \"needs_intervention\", \"message\": \"Publish $3? Read $notes\"}"
  exit
fi
# Both go again without harm, for a step may be stopped at any moment.
git -C "$2" notes --ref=releases add --force --file="$notes" "$3^{commit}"
git -C "$2" push --quiet origin "refs/tags/$3" +refs/notes/releases
git -C "$2" worktree remove --force "$FLOWD_ROUND_DIR/source" || true
echo "FLOW_RESULT {\"status\": \"changed\", \"message\": \"$3 is published\"}"
