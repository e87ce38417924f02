"""Training batches: windows of videos with queries, labels, mismatched pairs and stretches."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vmrtool.datasets.contrast import StretchLabels
from vmrtool.datasets.crops import (
    Augmentation,
    Example,
    choose_window,
    spans_within,
    vary_features,
)
from vmrtool.datasets.dataset import Dataset
from vmrtool.datasets.labels import snippet_spans
from vmrtool.datasets.relations import Relations, has_condition
from vmrtool.datasets.samples import clip_windows
from vmrtool.grounding.losses import Targets
from vmrtool.grounding.queries import Words, pad_words

_POOL = 16  # batches whose examples are sorted by length together


@dataclass(frozen=True)
class Batch:
    """B pairs of a window and a query. The first `n_matched` belong together, the rest do not.

    Attributes:
        index: number of the batch in its epoch.
        n_matched: how many pairs are matched; the others have no moment in their targets.
        features: (B, N, dim) float32, zero where padded.
        video_mask: (B, N) bool, True = real snippet.
        words: (B, L) int64 or (B, L, W) float32, 0 where padded.
        word_mask: (B, L) bool, True = real word.
        targets: the true moments of each window in snippets.
        stretches: (B, P, 2) int64, first and last snippet of the stretches that are pooled.
        stretch_mask: (B, P) bool, True = real stretch.
        positive: (n_matched, B, P) bool, the stretches that show the query's moment.
        ignore: (n_matched, B, P) bool, stretches that are neither right nor wrong for it.
        qids: the queries' ids, for messages.
    """

    index: int
    n_matched: int
    features: Tensor
    video_mask: Tensor
    words: Tensor
    word_mask: Tensor
    targets: Targets
    stretches: Tensor
    stretch_mask: Tensor
    positive: Tensor
    ignore: Tensor
    qids: tuple[int | str, ...]

    def to(self, device: torch.device) -> "Batch":
        """The batch on another device."""
        moved: dict[str, Any] = {
            name: value.to(device)
            for name, value in vars(self).items()
            if isinstance(value, Tensor | Targets)
        }
        return replace(self, **moved)


class BatchMaker:
    """Makes an epoch's batches; every choice follows from (seed, epoch, batch) alone.

    So a run resumed in the middle of an epoch sees what an unbroken one would have seen.
    """

    def __init__(
        self,
        dataset: Dataset,
        encode: Callable[[str], Words],
        stretches: Callable[[int], NDArray[np.int64]],
        *,
        batch_size: int,
        window_size: int,
        negative_share: float,
        negative_candidates: int,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        """Prepares labels and relations of the whole data set.

        Args:
            dataset: samples and videos.
            encode: sentence -> words as the network takes them, at least one.
            stretches: number of snippets -> (P, 2) the stretches to pool, first and last.
            batch_size: pairs a batch, mismatched ones included.
            window_size: most snippets the network takes.
            negative_share: share of each batch that is mismatched.
            negative_candidates: random videos among which a mismatched one is chosen, the one
                whose sentences are most like the query; 1 chooses at random.
            augmentation: how examples are varied.
            seed: decides everything random.
        """
        self._dataset = dataset
        self._relations = Relations(dataset)
        self._labels = StretchLabels(dataset, self._relations)
        known = {query: encode(query) for query in {s.query: None for s in dataset.samples}}
        self._words = [known[sample.query] for sample in dataset.samples]
        self._spans = [
            snippet_spans(cells, clip_windows(sample.windows, cells[-1, 1]) or sample.windows)
            for sample, cells in (
                (sample, dataset.video(i).cells) for i, sample in enumerate(dataset.samples)
            )
        ]
        self._stretches = stretches
        self._window_size = window_size
        self._augmentation = augmentation
        self._candidates = negative_candidates
        self._seed = seed
        self._matched = min(batch_size, max(1, round(batch_size * (1 - negative_share))))
        self._mismatched = batch_size - self._matched

    @property
    def n_batches(self) -> int:
        """Batches an epoch."""
        return -(-len(self._dataset) // self._matched)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from batch `start` on."""
        plan = self._plan(np.random.default_rng([self._seed, epoch]))
        for index in range(start, len(plan)):
            rng = np.random.default_rng([self._seed, epoch, index])
            yield self._collate(index, self._examples(plan[index], rng), rng)

    def _plan(self, rng: np.random.Generator) -> list[list[int]]:
        """Samples cut into batches of like length, in random order."""
        order = rng.permutation(len(self._dataset))
        lengths = np.array(
            [min(self._window_size, self._dataset.video(i).n_snippets) for i in order]
        )
        batches = []
        pool = self._matched * _POOL
        for low in range(0, len(order), pool):
            by_length = np.argsort(lengths[low : low + pool], kind="stable")
            chosen = order[low : low + pool][by_length]
            batches += [
                [int(i) for i in chosen[k : k + self._matched]]
                for k in range(0, len(chosen), self._matched)
            ]
        return [batches[k] for k in rng.permutation(len(batches))]

    def _examples(self, samples: list[int], rng: np.random.Generator) -> list[Example]:
        """The batch's matched pairs, then as many mismatched ones as its share asks for."""
        examples = []
        for i in samples:
            video = self._dataset.video_of[i]
            size = self._dataset.videos[video].n_snippets
            event = self._dataset.samples[i].event
            augmentation = self._augmentation
            if event is not None and has_condition(event):  # a crop might not show the condition
                augmentation = replace(augmentation, crop=0.0)
            window = choose_window(size, self._spans[i], self._window_size, augmentation, rng)
            examples.append(Example(i, video, *window, matched=True))
        count = round(self._mismatched * len(samples) / self._matched)
        for i in rng.choice(samples, size=count, replace=count > len(samples)):
            others = self._relations.mismatched_videos(self._dataset.samples[i])
            if len(others) == 0:  # it happens everywhere, or there is one video only
                continue
            candidates = rng.choice(others, size=min(self._candidates, len(others)), replace=False)
            alike = self._relations.likeness(self._dataset.samples[i], candidates)
            video = int(candidates[alike.argmax()])
            size = self._dataset.videos[video].n_snippets
            window = choose_window(size, [], self._window_size, self._augmentation, rng)
            examples.append(Example(int(i), video, *window, matched=False))
        return examples

    def _collate(self, index: int, examples: list[Example], rng: np.random.Generator) -> Batch:
        """Pads the examples into tensors."""
        dataset = self._dataset
        n_rows, longest = len(examples), max(example.n for example in examples)
        features = np.zeros((n_rows, longest, dataset.dim), dtype=np.float32)
        segment = np.zeros((n_rows, longest), dtype=np.float32)
        lengths = np.array([example.n for example in examples])
        rows = []
        for row, example in enumerate(examples):
            stop = example.first + example.n
            shown = dataset.videos[example.video].features[example.first : stop]
            varied = vary_features(shown.astype(np.float32), self._augmentation, rng)
            features[row, : example.n] = varied
            spans: list[tuple[int, int]] = []
            if example.matched:
                spans, inside = spans_within(self._spans[example.sample], example.first, example.n)
                segment[row, : example.n] = inside
            rows.append(spans)
        words = [self._words[example.sample] for example in examples]
        padded_words, word_mask = pad_words(words)
        padded_spans, span_mask = _pad_pairs([np.array(s).reshape(-1, 2) for s in rows])
        stretches, stretch_mask = _pad_pairs([self._stretches(example.n) for example in examples])
        matched = [example for example in examples if example.matched]
        positive, ignore = self._labels.label(matched, examples, stretches, stretch_mask)
        return Batch(
            index=index,
            n_matched=len(matched),
            features=torch.from_numpy(features),
            video_mask=torch.from_numpy(np.arange(longest)[None, :] < lengths[:, None]),
            words=padded_words,
            word_mask=word_mask,
            targets=Targets(*map(torch.from_numpy, (padded_spans, span_mask, segment))),
            stretches=torch.from_numpy(stretches),
            stretch_mask=torch.from_numpy(stretch_mask),
            positive=torch.from_numpy(positive),
            ignore=torch.from_numpy(ignore),
            qids=tuple(dataset.samples[example.sample].qid for example in examples),
        )


def _pad_pairs(rows: list[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(B, M, 2) pairs and their (B, M) mask; M is at least 1."""
    most = max(1, *(len(row) for row in rows))
    padded = np.zeros((len(rows), most, 2), dtype=np.int64)
    mask = np.zeros((len(rows), most), dtype=bool)
    for k, row in enumerate(rows):
        padded[k, : len(row)] = row
        mask[k, : len(row)] = True
    return padded, mask
