"""The best methods known for the default weights, written down plainly with numpy: what the agents are compared to.

Its own chunks (sentences of a paragraph up to 200 tokens), its own BM25, float32 vectors, and weights that were chosen
for each data set by itself, which the shipped configuration is not allowed: relative-score fusion of cosine and BM25,
reordered by MaxSim over token vectors (Khattab and Zaharia, "ColBERT", 2020), and a reader that adds 0.7 of a
sentence's cosine to 0.3 of its chunk's fused score.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper
from safetensors.numpy import load_file

from bench.datasets import Document
from bench.quality.measures import Passage
from inference.minilm.artefact import open_session, open_tokenizer, package_folder
from inference.minilm.graph import BertConfig, build
from inference.model_repository.batching import cut_batches

MAX_TOKENS = 200
MAXSIM_WEIGHT = 0.5
MAXSIM_DEPTH = 50
K1, B = 1.2, 0.75
_SENTENCE = re.compile(r"\S.*?(?:[.!?][\"')\]]*(?=\s)|$)", re.MULTILINE | re.DOTALL)
_WORD = re.compile(r"\w+")
_SPECIAL = 2  # tokens that mark the ends of a text
Floats = npt.NDArray[np.float32]


class Encoder:
    """MiniLM in float32: vectors of texts, and of their tokens."""

    def __init__(self) -> None:
        folder = package_folder()
        config = msgspec.json.decode((folder / "config.json").read_bytes(), type=BertConfig)
        model = build(load_file(folder / "model.safetensors"), config)
        self._tokens = f"layer.{config.num_hidden_layers - 1}.out"
        shape: list[str | int | None] = ["batch", "tokens", config.hidden_size]
        model.graph.output.append(helper.make_tensor_value_info(self._tokens, TensorProto.FLOAT, shape))
        self._session = open_session(model.SerializeToString())
        self._tokenizer = open_tokenizer(folder / "tokenizer.json", truncate=True)

    def n_tokens(self, text: str) -> int:
        """Tokens of a text, without the two that mark its ends."""
        return len(self._tokenizer.encode(text).ids) - _SPECIAL

    def encode(self, texts: Sequence[str]) -> tuple[Floats, list[npt.NDArray[np.float16]]]:
        """Vectors of shape (n, dim), and of each text's tokens, shape (n_tokens, dim); all of L2 norm 1."""
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        vectors: list[Floats] = [np.empty(0, np.float32)] * len(ids)
        tokens: list[npt.NDArray[np.float16]] = [np.empty(0, np.float16)] * len(ids)
        for batch in cut_batches([len(row) for row in ids], 2_048):
            padded = np.zeros((len(batch), max(len(ids[i]) for i in batch)), np.int64)
            mask = np.zeros_like(padded)
            for row, i in enumerate(batch):
                padded[row, : len(ids[i])] = ids[i]
                mask[row, : len(ids[i])] = 1
            feeds = {"input_ids": padded, "attention_mask": mask}
            found, states = self._session.run(["embedding", self._tokens], feeds)
            for row, i in enumerate(batch):
                inner = states[row, 1 : len(ids[i]) - 1]
                norms = np.maximum(np.linalg.norm(inner, axis=1, keepdims=True), 1e-9)
                vectors[i], tokens[i] = found[row], (inner / norms).astype(np.float16)
        return np.stack(vectors), tokens


