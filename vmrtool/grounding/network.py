"""The CI-MHA network: a video and a sentence in, where the moment starts and ends out.

Names follow the paper's symbols. B batch, N snippets, L words, D = config.dim, Dv the features'
width. Masks are boolean, True = real, real positions first; every row has at least one. What lies
at padding never changes a result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vmrtool.grounding.attention import AttentionMap, MultiHeadAttention, masked_mean
from vmrtool.grounding.config import GroundingConfig, divisor_heads
from vmrtool.grounding.recurrent import BiLSTM
from vmrtool.grounding.retrieval import RetrievalHead, separate_seed
from vmrtool.text.vocabulary import Vocabulary

# Cosines of snippets hardly differ: one number among hundreds has to be loud to be heard.
_LIKENESS_SCALE = 10.0


@dataclass(frozen=True)
class EncodedVideo:
    """A video before it meets a query; it can be kept and met by many.

    v_hat (B, N, D) of eq. 5; content is what the retrieval head reads of it: v_hat without its
    positions (B, N, D), or the features where it does the matching; mask (B, N) bool; features
    (B, N, Dv) are what matching reads, None without it.
    """

    v_hat: Tensor
    content: Tensor
    mask: Tensor
    features: Tensor | None = None

    def select(self, rows: Tensor) -> "EncodedVideo":
        """The videos `rows` (R,) int64 names, in that order, repeats allowed."""
        features = None if self.features is None else self.features[rows]
        return EncodedVideo(self.v_hat[rows], self.content[rows], self.mask[rows], features)


@dataclass(frozen=True)
class EncodedQuery:
    """A query before it meets a video: q (B, L, D) of eq. 3, q_hat (B, L, D) of eq. 6.

    content is what the retrieval head reads of it: q_hat, or the word vectors where it does the
    matching; mask (B, L) bool; words (B, L, W) are what matching reads, None without it.
    """

    q: Tensor
    q_hat: Tensor
    content: Tensor
    mask: Tensor
    words: Tensor | None = None

    def select(self, rows: Tensor) -> "EncodedQuery":
        """The queries `rows` (R,) int64 names, in that order, repeats allowed."""
        words = None if self.words is None else self.words[rows]
        return EncodedQuery(
            self.q[rows], self.q_hat[rows], self.content[rows], self.mask[rows], words
        )

    def shortened(self, length: int) -> "EncodedQuery":
        """The first `length` words; those left out have to be padding."""
        words = None if self.words is None else self.words[:, :length]
        return EncodedQuery(
            self.q[:, :length],
            self.q_hat[:, :length],
            self.content[:, :length],
            self.mask[:, :length],
            words,
        )

    @classmethod
    def join(cls, parts: Sequence["EncodedQuery"]) -> "EncodedQuery":
        """The queries of several batches one after the other; all of them of one L."""
        words = [part.words for part in parts if part.words is not None]
        return cls(
            torch.cat([part.q for part in parts]),
            torch.cat([part.q_hat for part in parts]),
            torch.cat([part.content for part in parts]),
            torch.cat([part.mask for part in parts]),
            torch.cat(words) if words else None,
        )


@dataclass(frozen=True)
class PreparedQuery:
    """A query with what eq. 7 to 15 make of it before it meets any video; H heads.

    rows hold, in this order: two times (B, H, L, D) whose products with v_hat are the scores of
    eq. 7 and, with the constants (B, H, L) that come third, of eq. 8; then (B, H, L, D) whose mix
    is q_v, and for each MLP (B, H, L, D) whose mix is what its first layer makes of q_v. They are
    empty for "mha", which has no q_v.
    """

    query: EncodedQuery
    rows: tuple[Tensor, ...]

    @classmethod
    def join(cls, parts: Sequence["PreparedQuery"]) -> "PreparedQuery":
        """The queries of several batches one after the other; all of them of one L."""
        rows = zip(*(part.rows for part in parts), strict=True)
        return cls(EncodedQuery.join([part.query for part in parts]), tuple(map(torch.cat, rows)))


@dataclass(frozen=True)
class GroundingOutput:
    """What the network says of each snippet, before softmax and sigmoid.

    start_logits, end_logits (B, N) of eq. 12 and 13; segment_logits (B, N) of eq. 15, None where
    the variant has no moment segmentation; mask (B, N) bool. Logits at padding mean nothing.
    """

    start_logits: Tensor
    end_logits: Tensor
    segment_logits: Tensor | None
    mask: Tensor

    def log_probabilities(self) -> tuple[Tensor, Tensor]:
        """log P_start and log P_end, eq. 14: float32 (B, N) each, -inf at padding."""
        return _log_softmax(self.start_logits, self.mask), _log_softmax(self.end_logits, self.mask)

    def probabilities(self) -> tuple[Tensor, Tensor]:
        """P_start and P_end, eq. 14: float32 (B, N) each, 0 at padding, rows sum to 1."""
        log_start, log_end = self.log_probabilities()
        return log_start.exp(), log_end.exp()


class GroundingNetwork(nn.Module):
    """Eq. 1 to 16 of the paper, and a retrieval head beside them."""

    word_vectors: nn.Embedding | None
    feature_mean: Tensor
    feature_scale: Tensor

    def __init__(self, config: GroundingConfig, *, initial: bool = True) -> None:
        """Initial values follow torch's global seed; without `initial` they wait to be loaded."""
        super().__init__()
        self.config = config
        dim, width = config.dim, config.attended_width
        heads = config.heads or divisor_heads(dim)

        self.word_vectors = None
        if not config.text_model:
            self.word_vectors = nn.Embedding(
                config.vocabulary_size, config.word_dim, padding_idx=Vocabulary.pad
            )
            self.word_vectors.weight.requires_grad_(config.tune_words)
        self.word_projection = (
            nn.Linear(config.word_dim, config.word_width) if config.word_width else None
        )
        self.query_lstm = BiLSTM(config.word_width or config.word_dim, dim)
        self.query_attention = MultiHeadAttention(dim, heads)
        self.query_forward = _feed_forward(dim, dim, config.dropout)

        self.register_buffer("feature_mean", torch.zeros(config.video_dim))
        self.register_buffer("feature_scale", torch.ones(config.video_dim))
        self.video_projection = nn.Linear(config.video_dim, width) if config.video_width else None
        self.video_attention = MultiHeadAttention(width, config.video_heads or divisor_heads(width))
        self.video_forward = _feed_forward(width, dim, config.dropout)
        self.positions = nn.Embedding(config.max_snippets, dim)

        self.words_over_video = MultiHeadAttention(dim, heads)
        # "mha" drops q_v, but its reading may still need eq. 8's attention to align v_q in time.
        self.video_over_words: MultiHeadAttention | AttentionMap | None = None
        if config.interacts:
            self.video_over_words = MultiHeadAttention(dim, heads)
        elif config.reading != "broadcast":
            self.video_over_words = AttentionMap(dim, heads)

        fused = (2 * dim if config.interacts else dim) + config.match
        random_states = config.initial_states == "random"
        self.start_lstm = BiLSTM(fused, dim, random_states=random_states)
        self.end_lstm = BiLSTM(dim, dim, random_states=random_states)
        self.start_mlp = _mlp(dim + fused, dim, config.dropout)
        self.end_mlp = _mlp(dim + fused, dim, config.dropout)
        self.segment_mlp = _mlp(fused, dim, config.dropout) if config.segments else None
        if initial:  # orthogonal matrices are a third of a second that a search need not wait
            self.apply(_initialise)
            for attention in (self.words_over_video, self.video_over_words):
                if attention is not None:
                    attention.sharpen(config.attention_gain)
        # Small beside what the snippets show: with N(0, 1) attention first follows positions, and
        # training takes longer to look at the content.
        nn.init.normal_(self.positions.weight, std=0.1)

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(separate_seed())
            linear = config.retrieval_matches
            self.retrieval = RetrievalHead(
                config.video_dim if linear else dim,
                config.word_dim if linear else dim,
                config.retrieval_dim,
                linear=linear,
                detach=config.detach_retrieval,
            )
            self.matching = None
            if config.match_apart:
                self.matching = RetrievalHead(
                    config.video_dim,
                    config.word_dim,
                    config.retrieval_dim,
                    linear=True,
                    detach=False,
                )
            for head in self.heads if initial else ():
                head.apply(_initialise)

    @property
    def heads(self) -> list[RetrievalHead]:
        """The heads that learn by contrast: the retrieval head, and matching's where it has one."""
        return [self.retrieval] if self.matching is None else [self.retrieval, self.matching]

    def set_word_vectors(self, matrix: Tensor) -> None:
        """Start from given word vectors (V, word_dim), row by row of the vocabulary.

        They are scaled as a whole to the standard deviation word_scale. The default of 1 is that of
        learned ones at the start: from vectors a third of that, as GloVe's are, training is slower
        for long.

        Raises ValueError where the network reads a text model's states and has no word vectors.
        """
        if self.word_vectors is None:
            raise ValueError("this network has no word vectors")
        with torch.no_grad():
            spread = matrix[matrix.any(dim=1)].std().clamp(min=1e-6)
            scaled = matrix * (self.config.word_scale / spread)
            self.word_vectors.weight.copy_(scaled)
            self.word_vectors.weight[Vocabulary.pad] = 0.0

    def set_feature_statistics(self, mean: Tensor, scale: Tensor) -> None:
        """Have features centred by mean (Dv,) and divided by scale (Dv,), both kept as weights."""
        self.feature_mean.copy_(mean)
        self.feature_scale.copy_(scale.clamp(min=1e-6))

    def encode_video(self, features: Tensor, mask: Tensor) -> EncodedVideo:
        """Eq. 4 and 5. features (B, N, Dv), mask (B, N) bool.

        Raises ValueError if N is more than max_snippets; longer videos are cut into windows.
        """
        if features.shape[1] > self.config.max_snippets:
            raise ValueError(
                f"{features.shape[1]} snippets; the network takes at most "
                f"{self.config.max_snippets}"
            )
        v0 = (features.to(self.feature_mean.dtype) - self.feature_mean) / self.feature_scale
        given = v0 = self._input_dropout(v0).masked_fill(~mask[:, :, None], 0.0)
        if self.video_projection is not None:
            v0 = self.video_projection(v0)
        v = self._dropout(self.video_attention(v0, v0, mask)) + v0
        return self._encoded(self.video_forward(v), given if self.config.match else None, mask)

    def _encoded(self, plain: Tensor, features: Tensor | None, mask: Tensor) -> EncodedVideo:
        """The video whose v_hat without its positions is `plain`; `features` are for matching."""
        v_hat = plain + self.positions.weight[: plain.shape[1]]
        content = plain
        if features is not None and self.config.retrieval_matches:
            content = features
        return EncodedVideo(v_hat, content, mask, features)

    def keep(self, video: EncodedVideo) -> Tensor:
        """What has to be kept of a video to meet queries later: (B, N, K), for `kept`.

        K is D: v_hat without its positions. With `match` it is D + Dv, since the features are
        compared with words as well.
        """
        plain = video.content
        if self.config.retrieval_matches:
            plain = video.v_hat - self.positions.weight[: video.v_hat.shape[1]]
        return plain if video.features is None else torch.cat([plain, video.features], dim=-1)

    def kept(self, values: Tensor, mask: Tensor) -> EncodedVideo:
        """The video whose values (B, N, K) were kept; mask (B, N) bool."""
        dim = self.config.dim
        features = values[:, :, dim:] if self.config.match else None
        return self._encoded(values[:, :, :dim], features, mask)

    def encode_query(self, words: Tensor, mask: Tensor) -> EncodedQuery:
        """Eq. 2, 3 and 6. words (B, L) int64 of the vocabulary, or with a text model the states
        (B, L, W) of its tokens; mask (B, L) bool.
        """
        dropped = torch.zeros_like(mask)
        if self.training and self.config.word_dropout > 0:
            dropped = torch.rand(mask.shape, device=mask.device) < self.config.word_dropout
        if self.word_vectors is None:
            w0 = words.masked_fill(dropped[:, :, None], 0.0)
        else:
            w0 = self.word_vectors(words.masked_fill(dropped & mask, Vocabulary.unk))
        given = w0 = self._input_dropout(w0)
        if self.word_projection is not None:
            w0 = self.word_projection(w0)
        q0 = self.query_lstm(w0 * mask[:, :, None], mask)
        q = self._dropout(self.query_attention(q0, q0, mask)) + q0
        q_hat = self.query_forward(q)
        content = given if self.config.retrieval_matches else q_hat
        return EncodedQuery(q, q_hat, content, mask, given if self.config.match else None)

    def contrasted(
        self, video: EncodedVideo, query: EncodedQuery
    ) -> list[tuple[RetrievalHead, Tensor, Tensor]]:
        """The heads that learn by contrast: each with what it reads of snippets and of words."""
        heads = [(self.retrieval, video.content, query.content)]
        if self.matching is not None:
            assert video.features is not None and query.words is not None
            heads.append((self.matching, video.features, query.words))
        return heads

    def fuse(self, video: EncodedVideo, query: EncodedQuery) -> Tensor:
        """s of eq. 7 to 9 on the time axis: (B, N, 2 D), or (B, N, D) for "mha".

        With `match` one more: how like the query each snippet is, less the window's mean.

        v_q has one row a word. A (B, N, L), the head-averaged attention of eq. 8, brings it back
        to time; config.reading names the other ways.
        """
        v_q = self.words_over_video(query.q_hat, video.v_hat, video.mask)  # eq. 7: (B, L, D)
        over = self.video_over_words
        words = query.q if self.config.literal_eq8 else query.q_hat
        aligning = self.config.reading != "broadcast"
        q_v = alignment = None
        if isinstance(over, MultiHeadAttention):
            if aligning:
                q_v, alignment = over.with_map(video.v_hat, words, query.mask)  # eq. 8: (B, N, D)
            else:
                q_v = over(video.v_hat, words, query.mask)
        elif over is not None:
            alignment = over(video.v_hat, words, query.mask).mean(dim=1)
        if alignment is None:
            in_time = masked_mean(v_q, query.mask)[:, None].expand_as(video.v_hat)
        else:
            in_time = alignment @ v_q
        if self.config.reading == "skip":
            in_time = in_time + video.v_hat
        s = in_time if q_v is None else torch.cat([in_time, q_v], dim=-1)  # eq. 9
        s = self._dropout(s)
        if self.config.match:
            s = torch.cat([s, self._likeness(video, query)], dim=-1)
        return s * video.mask[:, :, None]

    def _likeness(self, video: EncodedVideo, query: EncodedQuery) -> Tensor:
        """How like the query each snippet is, (B, N, 1), 0 at padding."""
        head, snippets, said = self.contrasted(video, query)[-1]
        likeness = head.contrast(snippets, video.mask, said, query.mask)
        return _LIKENESS_SCALE * likeness[:, :, None]

    def predict(self, s: Tensor, mask: Tensor) -> GroundingOutput:
        """Eq. 10 to 13 and 15. s (B, N, S) as `fuse` makes it, 0 at padding; mask (B, N) bool."""
        h_start = self.start_lstm(s, mask)
        h_end = self.end_lstm(h_start, mask)
        return GroundingOutput(
            start_logits=self.start_mlp(torch.cat([h_start, s], dim=-1)).squeeze(-1),
            end_logits=self.end_mlp(torch.cat([h_end, s], dim=-1)).squeeze(-1),
            segment_logits=None if self.segment_mlp is None else self.segment_mlp(s).squeeze(-1),
            mask=mask,
        )

    def fuse_and_predict(self, video: EncodedVideo, query: EncodedQuery) -> GroundingOutput:
        """Pair b's video with pair b's query, eq. 7 to 15; both of batch size B."""
        return self.predict(self.fuse(video, query), video.mask)

    def prepare(self, query: EncodedQuery) -> PreparedQuery:
        """What `ground` needs of a query; it is worth keeping while videos are asked."""
        over = self.video_over_words
        if not isinstance(over, MultiHeadAttention):
            return PreparedQuery(query, ())
        words = query.q if self.config.literal_eq8 else query.q_hat
        values = over.value_rows(words)
        return PreparedQuery(
            query,
            (
                self.words_over_video.rows_of_target(query.q_hat),
                *over.rows_of_source(words),
                values,
                *(values @ self._first_weights(mlp)[2] for mlp in self._mlps),
            ),
        )

    def ground(self, video: EncodedVideo, prepared: PreparedQuery) -> GroundingOutput:
        """`fuse_and_predict` for a network that does not train: the same, but for rounding.

        s is a mix of few rows: v_q has one a word, q_v one a word and head. What the MLPs make of
        s is therefore the same mix of what they make of these rows, most of which do not depend on
        the video. Likewise v_hat meets keys and queries that were brought to its side beforehand.
        At D = 512, 48 snippets and 8 words 20 of 28 D^2 products a snippet are left.
        """
        if not prepared.rows:
            return self.fuse_and_predict(video, prepared.query)
        to_words, to_video, constants, q_v_rows, *mlp_rows = (
            rows.flatten(1, 2) for rows in prepared.rows
        )
        query, v_hat = prepared.query, video.v_hat
        heads = self.words_over_video.heads

        scores = (to_words @ v_hat.mT).masked_fill(~video.mask[:, None], float("-inf"))
        means = (scores.softmax(dim=-1) @ v_hat).unflatten(1, (heads, -1))
        v_q = self.words_over_video.of_means(means)  # eq. 7
        scores = (v_hat @ to_video.mT + constants[:, None]).unflatten(2, (heads, -1))
        attention = scores.masked_fill(~query.mask[:, None, None], float("-inf")).softmax(dim=-1)
        alignment, mix = attention.mean(dim=2), attention.flatten(2)
        if self.config.reading == "broadcast":
            alignment = (query.mask / query.mask.sum(1, keepdim=True))[:, None].expand_as(alignment)
        in_time = alignment @ v_q
        if self.config.reading == "skip":
            in_time = in_time + v_hat
        s = torch.cat([in_time, mix @ q_v_rows], dim=-1)  # eq. 9, q_v of eq. 8
        likeness = None
        if self.config.match:
            likeness = self._likeness(video, query)
            s = torch.cat([s, likeness], dim=-1)

        def logits(mlp: nn.Sequential, rows: Tensor, h: Tensor | None) -> Tensor:
            of_h, of_v_q, _, of_likeness = self._first_weights(mlp)
            hidden = mix @ rows + alignment @ (v_q @ of_v_q) + cast(nn.Linear, mlp[0]).bias
            if self.config.reading == "skip":
                hidden = hidden + v_hat @ of_v_q
            if likeness is not None:
                hidden = hidden + likeness * of_likeness
            if h is not None:
                hidden = hidden + h @ of_h
            return cast(Tensor, mlp[1:](hidden)).squeeze(-1)

        h_start = self.start_lstm(s, video.mask)
        h_end = self.end_lstm(h_start, video.mask)
        return GroundingOutput(
            start_logits=logits(self.start_mlp, mlp_rows[0], h_start),
            end_logits=logits(self.end_mlp, mlp_rows[1], h_end),
            segment_logits=(
                None if self.segment_mlp is None else logits(self.segment_mlp, mlp_rows[2], None)
            ),
            mask=video.mask,
        )

    @property
    def _mlps(self) -> list[nn.Sequential]:
        """The MLPs of eq. 12, 13 and, where the variant has it, 15."""
        mlps = [self.start_mlp, self.end_mlp, self.segment_mlp]
        return [mlp for mlp in mlps if mlp is not None]

    def _first_weights(self, mlp: nn.Sequential) -> tuple[Tensor, ...]:
        """What an MLP's first layer multiplies h with, then v_q, q_v and the likeness: (..., D).

        There are no rows for what an MLP does not read.
        """
        weight = cast(nn.Linear, mlp[0]).weight.t()
        fused = 2 * self.config.dim + self.config.match
        of_h, of_s = weight.split([len(weight) - fused, fused])
        return (of_h, *of_s.split([self.config.dim, self.config.dim, int(self.config.match)]))

    def forward(
        self, features: Tensor, mask: Tensor, words: Tensor, word_mask: Tensor
    ) -> GroundingOutput:
        """features (B, N, Dv), mask (B, N) bool, words (B, L, ...), word_mask (B, L) bool."""
        return self.fuse_and_predict(
            self.encode_video(features, mask), self.encode_query(words, word_mask)
        )

    def _dropout(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.config.dropout, self.training)

    def _input_dropout(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.config.input_dropout, self.training)


