import json

import pytest

from vmrtool.errors import UsageError
from vmrtool.grounding.config import GroundingConfig, divisor_heads


def test_defaults_are_the_papers() -> None:
    config = GroundingConfig(video_dim=1024, vocabulary_size=1000)
    assert (config.dim, config.word_dim) == (512, 300)
    assert (config.max_words, config.max_snippets) == (25, 128)
    assert config.variant == "ci-mha" and config.reading == "aligned"


@pytest.mark.parametrize(("width", "heads"), [(512, 8), (1024, 8), (500, 5), (128, 8), (13, 1)])
def test_heads_divide_the_width(width: int, heads: int) -> None:
    assert divisor_heads(width) == heads


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"variant": "mha+"}, "variant is 'mha\\+'; it can be ci-mha, ci-mha-no-ms, mha, mha-ms"),
        ({"reading": "mean"}, "it can be aligned, broadcast, skip"),
        ({"initial_states": "ones"}, "it can be zero, random"),
        ({"dim": 15}, "must be even"),
        ({"dim": 0}, "at least 1"),
        ({"vocabulary_size": 1}, "at least 2"),
        ({"dropout": 1.0}, r"in \[0, 1\)"),
        ({"query_encoder": "bert"}, "it can be words, glove"),
        ({"word_scale": 0.0}, "above 0"),
        ({"word_width": 0}, "at least 1"),
        ({"attention_gain": 0.0}, "attention_gain is 0.0; it must be above 0"),
        ({"heads": 7}, "heads is 7, which does not divide the width 512"),
        ({"video_heads": 8}, "video_heads is 8, which does not divide the width 500"),
    ],
)
def test_bad_settings_are_named(setting: dict, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        GroundingConfig(**({"video_dim": 500, "vocabulary_size": 10} | setting))


def test_video_heads_count_on_the_width_attended_at() -> None:
    config = GroundingConfig(video_dim=500, vocabulary_size=9, video_width=64, video_heads=8)
    assert config.attended_width == 64


def test_json_round_trip() -> None:
    config = GroundingConfig(video_dim=500, vocabulary_size=10, variant="mha", dropout=0.3)
    assert GroundingConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    with pytest.raises(UsageError, match="unknown network setting: layers"):
        GroundingConfig.from_json(config.to_json() | {"layers": 2})
    with pytest.raises(UsageError, match="video_dim"):
        GroundingConfig.from_json({"vocabulary_size": 3})
