/* Regions of annotations: run lengths as this package compresses them, and polygons. */
#include "reading.h"
#include "regions.h"

#define MOST_PIXELS 300000000 /* of a picture with run lengths, as in data/regions.py */

/* What a row of a region's column says. */
enum { NOTHING, RUN_LENGTHS, POLYGONS };

static bool append_region(Field *field, int64_t kind, int64_t a, int64_t b, int64_t area) {
    const int64_t row[4] = {kind, a, b, area};
    return append(&field->column, row, sizeof row);
}

bool append_nothing(Field *field) { return append_region(field, NOTHING, 0, 0, 0); }

/* {"size": [height, width], "counts": "..."}, compressed just as this package does it. */
static bool read_run_lengths(Field *field, Cursor *cursor) {
    const unsigned char *key, *counts = NULL;
    size_t length, escaped = 0;
    Number size[2];
    bool sized = false;
    if (!take(cursor, '{')) return false;
    do {
        if (!read_string(cursor, true, &key, &length) || !take(cursor, ':')) return false;
        if (length == 4 && memcmp(key, "size", 4) == 0 && !sized) {
            for (int side = 0; side < 2; side++) {
                if (!take(cursor, side == 0 ? '[' : ',')) return false;
                skip_space(cursor);
                if (!read_number(cursor, &size[side]) || !size[side].is_whole || size[side].whole < 1) return false;
            }
            if (!take(cursor, ']')) return false;
            sized = true;
        } else if (length == 6 && memcmp(key, "counts", 6) == 0 && counts == NULL) {
            if (!read_string(cursor, false, &counts, &escaped)) return false;
        } else {
            return false;
        }
    } while (take(cursor, ','));
    if (!take(cursor, '}') || !sized || counts == NULL || size[0].whole > MOST_PIXELS / size[1].whole) return false;
    /* Run lengths are written in ASCII, where a backslash alone needs an escape. */
    PyObject *text = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)escaped);
    if (text == NULL) return false;
    char *to = PyBytes_AsString(text);
    size_t used = 0;
    bool plain = true;
    for (const unsigned char *at = counts, *end = counts + escaped; at < end && plain;) {
        const unsigned char *escape = memchr(at, '\\', (size_t)(end - at));
        size_t clean = (size_t)((escape == NULL ? end : escape) - at);
        memcpy(to + used, at, clean);
        used += clean;
        at += clean;
        if (escape == NULL) break;
        plain = at[1] == '\\'; /* an escape is never cut off by the end of its string */
        to[used++] = '\\';
        at += 2;
    }
    int64_t area = plain ? canonical_area((const unsigned char *)to, used, size[0].whole * size[1].whole) : -1;
    bool done = false;
    if (area >= 0) {
        PyObject *exact = used == escaped ? Py_NewRef(text) : PyBytes_FromStringAndSize(to, (Py_ssize_t)used);
        done = exact != NULL && PyList_Append(field->counts, exact) == 0;
        Py_XDECREF(exact);
    }
    Py_DECREF(text);
    return done && append_region(field, RUN_LENGTHS, size[0].whole, size[1].whole, area);
}

/* [[x, y, x, y, x, y, ...], ...]: rings of three points or more. */
static bool read_polygons(Field *field, Cursor *cursor) {
    int64_t first = (int64_t)(field->rings.used / 8), rings = 0;
    if (!take(cursor, '[')) return false;
    if (take(cursor, ']')) return append_region(field, NOTHING, 0, 0, 0);
    do {
        size_t start = field->points.used;
        Number number;
        if (!take(cursor, '[')) return false;
        do {
            skip_space(cursor);
            if (!read_number(cursor, &number) || !append(&field->points, &number.value, 8)) return false;
        } while (take(cursor, ','));
        size_t many = (field->points.used - start) / 8;
        if (!take(cursor, ']') || many < 6 || many % 2 != 0) return false;
        int64_t end = (int64_t)(field->points.used / 16);
        if (!append(&field->rings, &end, 8)) return false;
        rings++;
    } while (take(cursor, ','));
    return take(cursor, ']') && append_region(field, POLYGONS, first, rings, 0);
}

bool read_region(Field *field, Cursor *cursor) {
    if (field->counts == NULL && !(field->counts = PyList_New(0))) return false;
    skip_space(cursor);
    if (cursor->at < cursor->end && *cursor->at == '{') return read_run_lengths(field, cursor);
    return read_polygons(field, cursor);
}
