/* Rows written like the row before them: the text between their values is compared as a whole, not parsed again.

   A row that the pattern fits has the very keys of a row that was read with care, in its order, each once. Whatever isn't
   so, and every number that isn't a short decimal, is left to the careful reader. */
#include "reading.h"

#define AHEAD 64 /* bytes that can be looked at from a step on without passing the end */

static inline uint64_t eight(const unsigned char *at) {
    uint64_t value;
    memcpy(&value, at, 8);
    return value;
}

void add_step(Pattern *pattern, const unsigned char *from, const unsigned char *to, int field) {
    unsigned char mask[8] = {0}, text[8] = {0};
    size_t length = (size_t)(to - from);
    if (pattern->steps >= MOST_STEPS || length > AHEAD / 2 || length == 0) {
        pattern->steps = MOST_STEPS + 1; /* no pattern that is of use */
        return;
    }
    Step *step = &pattern->step[pattern->steps++];
    memset(mask, 0xFF, length < 8 ? length : 8);
    memcpy(text, from, length < 8 ? length : 8);
    step->text = from;
    step->length = length;
    step->first = eight(text);
    step->mask = eight(mask);
    step->last = length < 8 ? 0 : eight(to - 8);
    step->field = field;
}

static inline bool stands(const Step *step, const unsigned char *at) {
    if (((eight(at) ^ step->first) & step->mask) != 0) return false;
    if (step->length <= 8) return true;
    if (eight(at + step->length - 8) != step->last) return false;
    return step->length <= 16 || memcmp(at + 8, step->text + 8, step->length - 16) == 0;
}

/* Room for some more rows in every column. */
static bool make_room(Table *table, const Cursor *cursor) {
    const Pattern *pattern = &table->pattern;
    size_t length = 2;
    for (int i = 0; i < pattern->steps; i++) length += pattern->step[i].length + 1;
    size_t more = (size_t)(cursor->end - cursor->at) / (2 * length) + 64;
    for (int i = 0; i < table->fields; i++)
        if (table->field[i].size > 0 && !reserve(&table->field[i].column, more * table->field[i].size)) return false;
    table->room = table->rows + (Py_ssize_t)more;
    return true;
}

/* What follows gives the place past a value, or NULL. Places are handed on as values, which keeps them in registers; the
   careful reader's functions have a cursor of their own. */

static const unsigned char *number_at(const unsigned char *at, const unsigned char *end, Number *number) {
    Cursor cursor = {.at = at, .end = end, .high = false};
    return read_number(&cursor, number) ? cursor.at : NULL;
}

static inline const unsigned char *float_at(const unsigned char *at, const unsigned char *end, char *to) {
    double value;
    Number number;
    const unsigned char *after = quick_float(at, &value);
    if (after == NULL) {
        if (!(after = number_at(at, end, &number))) return NULL;
        value = number.value;
    }
    memcpy(to, &value, 8);
    return after;
}

static inline const unsigned char *whole_at(const unsigned char *at, const unsigned char *end, char *to) {
    int64_t value;
    Number number;
    const unsigned char *after = quick_whole(at, &value);
    if (after == NULL) {
        if (!(after = number_at(at, end, &number)) || !number.is_whole) return NULL;
        value = number.whole;
    }
    memcpy(to, &value, 8);
    return after;
}

static inline const unsigned char *box_at(const unsigned char *at, const unsigned char *end, char *to) {
    for (int side = 0; side < 4; side++) {
        if (end - at < AHEAD || *at != (side == 0 ? '[' : ',')) return NULL;
        at += at[1] == ' ' ? 2 : 1;
        if (!(at = float_at(at, end, to + 8 * side))) return NULL;
        double value;
        memcpy(&value, to + 8 * side, 8);
        if (!(value >= -LARGEST && value <= LARGEST)) return NULL;
    }
    return at < end && *at == ']' ? at + 1 : NULL;
}

/* Any value but a number or a box, read carefully. */
static const unsigned char *other_at(const Table *table, char kind, Cursor *cursor, char *to) {
    const unsigned char *start = cursor->at;
    size_t length = 0;
    bool read = false;
    switch (kind) {
        case 's': read = read_string(cursor, true, &start, &length); break;
        case 't': read = read_string(cursor, false, &start, &length); break;
        case 'e': read = take(cursor, '{') && take(cursor, '}'); break;
        case 'v':
            read = skip_value(cursor, 0);
            length = (size_t)(cursor->at - start);
            break;
        default: read = skip_value(cursor, 0);
    }
    if (read && (kind == 's' || kind == 'v')) {
        const int64_t place[2] = {start - table->start, start - table->start + (int64_t)length};
        memcpy(to, place, 16);
    }
    return read ? cursor->at : NULL;
}

/* The pattern of a row with a region fits nothing, so the row has none; there is room for saying so. */
static void append_absent(Table *table) {
    for (int i = 0; i < table->fields; i++) {
        Field *field = &table->field[i];
        if (field->kind != 'r') continue;
        memset(field->column.data + field->column.used, 0, field->size);
        field->column.used += field->size;
    }
}

static const unsigned char *row_at(Table *table, const unsigned char *at, const unsigned char *end, bool *high) {
    const Pattern *pattern = &table->pattern;
    for (int i = 0; i < pattern->steps; i++) {
        const Step *step = &pattern->step[i];
        if (end - at < 2 * AHEAD || !stands(step, at)) return NULL;
        at += step->length;
        if (i + 1 == pattern->steps) {
            append_absent(table);
            return at;
        }
        Field *field = step->field < 0 ? NULL : &table->field[step->field];
        char *to = field == NULL ? NULL : field->column.data + field->column.used;
        char kind = field == NULL ? 'x' : field->kind;
        if (kind == 'i') {
            at = whole_at(at, end, to);
        } else if (kind == 'f') {
            at = float_at(at, end, to);
        } else if (kind == 'b') {
            at = box_at(at, end, to);
        } else if (kind == 'r') {
            return NULL;
        } else {
            Cursor cursor = {.at = at, .end = end, .high = false};
            at = other_at(table, kind, &cursor, to);
            *high |= cursor.high;
        }
        if (at == NULL) return NULL;
        if (field != NULL) field->column.used += field->size;
    }
    return NULL;
}

bool read_alike(Table *table, Cursor *cursor) {
    if (!table->pattern.known) return false;
    skip_space(cursor);
    if (table->rows >= table->room && !make_room(table, cursor)) return false;
    const unsigned char *after = row_at(table, cursor->at, cursor->end, &cursor->high);
    if (after == NULL) {
        for (int i = 0; i < table->fields; i++)
            if (table->field[i].size > 0) table->field[i].column.used = (size_t)table->rows * table->field[i].size;
        return false;
    }
    cursor->at = after;
    table->rows++;
    return true;
}
