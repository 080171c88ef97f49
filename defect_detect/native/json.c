/* The grammar of JSON (RFC 8259), and numbers as exact as Python's float(). */
#include "json.h"

#define DEEPEST 32
#define MOST_KEYS 24
#define LARGEST_WHOLE (((int64_t)1 << 53) - 1)

static const uint64_t POWER_OF_5[28] = {
    1u, 5u, 25u, 125u, 625u, 3125u, 15625u, 78125u, 390625u, 1953125u, 9765625u, 48828125u, 244140625u, 1220703125u,
    6103515625u, 30517578125u, 152587890625u, 762939453125u, 3814697265625u, 19073486328125u, 95367431640625u,
    476837158203125u, 2384185791015625u, 11920928955078125u, 59604644775390625u, 298023223876953125u,
    1490116119384765625u, 7450580596923828125u,
};

#if FLT_EVAL_METHOD == 0
static const double POWER_OF_10[23] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
};
#endif

static inline bool is_digit(unsigned char sign) { return (unsigned char)(sign - '0') < 10; }

/* Past a run of digits, which are appended to *digits (modulo 2**64). Eight at a time as the bytes of one number: the first
   multiplication makes pairs of digits, the next pairs of these, the last one number of all eight. */
static const unsigned char *read_digits(const unsigned char *at, const unsigned char *end, uint64_t *digits) {
    uint64_t value = *digits;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    while (end - at >= 8) {
        uint64_t eight;
        memcpy(&eight, at, 8);
        /* Each byte is 0x30 to 0x39: its high half is 3, and still is after 6 is added. */
        if (((eight & (eight + 0x0606060606060606u)) & 0xF0F0F0F0F0F0F0F0u) != 0x3030303030303030u) break;
        eight -= 0x3030303030303030u;
        eight = eight * 10 + (eight >> 8);
        eight = (eight & 0x000000FF000000FFu) * 0x000F424000000064u + (eight >> 16 & 0x000000FF000000FFu) * 0x0000271000000001u;
        value = value * 100000000u + (eight >> 32);
        at += 8;
    }
#endif
    while (at < end && is_digit(*at)) value = value * 10 + (uint64_t)(*at++ - '0');
    *digits = value;
    return at;
}

/* digits / 10**power, rounded once, to even; digits > 0, 0 <= power <= 27.

   With d = 5**power and both shifted up to their 64th bit, the quotient of digits * 2**63 and d has 63 or 64 bits: at least
   ten more than a double keeps. A remainder only matters by being there, so it goes into the lowest of them; the conversion
   then rounds as the exact quotient would be, and the power of two that is left is exact, for all is far from subnormal. */
static double divided(uint64_t digits, int power) {
#if FLT_EVAL_METHOD == 0
    /* Both are exact as doubles, so their quotient is rounded once (Clinger 1990). */
    if (digits <= (uint64_t)1 << 53 && power <= 22) return (double)(int64_t)digits / POWER_OF_10[power];
#endif
    int up_digits = __builtin_clzll(digits), up_divisor = __builtin_clzll(POWER_OF_5[power]);
    uint64_t divisor = POWER_OF_5[power] << up_divisor;
    unsigned __int128 dividend = (unsigned __int128)(digits << up_digits) << 63;
    uint64_t quotient = (uint64_t)(dividend / divisor);
    quotient |= (uint64_t)dividend != quotient * divisor; /* modulo 2**64, which is enough: the remainder is less */
    uint64_t scale_bits = (uint64_t)(1023 + up_divisor - up_digits - 63 - power) << 52;
    double scale;
    memcpy(&scale, &scale_bits, 8);
    return (double)quotient * scale;
}

/* By Python's own reader, for numbers with many digits or far exponents. */
static bool read_slowly(const unsigned char *start, const unsigned char *end, double *value) {
    char text[64];
    size_t length = (size_t)(end - start);
    if (length >= sizeof text) return false;
    memcpy(text, start, length);
    text[length] = '\0';
    char *stopped;
    double found = PyOS_string_to_double(text, &stopped, PyExc_OverflowError);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return false;
    }
    *value = found;
    return stopped == text + length && found - found == 0;
}

bool read_number(Cursor *cursor, Number *number) {
    const unsigned char *at = cursor->at, *end = cursor->end, *start = at;
    bool negative = at < end && *at == '-';
    if (negative) at++;
    if (at == end || !is_digit(*at)) return false;
    if (*at == '0' && at + 1 < end && is_digit(at[1])) return false;
    uint64_t digits = 0;
    const unsigned char *first = at;
    at = read_digits(at, end, &digits);
    size_t many = (size_t)(at - first);
    int power = 0;
    bool whole = true;
    if (at < end && *at == '.') {
        const unsigned char *point = at++;
        at = read_digits(at, end, &digits);
        size_t after = (size_t)(at - point) - 1;
        if (after == 0) return false;
        many += after;
        if (after > 27) power = 28;
        else power = (int)after;
        whole = false;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        if (at == end || !is_digit(*at)) return false;
        while (at < end && is_digit(*at)) at++;
        whole = false;
        power = 28; /* for Python to read */
    }
    cursor->at = at;
    number->is_whole = false;
    number->whole = 0;
    /* 19 digits always fit into 64 bits. */
    bool fits = many <= 19 && power <= 27;
    if (whole) {
        if (!fits || digits > (uint64_t)LARGEST_WHOLE || (negative && digits == 0)) return false;
        number->is_whole = true;
        number->whole = negative ? -(int64_t)digits : (int64_t)digits;
        number->value = (double)number->whole;
        return true;
    }
    if (!fits) return read_slowly(start, at, &number->value);
    double value = digits == 0 ? 0.0 : divided(digits, power);
    number->value = negative ? -value : value;
    return true;
}

