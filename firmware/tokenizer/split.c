/* SPDX-License-Identifier: Apache-2.0 */
/* The pre-tokenizers' regular expressions as code: each function stands for one alternative, tried
 * in the pattern's order (docs/terminal.md). */
#include "tokenizer/parts.h"
#include "common/utf8.h"
#include "gen/unicode.h"

#define OTHER      0u
#define TEXT_END   8u
#define LONG_S     0x17fu /* folds to s */
#define RUNS       (sizeof unicode_runs / sizeof unicode_runs[0])
#define NUMBERS(s) ((s) == IMAGE_SPLIT_LLAMA3 ? 3u : 1u)

struct piece {
    const uint8_t *text;
    uint32_t size;
    int digits; /* a digit ends the text */
};

struct character {
    uint32_t code;
    uint32_t size;
    uint32_t kind;
};

static uint32_t class_of(uint32_t code)
{
    uint32_t low = 0, high = RUNS;
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (unicode_runs[middle] >> 3 <= code)
            low = middle;
        else
            high = middle;
    }
    return unicode_runs[low] & 7u;
}

/* A byte that is no character's counts as a sign. */
static struct character look(const struct piece *s, uint32_t at)
{
    struct character c = {0, 1, OTHER};
    if (at >= s->size)
        return (struct character){0, 0, TEXT_END};
    uint32_t whole = utf8_size(s->text[at]);
    if (!whole || utf8_valid(s->text + at, s->size - at) < whole)
        return c;
    c.size = whole;
    c.code = utf8_code(s->text + at, whole);
    c.kind = class_of(c.code);
    if (s->digits && (c.kind == UNICODE_NUMBER || c.kind == UNICODE_DIGIT))
        c.kind = TEXT_END;
    else if (c.kind == UNICODE_DIGIT)
        c.kind = OTHER;
    return c;
}

/* \p{L}+ and its like: where the characters of the kind from `at` on end. */
static uint32_t run_end(const struct piece *s, uint32_t at, uint32_t kind)
{
    struct character c = look(s, at);
    for (; c.kind == kind; c = look(s, at))
        at += c.size;
    return at;
}

static uint32_t fold(uint32_t code)
{
    if (code == LONG_S)
        return 's';
    return code >= 'A' && code <= 'Z' ? code + 32u : code;
}

/* 's|'t|'re|'ve|'m|'ll|'d, in any case where `any_case`. Returns its bytes, or 0. */
static uint32_t contraction(const struct piece *s, int any_case)
{
    if (s->text[0] != '\'')
        return 0;
    struct character one = look(s, 1), two = look(s, 1 + one.size);
    uint32_t a = any_case ? fold(one.code) : one.code, b = any_case ? fold(two.code) : two.code;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 1 + one.size;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'))
        return 1 + one.size + two.size;
    return 0;
}

/* \s+(?!\S)|\s+: without its last one where something follows, but at least one. */
static uint32_t spaces(const struct piece *s)
{
    uint32_t at = 0, last = 0;
    struct character c = look(s, 0);
    for (; c.kind == UNICODE_SPACE; c = look(s, at)) {
        last = at;
        at += c.size;
    }
    return c.kind == TEXT_END || !last ? at : last;
}

static uint32_t gpt2_piece(const struct piece *s)
{
    uint32_t short_form = contraction(s, 0), skip = s->text[0] == ' ';
    if (short_form)
        return short_form;
    struct character c = look(s, skip);
    if (c.kind == OTHER || c.kind == UNICODE_LETTER || c.kind == UNICODE_NUMBER)
        return run_end(s, skip, c.kind);
    return spaces(s);
}

static int is_newline(uint32_t code)
{
    return code == '\r' || code == '\n';
}

/* \s*[\r\n]+: up to the last line end in the spaces. Returns 0 without one. */
static uint32_t lines(const struct piece *s)
{
    uint32_t at = 0, found = 0;
    for (struct character c = look(s, 0); c.kind == UNICODE_SPACE; c = look(s, at)) {
        at += c.size;
        if (is_newline(c.code))
            found = at;
    }
    return found;
}

/* \p{N}{1,most} */
static uint32_t numbers(const struct piece *s, uint32_t most)
{
    uint32_t at = 0;
    for (struct character c = look(s, 0); most && c.kind == UNICODE_NUMBER; c = look(s, at)) {
        at += c.size;
        most--;
    }
    return at;
}

/* [^\s\p{L}\p{N}]+[\r\n]* from `at` on, behind a space that may stand there. Returns 0 for none. */
static uint32_t signs(const struct piece *s)
{
    uint32_t skip = s->text[0] == ' ', at = run_end(s, skip, OTHER);
    if (at == skip)
        return 0;
    while (at < s->size && is_newline(s->text[at]))
        at++;
    return at;
}

static uint32_t llama3_piece(const struct piece *s, uint32_t most_numbers)
{
    uint32_t found = contraction(s, 1);
    struct character c = look(s, 0);
    if (found)
        return found;
    if (c.kind == UNICODE_LETTER)
        return run_end(s, 0, UNICODE_LETTER);
    if (c.kind == UNICODE_NUMBER)
        return numbers(s, most_numbers);
    if (!is_newline(c.code) && look(s, c.size).kind == UNICODE_LETTER)
        return run_end(s, c.size, UNICODE_LETTER);
    found = signs(s);
    if (!found)
        found = lines(s);
    return found ? found : spaces(s);
}

uint32_t tokenizer_split(uint32_t split, const uint8_t *text, uint32_t size)
{
    struct piece s = {text, size, 0};
    if (split == IMAGE_SPLIT_NONE)
        return size;
    if (split == IMAGE_SPLIT_LLAMA3 || split == IMAGE_SPLIT_QWEN2)
        return llama3_piece(&s, NUMBERS(split));
    struct piece cut = {text, size, split == IMAGE_SPLIT_DIGITS};
    return look(&cut, 0).kind == TEXT_END ? look(&s, 0).size : gpt2_piece(&cut);
}
