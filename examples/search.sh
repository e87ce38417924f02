#!/bin/sh
# Index a folder, look for a sentence in it, and play what was found.
#
#     sh examples/search.sh VIDEOS "person opens a door" [MODEL]
#
# Needs jq; mpv, if it is there, plays the moments one after another.
set -eu
videos=$1 query=$2 model=${3:-}

# Exit code 1: some videos cannot be read, and are listed; the others can be searched.
vmrtool index "$videos" ${model:+--model "$model"} > /dev/null || [ $? -eq 1 ]

echo "score, start, end, video:"
vmrtool search "$query" | jq -r '.moments[] | [.score, .start, .end, .video] | @tsv'

echo "the videos they are in:"
vmrtool search "$query" --format paths -0 | xargs -0 ls -l

vmrtool search "$query" --output found.mpv
if command -v mpv > /dev/null; then
    mpv found.mpv
else
    echo "to see the moments: mpv found.mpv"
fi