def _feed_forward(width_in: int, width_out: int, dropout: float) -> nn.Sequential:
    """FeedForward of eq. 5 and 6."""
    return nn.Sequential(
        nn.Linear(width_in, width_out),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(width_out, width_out),
    )


def _mlp(width_in: int, hidden: int, dropout: float) -> nn.Sequential:
    """MLP of eq. 12, 13 and 15: one logit a snippet."""
    return nn.Sequential(
        nn.Linear(width_in, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 1)
    )


def _initialise(module: nn.Module) -> None:
    """Xavier for what is multiplied with inputs, orthogonal for what LSTMs repeat, else 0.

    An LSTM's forget gate starts open (bias 1), so that a boundary is felt far from it.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LSTM):
        for name, weight in module.named_parameters():
            if name.startswith("weight_ih"):
                for gate in weight.chunk(4):
                    nn.init.xavier_uniform_(gate)
            elif name.startswith("weight_hh"):
                for gate in weight.chunk(4):
                    nn.init.orthogonal_(gate)
            else:
                nn.init.zeros_(weight)
        with torch.no_grad():
            cast(Tensor, module.bias_ih_l0).chunk(4)[1].fill_(1.0)


def _log_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    return logits.float().masked_fill(~mask, float("-inf")).log_softmax(dim=-1)
