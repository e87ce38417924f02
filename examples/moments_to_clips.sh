#!/bin/sh
# Cut the best moments of many queries out of their videos, and list what was cut.
#
#     sh examples/moments_to_clips.sh QUERIES.txt OUT
#
# QUERIES.txt has a sentence a line. OUT gets a clip and a picture of each moment, the answers, and
# list.tsv: query, score, clip, and where in which video it is from. Needs jq.
set -eu
queries=$1 out=$2

mkdir -p "$out"
# Exit code 1: a video could not be read, and is listed; the other clips are there.
vmrtool search --queries "$queries" --top 3 --clips "$out" --pad 1 --thumbnails "$out" \
    > "$out/answers.jsonl" || [ $? -eq 1 ]
jq -r '[.query, .score, .clip, .start, .end, .video] | @tsv' "$out"/*.json > "$out/list.tsv"
cat "$out/list.tsv"
