#!/bin/sh
# A cancel or a timeout comes as SIGTERM, to this script and everything it started. Waiting for a background sleep, rather
# than for one in the foreground, lets the trap act at once.
trap 'echo "stopping: not all of the work is done"; exit 143' TERM
second=0
while [ "$second" -lt 60 ]; do
  echo "building: $second of 60"
  sleep 1 &
  wait "$!"
  second=$((second + 1))
done
echo 'FLOW_RESULT {"status":"completed","message":"Built."}'
