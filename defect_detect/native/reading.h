/* What the files that read lists of objects share. */
#ifndef DEFECT_DETECT_READING_H
#define DEFECT_DETECT_READING_H

#include "json.h"

#define MOST_FIELDS 16
#define MOST_STEPS 20
#define LARGEST 9007199254740992.0 /* of the numbers of a box */

typedef struct {
    char text[32]; /* "name": as it mostly stands in a file */
    const char *name;
    size_t length;
    char kind;
    bool optional;
    size_t size; /* of a row in the column; 0 for kinds without one */
    Buffer column;
    /* Of regions: */
    Buffer points;
    Buffer rings;
    PyObject *counts;
} Field;

/* What stands before a value, from the value before it or the row's beginning on, and the value's field; -1: it is
   passed over. `first` and `last` are the text's first and last 8 bytes, under `mask` where it has less. */
typedef struct {
    const unsigned char *text;
    size_t length;
    uint64_t first;
    uint64_t mask;
    uint64_t last;
    int field;
} Step;

/* How the last row that was read with care was written; the last of its steps has no value. */
typedef struct {
    Step step[MOST_STEPS];
    int steps;
    bool known;
} Pattern;

typedef struct {
    Field field[MOST_FIELDS];
    int fields;
    bool others; /* whether keys that aren't fields are skipped, or make it decline */
    bool loose;  /* whether rows that aren't so are passed over: their columns are 0 */
    Buffer rows_at;
    const unsigned char *start;
    Py_ssize_t rows;
    Py_ssize_t room; /* rows that all columns have room for */
    Pattern pattern;
} Table;

/* Add `size` bytes to the column; false with an exception where memory is out. */
static inline bool append(Buffer *column, const void *value, size_t size) {
    if (!reserve(column, size)) return false;
    memcpy(column->data + column->used, value, size);
    column->used += size;
    return true;
}

/* Of a field of regions: a row without one, and a row as the text has it. */
bool append_nothing(Field *field);
bool read_region(Field *field, Cursor *cursor);

/* A row written just as the pattern says. False, and nothing is changed, where it isn't; or with an exception. */
bool read_alike(Table *table, Cursor *cursor);
/* The pattern has one step more: the text from `from` to `to`, then a value of the field. */
void add_step(Pattern *pattern, const unsigned char *from, const unsigned char *to, int field);

#endif