class Reference:
    """Chunks of a set of documents with all that is searched of them.

    Parameters
    ----------
    documents : sequence of Document
        The documents.
    encoder : Encoder
        The model.
    """

    def __init__(self, documents: Sequence[Document], encoder: Encoder) -> None:
        self.encoder = encoder
        self._sentences: list[list[Passage]] = []
        self.chunks: list[Passage] = []
        texts, spoken = [], []
        for document in documents:
            for sentences in _chunks(document, encoder):
                chunk = Passage(document.id, sentences[0].start, sentences[-1].end)
                self.chunks.append(chunk)
                self._sentences.append(sentences)
                texts.append(document.text[chunk.start : chunk.end])
                spoken.append([document.text[each.start : each.end] for each in sentences])
        self._vectors, tokens = encoder.encode(texts)
        self._tokens = np.concatenate(tokens).astype(np.float32)
        self._starts = np.cumsum([0, *(len(each) for each in tokens)])
        flat, _ = encoder.encode([text for each in spoken for text in each])
        self._spoken = np.split(flat, np.cumsum([len(each) for each in spoken])[:-1])
        self._words = [Counter(_WORD.findall(text.lower())) for text in texts]

    def within(self, documents: frozenset[str]) -> list[int]:
        """Numbers of the chunks of some documents."""
        return [i for i, chunk in enumerate(self.chunks) if chunk.document in documents]

    def ask(
        self,
        question: str,
        vector: Floats,
        tokens: npt.NDArray[np.float16],
        among: Sequence[int],
        dense_weight: float,
        *,
        maxsim: bool,
    ) -> tuple[list[Passage], list[Passage]]:
        """Chunks, best first, and the three best sentences of the first ten.

        Parameters
        ----------
        vector, tokens : numpy.ndarray
            The question as `Encoder.encode` gives it: shapes (dim,) and (n_tokens, dim).
        among : sequence of int
            Chunks to search.
        dense_weight : float
            Weight of the cosine in the fusion, 0..1.
        maxsim : bool
            Whether token vectors reorder the first fifty.
        """
        rows = np.array(among)
        dense = self._vectors[rows] @ vector
        lexical = bm25(_WORD.findall(question.lower()), [self._words[i] for i in among])
        fused = dense_weight * _relative(dense) + (1 - dense_weight) * _relative(lexical)
        best = np.argsort(-fused, kind="stable")
        if maxsim:
            top = best[:MAXSIM_DEPTH]
            late = np.array([self._maxsim(int(rows[i]), tokens) for i in top])
            mixed = (1 - MAXSIM_WEIGHT) * fused[top] + MAXSIM_WEIGHT * _relative(late)
            best = np.concatenate([top[np.argsort(-mixed, kind="stable")], best[MAXSIM_DEPTH:]])
        read = [
            (0.7 * float(cosine) + 0.3 * float(fused[i]), sentence)
            for i in best[:10]
            for cosine, sentence in zip(self._spoken[rows[i]] @ vector, self._sentences[rows[i]], strict=True)
        ]
        read.sort(key=lambda pair: -pair[0])
        return [self.chunks[rows[i]] for i in best], [sentence for _, sentence in read[:3]]

    def _maxsim(self, chunk: int, tokens: npt.NDArray[np.float16]) -> float:
        held = self._tokens[self._starts[chunk] : self._starts[chunk + 1]]
        return float((held @ tokens.astype(np.float32).T).max(axis=0).mean())


def bm25(words: Sequence[str], texts: Sequence[Mapping[str, int]]) -> npt.NDArray[np.float64]:
    """BM25 of each text with the statistics of these texts; shape (n_texts,)."""
    lengths = np.array([sum(text.values()) for text in texts], dtype=float)
    norm = K1 * (1 - B + B * lengths / lengths.mean())
    scores = np.zeros(len(texts))
    for word in dict.fromkeys(words):
        frequency = np.array([text.get(word, 0) for text in texts], dtype=float)
        n_holding = np.count_nonzero(frequency)
        idf = math.log(1 + (len(texts) - n_holding + 0.5) / (n_holding + 0.5))
        scores += idf * frequency * (K1 + 1) / (frequency + norm)
    return scores


def _chunks(document: Document, encoder: Encoder) -> list[list[Passage]]:
    """Sentences of each chunk: a paragraph, cut where it would pass the limit."""
    found: list[list[Passage]] = []
    at = 0
    for paragraph in document.text.split("\n\n"):
        size = 0
        for n, sentence in enumerate(_SENTENCE.finditer(paragraph)):
            n_tokens = encoder.n_tokens(sentence[0])
            if n == 0 or size + n_tokens > MAX_TOKENS:
                found.append([])
                size = 0
            found[-1].append(Passage(document.id, at + sentence.start(), at + sentence.end()))
            size += n_tokens
        at += len(paragraph) + 2
    return found


def _relative(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    spread = float(scores.max() - scores.min())
    return (scores - scores.min()).astype(np.float64) / spread if spread > 0 else np.ones(len(scores))
