"""Words as vectors: the token embeddings of `wordllama`, whose weights lie in its wheel. Nothing is downloaded, and its code is not run."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from safetensors.torch import load_file
from torch import Tensor

from robo_dream.errors import DataError, MissingExtraError

NUM_TEXT = 256  # numbers of a token
MAX_TOKENS = 64  # of a text
_WEIGHTS, _TOKENIZER = "weights/l2_supercat_256.safetensors", "tokenizers/l2_supercat_tokenizer_config.json"


@dataclass(frozen=True)
class Tokens:
    """Vectors of the tokens of several texts; the longer a vector, the more its word says. What is not `there` fills up."""

    vectors: Float[Tensor, "text token 256"]
    there: Bool[Tensor, "text token"]


@dataclass(frozen=True)
class TextEncoder:
    """Static embeddings (WordLlama, 2024): a token has the same vector in every text, so order is for the reader to heed."""

    table: Float[Tensor, "vocabulary 256"]
    tokenizer: Any

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """Of each text, in small letters and without punctuation. Raises `DataError` for one that is empty or too long."""
        rows = [self.tokenizer.encode(plain(text), add_special_tokens=False).ids for text in texts]
        for text, row in zip(texts, rows, strict=True):
            if not 0 < len(row) <= MAX_TOKENS:
                raise DataError(f"the text {text[:80]!r} has {len(row)} tokens; allowed are 1 to {MAX_TOKENS}: say it in a sentence")
        longest = max(map(len, rows), default=1)
        vectors, there = torch.zeros(len(rows), longest, NUM_TEXT), torch.zeros(len(rows), longest, dtype=torch.bool)
        for number, row in enumerate(rows):
            vectors[number, : len(row)], there[number, : len(row)] = self.table[row], True
        return Tokens(vectors, there)

    def whole(self, texts: Sequence[str]) -> Float[Tensor, "text 256"]:
        """One unit vector a text, the mean of its tokens: how texts are compared as wholes."""
        tokens = self.tokens(texts)
        return torch.nn.functional.normalize(tokens.vectors.sum(1), dim=-1)

    def words(self) -> tuple[str, ...]:
        """All whole words of at least three letters that are one token."""
        found = (token.removeprefix("▁") for token in self.tokenizer.get_vocab() if token.startswith("▁"))
        return tuple(sorted({word for word in found if re.fullmatch("[a-z]{3,}", word)}))


def plain(text: str) -> str:
    """`text` in small letters, words apart by one space, without punctuation."""
    return " ".join(re.sub(r"[^a-z0-9' ]", " ", text.lower().replace("-", " ")).split())


@lru_cache(maxsize=1)
def text_encoder() -> TextEncoder:
    """The encoder, read from the installed wheel. Raises `MissingExtraError` where that is not there.

    wordllama 0.4.0 looks for its tokenizer in another folder than the one it ships it in, and would then download it: so its files are
    read here.
    """
    found = find_spec("wordllama")
    try:
        from tokenizers import Tokenizer

        assert found is not None and found.submodule_search_locations, "there is no wordllama"
        folder = Path(found.submodule_search_locations[0])
        return TextEncoder(load_file(folder / _WEIGHTS)["embedding.weight"].float(), Tokenizer.from_file(str(folder / _TOKENIZER)))
    except (ImportError, AssertionError, FileNotFoundError) as error:
        raise MissingExtraError(
            f"goals in words need the word vectors of wordllama ({error}); run `pip install 'robo-dream[words]'`"
        ) from error
