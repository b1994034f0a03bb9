"""Goals in words: of a text and of where things are believed to be, which thing should lie where.

Words are vectors: the token embeddings of `wordllama`, whose weights lie in its wheel. Nothing is downloaded, and its code is not run.
"""

import math
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
from torch import Tensor, nn

from robo_dream.errors import DataError, MissingExtraError
from robo_dream.models.config import ModelSpec
from robo_dream.models.heads import OBJECT_POS, objects
from robo_dream.models.layers import mlp

NUM_TEXT = 256  # numbers of a token
MAX_TOKENS = 64  # of a text
_WEIGHTS, _TOKENIZER = "weights/l2_supercat_256.safetensors", "tokenizers/l2_supercat_tokenizer_config.json"
_TYPICAL = 12.0  # length of the vector of a word that says something
_SHARP, _NAMED = 20.0, 0.4  # of the cosine above which a token names a thing
_STD_MIN, _STD_MAX = -1.2, 1.0  # logarithms, in decimetres: narrower than 3 cm, the first to fit the height would be the only one to learn
_DECIMETRE = 0.1  # m
_TABLE = 0.33  # m, unit of where things are: a wide one, so that it changes little of what the text says


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


@dataclass(frozen=True)
class Placement:
    """Of each thing: whether it is to be moved, and where to, as a mixture of Gaussians in metres."""

    moved: Float[Tensor, "row thing"]  # logit
    logits: Float[Tensor, "row thing mode"]
    means: Float[Tensor, "row thing mode 3"]
    log_stds: Float[Tensor, "row thing mode 3"]  # in decimetres

    def likeliest(self, here: Float[Tensor, "row thing 3"], gap: Float[Tensor, ""]) -> Float[Tensor, "row thing 3"]:
        """The mean of the Gaussian with the highest peak, of what is to be moved; NaN for what stays.

        Things are `here`; what would lie less than `gap` from another one is moved out of it, as the mean of a ring is in its middle.
        """
        highest = (self.logits - self.log_stds.sum(-1)).argmax(-1)[..., None, None].expand(*self.logits.shape[:2], 1, 3)
        ends = self.means.gather(2, highest).squeeze(2)
        for other in range(here.shape[1]):
            apart = ends - here[:, other : other + 1]
            near = apart.norm(dim=-1, keepdim=True)
            is_in = (near < gap) & (torch.arange(here.shape[1], device=here.device) != other)[:, None]
            ends = torch.where(is_in, here[:, other : other + 1] + apart * gap / near.clamp(min=1e-4), ends)
        return torch.where(self.moved[..., None] > 0, ends, torch.nan)

    def loss(self, ends: Float[Tensor, "row thing 3"], is_moved: Bool[Tensor, "row thing"]) -> dict[str, Tensor]:
        """Nats: of what is moved, and of where that ends (mixture density network, Bishop 1994)."""
        stds = self.log_stds.exp()
        off = (ends[:, :, None] - self.means) / (_DECIMETRE * stds)
        each = -0.5 * off.square().sum(-1) - self.log_stds.sum(-1) - 1.5 * math.log(2 * math.pi)
        nats = -torch.logsumexp(self.logits.log_softmax(-1) + each, -1)
        moved = nn.functional.binary_cross_entropy_with_logits(self.moved, is_moved.to(self.moved))
        return {"moved": moved, "where": (nats * is_moved).sum() / is_moved.sum().clamp(min=1)}


