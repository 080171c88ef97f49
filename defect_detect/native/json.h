/* JSON read strictly and with bounds; whatever is unusual is declined, and read by Python instead. */
#ifndef DEFECT_DETECT_JSON_H
#define DEFECT_DETECT_JSON_H

#include "native.h"

#include <float.h>

typedef struct {
    const unsigned char *at;
    const unsigned char *end;
    bool high; /* a byte over 127 was seen in a string, so that the encoding has to be checked */
} Cursor;

typedef struct {
    double value;
    int64_t whole;
    bool is_whole; /* written without fraction and exponent, and under 2**53 */
} Number;

static inline void skip_space(Cursor *cursor) {
    while (cursor->at < cursor->end &&
           (*cursor->at == ' ' || *cursor->at == '\n' || *cursor->at == '\t' || *cursor->at == '\r'))
        cursor->at++;
}

/* Past `sign` and the space before it. */
static inline bool take(Cursor *cursor, unsigned char sign) {
    skip_space(cursor);
    if (cursor->at == cursor->end || *cursor->at != sign) return false;
    cursor->at++;
    return true;
}

/* The digits, at most seven, that stand at the place, of which 8 bytes can be read; 0: none, or more. Eight bytes as one
   number, as in `read_digits`, with zeros in front. */
static inline int quick_digits(const unsigned char *at, uint64_t *digits) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && FLT_EVAL_METHOD == 0
    uint64_t value;
    memcpy(&value, at, 8);
    value ^= 0x3030303030303030u;
    /* The lowest byte over 9 is told for sure; bytes after it may be told wrongly. */
    uint64_t other = (value | (value + 0x7676767676767676u)) & 0x8080808080808080u;
    if (other == 0 || other & 0x80) return 0;
    int many = __builtin_ctzll(other) >> 3;
    value <<= 64 - 8 * many;
    value = value * 10 + (value >> 8);
    value = (value & 0x000000FF000000FFu) * 0x000F424000000064u + (value >> 16 & 0x000000FF000000FFu) * 0x0000271000000001u;
    *digits = value >> 32;
    return many;
#else
    (void)at;
    (void)digits;
    return 0;
#endif
}

/* Past a whole number of at most seven digits, or NULL; 9 bytes can be read. */
static inline const unsigned char *quick_whole(const unsigned char *at, int64_t *value) {
    uint64_t digits;
    bool negative = *at == '-';
    at += negative;
    int many = quick_digits(at, &digits);
    if (many == 0 || (*at == '0' && (many > 1 || negative))) return NULL;
    *value = negative ? -(int64_t)digits : (int64_t)digits;
    return at + many;
}

/* Past a number with at most seven digits before its point and after it, or NULL; 17 bytes can be read. What follows it
   is for the caller to look at: an exponent, say, is none of it. */
static inline const unsigned char *quick_float(const unsigned char *at, double *value) {
    static const double power[8] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7};
    static const uint64_t shift[8] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000};
    uint64_t whole, part;
    bool negative = *at == '-';
    at += negative;
    int many = quick_digits(at, &whole);
    if (many == 0 || (*at == '0' && many > 1)) return NULL;
    at += many;
    if (*at != '.') {
        if (negative && whole == 0) return NULL;
        *value = negative ? -(double)(int64_t)whole : (double)(int64_t)whole;
        return at;
    }
    int after = quick_digits(at + 1, &part);
    if (after == 0) return NULL;
    /* Both are exact as doubles, so their quotient is rounded once (Clinger 1990). */
    double found = (double)(int64_t)(whole * shift[after] + part) / power[after];
    *value = negative ? -found : found;
    return at + 1 + after;
}

bool read_number(Cursor *cursor, Number *number);
/* A string's inside, from its opening quote on. `plain`: without escapes, as a key or a value that is kept. */
bool read_string(Cursor *cursor, bool plain, const unsigned char **start, size_t *length);
/* Past one value of any kind, checked to be JSON without keys given twice. */
bool skip_value(Cursor *cursor, int depth);
bool is_utf8(const unsigned char *at, const unsigned char *end);

#endif
