# SPDX-License-Identifier: Apache-2.0
"""The image's section TOKENS, byte by byte, in the same header as the rest. The prose is in docs/image-format.md."""

from __future__ import annotations

import enum

from construct import Int32ul, Int64ul, Struct

TOKENS_VERSION = 1
MAX_TOKEN_STEPS = 24


class TokenModel(enum.IntEnum):
    """How a piece becomes tokens."""

    BPE = 1
    UNIGRAM = 2
    WORD_PIECE = 3


class TokensFlag(enum.IntFlag):
    """Bits of `Tokens.flags`; the first five are those of `Bpe.flags`."""

    WHOLE_WORDS = 1
    CHARACTERS = 2
    STRIP_SPACE = 4
    """An answer is shown without the space that it begins with."""
    CHAT = 8
    TURNS = 16
    FALLBACK = 32
    """A character that is no token becomes its bytes."""
    FUSE_UNKNOWN = 64
    """Unknown characters that follow one another are one token."""


class StepKind(enum.IntEnum):
    """What a step of TOKENS does with each piece of the text: firmware/tokenizer/step_<kind>.c."""

    MAP = 1
    """Characters become other texts."""
    CLUSTERS = 2
    """As SentencePiece's own table of normalization is applied: to short clusters as a whole, else to characters."""
    DECOMPOSE = 3
    """Characters become their parts, combining ones in canonical order."""
    COMPOSE = 4
    """Pairs become one character."""
    PREPEND = 5
    """The step's text comes first."""
    REPLACE = 6
    """What an automaton finds becomes the step's text."""
    STRIP = 7
    """Characters of a class vanish at the ends."""
    SPLIT = 8
    """The piece is cut by what an automaton finds."""


class SplitFlag(enum.IntEnum):
    """`TokenStep.flags` of SPLIT: what becomes of what was found; INVERT and BYTES may be added."""

    ISOLATED = 0
    REMOVED = 1
    CONTIGUOUS = 2
    MERGED_WITH_PREVIOUS = 3
    MERGED_WITH_NEXT = 4
    INVERT = 8
    """What was found is what lies between matches."""
    BYTES = 16
    """Each byte is a character, whose code is the byte."""


class PrependFlag(enum.IntFlag):
    """Bits of `TokenStep.flags` of PREPEND."""

    MISSING = 1
    """Only where the piece does not begin with it."""
    FIRST = 2
    """Only where the piece begins the whole text."""


class StripFlag(enum.IntFlag):
    """Bits of `TokenStep.flags` of STRIP."""

    LEFT = 1
    RIGHT = 2


class TokenFlag(enum.IntFlag):
    """Bits of `TokenAdded.flags`."""

    SPECIAL = 1
    NORMALIZED = 2
    """Found behind the steps that normalize, else before all."""
    LEFT = 4
    """Takes in the white space before it."""
    RIGHT = 8
    """Takes in the white space behind it."""
    WORD = 16
    """Found only where no letter stands beside it."""


Tokens = Struct(
    "version" / Int32ul,  # TOKENS_VERSION
    "model" / Int32ul,  # TokenModel
    "flags" / Int32ul,  # TokensFlag
    "vocab" / Int32ul,  # ids with a text: at most the plan's vocab
    "merge_count" / Int32ul,
    "sorted_count" / Int32ul,
    "score_count" / Int32ul,  # UNIGRAM: vocab; else 0
    "added_count" / Int32ul,
    "step_count" / Int32ul,
    "normalizing" / Int32ul,  # of the steps: how many come before added tokens that are NORMALIZED
    "data_bytes" / Int32ul,
    "text_bytes" / Int32ul,
    "added_bytes" / Int32ul,
    "first_bytes" / Int32ul,  # these four as in Bpe
    "end_bytes" / Int32ul,
    "next_bytes" / Int32ul,
    "suffix_bytes" / Int32ul,
    "end_id" / Int32ul,
    "unknown" / Int32ul,  # the token of what is no token; or NO_TENSOR
    "word_characters" / Int32ul,  # WORD_PIECE: a longer word is unknown
    "beside" / Int32ul,  # where in data the classes for `TokenFlag` lie, and their bytes, which may be 0
    "beside_bytes" / Int32ul,
    "unknown_score" / Int64ul,  # UNIGRAM: bits of an f64
    # Then, each behind the other: u32 byte_ids[256]; u32 text_offsets[vocab + 1]; BpeMerge [merge_count]; u32
    # sorted[sorted_count]; f64 scores[score_count], by id; TokenAdded [added_count], ids ascending; TokenStep
    # [step_count]; data[data_bytes], of which steps take ranges; text[text_bytes]; added[added_bytes]; roles as in Bpe.
)
TokenAdded = Struct(
    "id" / Int32ul,
    "flags" / Int32ul,  # TokenFlag
    "offset" / Int32ul,  # of its text as it is found, in `added`
    "size" / Int32ul,
)
TokenStep = Struct(
    "kind" / Int32ul,  # StepKind
    "flags" / Int32ul,
    "offset" / Int32ul,  # of its table in `data`, a multiple of 4
    "size" / Int32ul,
    "text_offset" / Int32ul,  # of its text in `data`
    "text_size" / Int32ul,
)