class GoalWords(nn.Module):
    """A reader of instructions, the same for every thing.

    What it reads for a thing is the text with that thing's name replaced by "this" and the others' by "that" (as far as the words' vectors
    say so), so what a verb means for one thing it means for any: no pair of colour and verb need have been heard. Where a thing is to lie
    is told from where it is and from where what else is named is.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        assert spec.words is not None
        self.size, width, modes = spec.words, spec.words.width, spec.words.modes
        self.word = nn.Linear(NUM_TEXT, width, bias=False)
        self.this, self.that = (nn.Parameter(0.1 * torch.randn(width)) for _ in range(2))
        self.read = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.body = mlp(2 * width + 9, 2 * width, 1 + 7 * modes)
        last = self.body[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():  # Gaussians begin apart
            last.bias[1 + modes :].unflatten(0, (modes, 6))[:, :2].normal_()
        self.names: Tensor
        self.register_buffer("names", torch.zeros(len(self.size.things), NUM_TEXT))  # unit vectors of what tells each thing from the others
        self.strangest: Tensor
        self.register_buffer("strangest", torch.tensor(torch.inf))  # beyond which a word is not known: see `strangeness`
        self.gap: Tensor
        self.register_buffer("gap", torch.tensor(0.0))  # m, that things keep from each other
        self.middle: Tensor
        self.register_buffer("middle", objects(torch.tensor(spec.pose.mean))[..., OBJECT_POS].mean(0), persistent=False)

    def name_things(self, encoder: TextEncoder) -> None:
        """Sets by which words each thing is told: those of its name that are not the others'."""
        tokens = encoder.tokens(self.size.things)
        means = tokens.vectors.sum(1) / tokens.there.sum(1, keepdim=True)
        apart = means - means.mean(0) if len(means) > 1 else means
        self.names.copy_(nn.functional.normalize(apart, dim=-1))

    def named(self, tokens: Tokens) -> Float[Tensor, "row token thing"]:
        """From 0 to 1, how far each token names each thing."""
        cosines = nn.functional.normalize(tokens.vectors, dim=-1) @ self.names.T
        return torch.sigmoid(_SHARP * (cosines - _NAMED)) * tokens.there[..., None]

    def forward(self, tokens: Tokens, here: Float[Tensor, "row thing 3"]) -> Placement:
        named, (rows, things) = self.named(tokens), here.shape[:2]
        others = 1 - torch.eye(things, device=here.device)
        this = named.transpose(1, 2)  # (row, thing, token)
        that = (named[:, :, None] * others).amax(-1).transpose(1, 2)
        plain = (1 - this - that).clamp(min=0)[..., None] * (self.word(tokens.vectors / _TYPICAL))[:, None]
        read = plain + this[..., None] * self.this + that[..., None] * self.that
        lengths = tokens.there.sum(1).repeat_interleave(things).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(read.flatten(0, 1), lengths, batch_first=True, enforce_sorted=False)
        states, _ = nn.utils.rnn.pad_packed_sequence(self.read(packed)[0], batch_first=True, padding_value=-torch.inf)
        said = states.amax(1).unflatten(0, (rows, things))
        mentioned = named.amax(1)[:, None] * others + 1e-3 * others  # (row, thing, other)
        weights = mentioned / mentioned.sum(-1, keepdim=True).clamp(min=1e-6)
        there = weights @ here if things > 1 else here
        scene = torch.cat([here - self.middle, there - self.middle, here - there], -1) / _TABLE
        numbers = self.body(torch.cat([said, scene], -1))
        moved, logits, parts = numbers.split([1, self.size.modes, 6 * self.size.modes], -1)
        offset, log_stds = parts.unflatten(-1, (self.size.modes, 6)).split(3, -1)
        bases = torch.stack([here, there], 2)[:, :, torch.arange(self.size.modes) % 2]  # every second Gaussian is about what else is named
        return Placement(moved.squeeze(-1), logits, bases + _DECIMETRE * offset, log_stds.clamp(_STD_MIN, _STD_MAX))


def strangeness(encoder: TextEncoder, texts: Sequence[str], known: Sequence[str]) -> Float[Tensor, " text"]:
    """Of each text, how much its strangest word says that no `known` text says: length of its vector times 1 - the nearest cosine."""
    asked, heard = encoder.tokens(texts), encoder.tokens(known)
    vocabulary = nn.functional.normalize(torch.unique(heard.vectors[heard.there], dim=0), dim=-1)
    nearest = (nn.functional.normalize(asked.vectors, dim=-1) @ vocabulary.T).amax(-1)
    return (asked.vectors.norm(dim=-1) * (1 - nearest).clamp(min=0) * asked.there).amax(-1)


def nearest_texts(encoder: TextEncoder, text: str, known: Sequence[str], count: int) -> tuple[str, ...]:
    """The `known` ones most like `text`, the nearest first."""
    alike = encoder.whole(known) @ encoder.whole([text])[0]
    return tuple(known[int(number)] for number in alike.topk(min(count, len(known))).indices)
