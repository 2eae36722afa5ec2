#!/bin/sh
# The context comes as JSON on stdin, indented by two spaces, so that sh can pick single members out of it: those of the
# event's payload are eight spaces deep. Only harmless characters are let through, so they may go into JSON as they are.
set -eu
context=$(cat)

member() {
  printf '%s\n' "$context" | sed -n 's/^        "'"$1"'": "\([A-Za-z0-9._+/@:-]*\)",\{0,1\}$/\1/p' | sed 1q
}

repo=$(member repo)
tag=$(member tag)
echo "event $CODEX_FLOW_EVENT_ID, run $CODEX_FLOW_RUN_ID, attempt $FLOWD_ATTEMPT"
if [ -z "$repo" ] || [ -z "$tag" ]; then
  echo 'FLOW_RESULT {"status":"needs_intervention","message":"The event names no repo or no tag."}'
  exit 0
fi
echo "$repo released $tag"
echo "FLOW_RESULT {\"status\":\"completed\",\"message\":\"$repo released $tag.\"}"
