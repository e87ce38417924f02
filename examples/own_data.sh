#!/bin/sh
# Train a grounding model on annotations of your own, and say what it has learned.
#
#     sh examples/own_data.sh TRAIN.jsonl TEST.jsonl VIDEOS OUT [OPTIONS OF vmrtool train]
#
# Features are those of the catalog in use, of a new one i3d's. Its blind twin, which never sees a
# video, is trained beside the model: what that reaches is no skill.
set -eu
train=$1 test=$2 videos=$3 out=$4
shift 4

catalog=${VMRTOOL_CATALOG:-vmrtool.db}

vmrtool data check "$train"
vmrtool index "$videos" --catalog "$catalog" > /dev/null || [ $? -eq 1 ]
vmrtool train --dataset "$train" --features "$catalog" --out "$out/model" "$@"
vmrtool train --dataset "$train" --features "$catalog" --out "$out/blind" --blind "$@"
vmrtool eval --dataset "$test" --features "$catalog" --train-dataset "$train" \
    --model "$out/model" --model "$out/blind" --cases 4 --out "$out/cases" --format table
echo "look at the answers: $out/cases/cases.html"
