/* JSON read strictly and with bounds; whatever is unusual is declined, and read by Python instead. */
#ifndef DEFECT_DETECT_JSON_H
#define DEFECT_DETECT_JSON_H

#include "native.h"

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

bool read_number(Cursor *cursor, Number *number);
/* A string's inside, from its opening quote on. `plain`: without escapes, as a key or a value that is kept. */
bool read_string(Cursor *cursor, bool plain, const unsigned char **start, size_t *length);
/* Past one value of any kind, checked to be JSON without keys given twice. */
bool skip_value(Cursor *cursor, int depth);
bool is_utf8(const unsigned char *at, const unsigned char *end);

#endif