static bool hexadecimal(unsigned char sign) {
    return is_digit(sign) || (sign >= 'a' && sign <= 'f') || (sign >= 'A' && sign <= 'F');
}

/* Past an escape, from after its backslash on. Halves of surrogate pairs are declined. */
static bool skip_escape(Cursor *cursor) {
    if (cursor->at == cursor->end) return false;
    unsigned char sign = *cursor->at++;
    if (sign != 'u') return sign != '\0' && strchr("\"\\/bfnrt", sign) != NULL;
    if (cursor->end - cursor->at < 4) return false;
    for (int i = 0; i < 4; i++)
        if (!hexadecimal(cursor->at[i])) return false;
    if ((cursor->at[0] == 'd' || cursor->at[0] == 'D') && cursor->at[1] >= '8') return false;
    cursor->at += 4;
    return true;
}

bool read_string(Cursor *cursor, bool plain, const unsigned char **start, size_t *length) {
    if (!take(cursor, '"')) return false;
    *start = cursor->at;
    while (cursor->end - cursor->at >= 8) {
        /* Eight bytes at once, while none of them is a quote, a backslash, under 0x20 or over 0x7F. */
        uint64_t eight, low = 0x0101010101010101u, high = 0x8080808080808080u;
        memcpy(&eight, cursor->at, 8);
        uint64_t quote = eight ^ (low * '"'), escape = eight ^ (low * '\\');
        if ((eight | (eight - low * 0x20) | (quote - low) | (escape - low)) & high) break;
        cursor->at += 8;
    }
    while (cursor->at < cursor->end) {
        unsigned char sign = *cursor->at;
        if (sign == '"') {
            *length = (size_t)(cursor->at++ - *start);
            return true;
        }
        if (sign < 0x20) return false;
        cursor->at++;
        if (sign >= 0x80) cursor->high = true;
        if (sign == '\\' && (plain || !skip_escape(cursor))) return false;
    }
    return false;
}

static bool skip_word(Cursor *cursor, const char *word) {
    size_t length = strlen(word);
    if ((size_t)(cursor->end - cursor->at) < length || memcmp(cursor->at, word, length) != 0) return false;
    cursor->at += length;
    return true;
}

static bool skip_list(Cursor *cursor, int depth) {
    cursor->at++;
    if (take(cursor, ']')) return true;
    do {
        if (!skip_value(cursor, depth)) return false;
    } while (take(cursor, ','));
    return take(cursor, ']');
}

static bool skip_object(Cursor *cursor, int depth) {
    const unsigned char *key[MOST_KEYS];
    size_t length[MOST_KEYS];
    int many = 0;
    cursor->at++;
    if (take(cursor, '}')) return true;
    do {
        if (many == MOST_KEYS || !read_string(cursor, true, &key[many], &length[many])) return false;
        for (int i = 0; i < many; i++)
            if (length[i] == length[many] && memcmp(key[i], key[many], length[i]) == 0) return false;
        many++;
        if (!take(cursor, ':') || !skip_value(cursor, depth)) return false;
    } while (take(cursor, ','));
    return take(cursor, '}');
}

bool skip_value(Cursor *cursor, int depth) {
    if (depth >= DEEPEST) return false;
    skip_space(cursor);
    if (cursor->at == cursor->end) return false;
    const unsigned char *start;
    size_t length;
    Number number;
    switch (*cursor->at) {
        case '{': return skip_object(cursor, depth + 1);
        case '[': return skip_list(cursor, depth + 1);
        case '"': return read_string(cursor, false, &start, &length);
        case 't': return skip_word(cursor, "true");
        case 'f': return skip_word(cursor, "false");
        case 'n': return skip_word(cursor, "null");
        default: return read_number(cursor, &number);
    }
}

bool is_utf8(const unsigned char *at, const unsigned char *end) {
    while (at < end) {
        unsigned char lead = *at++;
        if (lead < 0x80) continue;
        int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
        if (lead < 0xC2 || lead > 0xF4 || end - at < more) return false;
        /* Overlong forms, surrogates and what lies past U+10FFFF. */
        unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
        unsigned char most = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
        if (at[0] < low || at[0] > most) return false;
        for (int i = 1; i < more; i++)
            if ((at[i] & 0xC0) != 0x80) return false;
        at += more;
    }
    return true;
}
