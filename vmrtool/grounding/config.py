"""The settings of a grounding network: everything its shape and its arithmetic depend on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from vmrtool.errors import UsageError

VARIANTS = ("ci-mha", "ci-mha-no-ms", "mha", "mha-ms")
READINGS = ("aligned", "broadcast", "skip")
QUERY_ENCODERS = ("words", "glove", "sentence-transformers")
DECODINGS = ("product", "expected")
INITIAL_STATES = ("zero", "random")
MOST_HEADS = 8


def divisor_heads(width: int) -> int:
    """The largest number of heads, at most 8, that divides `width`: 8 at 1024, 5 at 500."""
    return max(heads for heads in range(1, MOST_HEADS + 1) if width % heads == 0)


@dataclass(frozen=True)
class GroundingConfig:
    """Settings of the CI-MHA network. Defaults are the paper's where it prints a value.

    video_dim: width of the features; vocabulary_size: rows of the word vectors.
    dim: D; word_dim: width of the word vectors; max_words: most words a query keeps;
    max_snippets: most snippets a window may have (the number of position embeddings).
    heads: heads of every attention at width D; video_heads: of the video's self-attention;
    None picks the largest divisor of the width up to 8.
    video_width: None attends over the features at their own width, as printed; a number projects
    them to that width first (for wide features and few training pairs).
    variant: "ci-mha"; "ci-mha-no-ms" without moment segmentation; "mha" is s = v_q alone, without
    segmentation; "mha-ms" the same with it.
    reading: how v_q of eq. 7, one row a word, is brought to the time axis: "aligned" (A v_q),
    "broadcast" (its mean over words at every snippet), "skip" (A v_q + v_hat).
    attention_gain: factor on the initial weights that make queries and keys in eq. 7 and 8; scores
    grow by its square. At 1 attention starts out near its mean and takes epochs to leave it.
    literal_eq8: attend over q as eq. 8 prints, instead of q_hat.
    initial_states: first states of the start/end LSTMs, "zero" or "random".
    query_encoder: where word vectors come from: "words" are learned with the network, "glove" are
    given ones to start from, "sentence-transformers" are the token states of the frozen text_model
    (its name or folder), whose width word_dim then is.
    tune_words: whether word vectors are trained; word_scale: the standard deviation that given ones
    are brought to; word_width: None reads them at their own width, a number has a learned linear
    projection bring them to that width first.
    dropout: after each attention, inside each feed-forward layer and each MLP, and on s;
    input_dropout: on features and word vectors; word_dropout: share of words read as <unk> while
    training, so that <unk> is learned. The paper prints none of the three.
    match: snippets and words meet directly, before any attention: what a head made of two linear
    maps, of the features and of the word vectors, says of each snippet is joined to s. The
    retrieval head is this head, unless match_apart gives it one of its own over v_hat and q_hat.
    decoding: how spans are chosen, by the "product" P_start P_end, as printed, or by the "expected"
    fit; decoding_segment: weight of the segment logits inside a span, with "expected".
    retrieval_dim: width of the pooled vectors; detach_retrieval: the retrieval head learns from
    v_hat and q_hat without changing them.
    """

    video_dim: int
    vocabulary_size: int
    dim: int = 512
    word_dim: int = 300
    max_words: int = 25
    max_snippets: int = 128
    heads: int | None = None
    video_heads: int | None = None
    video_width: int | None = None
    variant: str = "ci-mha"
    reading: str = "aligned"
    attention_gain: float = 1.0
    literal_eq8: bool = False
    initial_states: str = "zero"
    query_encoder: str = "words"
    text_model: str | None = None
    tune_words: bool = True
    word_scale: float = 1.0
    word_width: int | None = None
    dropout: float = 0.1
    input_dropout: float = 0.0
    word_dropout: float = 0.0
    match: bool = False
    match_apart: bool = False
    decoding: str = "product"
    decoding_segment: float = 0.0
    retrieval_dim: int = 128
    detach_retrieval: bool = False

    def __post_init__(self) -> None:
        """Raise UsageError for a value that no network can be built with."""
        for name, allowed in (
            ("variant", VARIANTS),
            ("reading", READINGS),
            ("initial_states", INITIAL_STATES),
            ("query_encoder", QUERY_ENCODERS),
            ("decoding", DECODINGS),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise UsageError(f"{name} is {value!r}; it can be {', '.join(allowed)}")
        for name in ("video_dim", "dim", "word_dim", "max_words", "max_snippets", "retrieval_dim"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("video_width", "word_width"):
            width = getattr(self, name)
            if width is not None and width < 1:
                raise UsageError(f"{name} is {width}; leave it out, or take at least 1")
        if (self.query_encoder == "sentence-transformers") != bool(self.text_model):
            raise UsageError(
                f"query_encoder is {self.query_encoder!r}, and text_model is {self.text_model!r}",
                remedy="the two go together: --text-model NAME|DIR sets both",
            )
        if self.attention_gain <= 0:
            raise UsageError(f"attention_gain is {self.attention_gain}; it must be above 0")
        if self.decoding_segment < 0:
            raise UsageError(f"decoding_segment is {self.decoding_segment}; it must be 0 or more")
        if self.decoding_segment > 0 and self.decoding != "expected":
            raise UsageError(
                "decoding_segment counts with decoding 'expected' only",
                remedy="set network.decoding=expected, or leave network.decoding_segment out",
            )
        if self.match_apart and not self.match:
            raise UsageError(
                "match_apart is set without match",
                remedy="set network.match=true, or leave network.match_apart out",
            )
        if self.word_scale <= 0:
            raise UsageError(f"word_scale is {self.word_scale}; it must be above 0")
        if self.vocabulary_size < 2:
            raise UsageError("vocabulary_size counts <pad> and <unk>: it must be at least 2")
        if self.dim % 2:
            raise UsageError(f"dim is {self.dim}; it must be even (two LSTM directions share it)")
        for name in ("dropout", "input_dropout", "word_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be in [0, 1)")
        for name, width in (("heads", self.dim), ("video_heads", self.attended_width)):
            heads = getattr(self, name)
            if heads is not None and (heads < 1 or width % heads):
                raise UsageError(
                    f"{name} is {heads}, which does not divide the width {width}",
                    remedy=f"leave it out, or take {divisor_heads(width)}",
                )

    @property
    def attended_width(self) -> int:
        """Width of the video's self-attention, eq. 4."""
        return self.video_width or self.video_dim

    @property
    def kept_width(self) -> int:
        """Numbers a snippet that are kept of a video to meet queries later."""
        return self.dim + self.video_dim if self.match else self.dim

    @property
    def retrieval_matches(self) -> bool:
        """Whether the retrieval head is also the one that matches snippets and words."""
        return self.match and not self.match_apart

    @property
    def interacts(self) -> bool:
        """Whether both directions are joined (eq. 9), or s is v_q alone."""
        return self.variant.startswith("ci-mha")

    @property
    def segments(self) -> bool:
        """Whether the moment segmentation branch (eq. 15) exists."""
        return self.variant in ("ci-mha", "mha-ms")

    def to_json(self) -> dict[str, Any]:
        """Every setting by name, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "GroundingConfig":
        """The settings that `to_json` wrote.

        Raises UsageError for an unknown setting, a missing one without default or a bad value.
        """
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise UsageError(f"unknown network setting: {', '.join(unknown)}")
        try:
            return cls(**values)
        except TypeError as error:
            raise UsageError(f"network settings do not fit: {error}") from error
