/* A JSON list of like objects into columns. */
#include "json.h"
#include "regions.h"

#define MOST_FIELDS 16
#define LARGEST 9007199254740992.0
#define MOST_PIXELS 300000000 /* of a picture with run lengths, as in data/regions.py */

typedef struct {
    char text[32]; /* "name": as it mostly stands in a file */
    const char *name;
    size_t length;
    char kind;
    bool optional;
    Buffer column;
    /* Of regions: */
    Buffer points;
    Buffer rings;
    PyObject *counts;
} Field;

typedef struct {
    Field field[MOST_FIELDS];
    int fields;
    bool others; /* whether keys that aren't fields are skipped, or make it decline */
    bool loose;  /* whether rows that aren't so are passed over: their columns are 0 */
    Buffer rows_at;
    const unsigned char *start;
    Py_ssize_t rows;
} Table;

/* Add `size` bytes to the column; false with an exception where memory is out. */
static bool append(Buffer *column, const void *value, size_t size) {
    if (!reserve(column, size)) return false;
    memcpy(column->data + column->used, value, size);
    column->used += size;
    return true;
}

static bool read_box(Cursor *cursor, Buffer *column) {
    double sides[4];
    Number number;
    if (!take(cursor, '[')) return false;
    for (int side = 0; side < 4; side++) {
        if (side > 0 && !take(cursor, ',')) return false;
        skip_space(cursor);
        if (!read_number(cursor, &number)) return false;
        sides[side] = number.value;
        if (!(sides[side] >= -LARGEST && sides[side] <= LARGEST)) return false;
    }
    return take(cursor, ']') && append(column, sides, sizeof sides);
}

/* What a row of a region's column says. */
enum { NOTHING, RUN_LENGTHS, POLYGONS };

static bool append_region(Field *field, int64_t kind, int64_t a, int64_t b, int64_t area) {
    const int64_t row[4] = {kind, a, b, area};
    return append(&field->column, row, sizeof row);
}

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

static bool read_region(Field *field, Cursor *cursor) {
    if (field->counts == NULL && !(field->counts = PyList_New(0))) return false;
    skip_space(cursor);
    if (cursor->at < cursor->end && *cursor->at == '{') return read_run_lengths(field, cursor);
    return read_polygons(field, cursor);
}

static bool read_field(Table *table, Field *field, Cursor *cursor) {
    Number number;
    skip_space(cursor);
    const unsigned char *start = cursor->at;
    int64_t span[2];
    switch (field->kind) {
        case 'i':
            if (!read_number(cursor, &number) || !number.is_whole) return false;
            return append(&field->column, &number.whole, 8);
        case 'f':
            if (!read_number(cursor, &number)) return false;
            return append(&field->column, &number.value, 8);
        case 'b': return read_box(cursor, &field->column);
        case 'r': return read_region(field, cursor);
        case 'e':
            return take(cursor, '{') && take(cursor, '}');
        case 'v':
            if (!skip_value(cursor, 0)) return false;
            span[0] = start - table->start;
            span[1] = cursor->at - table->start;
            return append(&field->column, span, sizeof span);
        default: return skip_value(cursor, 0);
    }
}

static int field_of(const Table *table, const unsigned char *key, size_t length, int expected) {
    for (int step = 0; step < table->fields; step++) {
        int i = expected + step < table->fields ? expected + step : expected + step - table->fields;
        if (table->field[i].length == length && memcmp(table->field[i].name, key, length) == 0) return i;
    }
    return -1;
}

/* Past the field's key and colon if they come next, which they mostly do. */
static bool take_key(Cursor *cursor, const Field *field) {
    skip_space(cursor);
    if ((size_t)(cursor->end - cursor->at) < field->length + 3) return false;
    if (memcmp(cursor->at, field->text, field->length + 3) != 0) return false;
    cursor->at += field->length + 3;
    return true;
}

static bool read_row(Table *table, Cursor *cursor) {
    const unsigned char *other[MOST_FIELDS];
    size_t other_length[MOST_FIELDS];
    int others = 0, expected = 0;
    uint32_t seen = 0;
    if (!take(cursor, '{')) return false;
    if (!take(cursor, '}')) {
        do {
            const unsigned char *key = NULL;
            size_t length = 0;
            int i = expected;
            if (!take_key(cursor, &table->field[i])) {
                if (!read_string(cursor, true, &key, &length) || !take(cursor, ':')) return false;
                i = field_of(table, key, length, expected);
            }
            if (i < 0) {
                if (!table->others || others == MOST_FIELDS) return false;
                for (int j = 0; j < others; j++)
                    if (other_length[j] == length && memcmp(other[j], key, length) == 0) return false;
                other[others] = key;
                other_length[others++] = length;
                if (!skip_value(cursor, 0)) return false;
                continue;
            }
            if (seen >> i & 1) return false;
            seen |= (uint32_t)1 << i;
            if (!read_field(table, &table->field[i], cursor)) return false;
            expected = i + 1 < table->fields ? i + 1 : 0;
        } while (take(cursor, ','));
        if (!take(cursor, '}')) return false;
    }
    for (int i = 0; i < table->fields; i++) {
        if (seen >> i & 1) continue;
        if (!table->field[i].optional) return false;
        if (table->field[i].kind == 'r' && !append_region(&table->field[i], NOTHING, 0, 0, 0)) return false;
    }
    table->rows++;
    return true;
}

/* The field as it was when its column and its points, rings and run lengths were so many, and a row of 0 more. */
static bool blank(Field *field, const size_t used[3], Py_ssize_t counts) {
    static const char zeros[32] = {0};
    field->column.used = used[0];
    field->points.used = used[1];
    field->rings.used = used[2];
    if (field->counts != NULL && PyList_SetSlice(field->counts, counts, PyList_Size(field->counts), NULL) < 0) return false;
    if (strchr("ex", field->kind) != NULL) return true;
    size_t size = field->kind == 'b' || field->kind == 'r' ? 32 : field->kind == 'v' ? 16 : 8;
    return append(&field->column, zeros, size);
}

/* A row where any may be odd: where it starts and ends, and whether it was read. */
static bool read_loosely(Table *table, Cursor *cursor) {
    size_t used[MOST_FIELDS][3];
    Py_ssize_t counts[MOST_FIELDS];
    for (int i = 0; i < table->fields; i++) {
        const Field *field = &table->field[i];
        used[i][0] = field->column.used;
        used[i][1] = field->points.used;
        used[i][2] = field->rings.used;
        counts[i] = field->counts == NULL ? 0 : PyList_Size(field->counts);
    }
    skip_space(cursor);
    const Cursor before = *cursor;
    bool fine = read_row(table, cursor);
    if (!fine) {
        if (PyErr_Occurred()) return false;
        *cursor = before;
        if (!skip_value(cursor, 0)) return false;
        for (int i = 0; i < table->fields; i++)
            if (!blank(&table->field[i], used[i], counts[i])) return false;
        table->rows++;
    }
    const int64_t row[3] = {before.at - table->start, cursor->at - table->start, fine};
    return append(&table->rows_at, row, sizeof row);
}

static bool read_rows(Table *table, Cursor *cursor) {
    if (!take(cursor, '[')) return false;
    if (take(cursor, ']')) return true;
    do {
        if (!(table->loose ? read_loosely(table, cursor) : read_row(table, cursor))) return false;
    } while (take(cursor, ','));
    return take(cursor, ']');
}

/* The list under `key` of the one object of the text; *from and *to say where its text lies. */
static bool read_member(Table *table, Cursor *cursor, const char *name, size_t name_length, const unsigned char **from,
                        const unsigned char **to) {
    bool found = false;
    if (!take(cursor, '{')) return false;
    do {
        const unsigned char *key;
        size_t length;
        if (!read_string(cursor, true, &key, &length) || !take(cursor, ':')) return false;
        skip_space(cursor);
        if (length != name_length || memcmp(key, name, length) != 0) {
            if (!skip_value(cursor, 0)) return false;
            continue;
        }
        if (found) return false;
        found = true;
        *from = cursor->at;
        if (!read_rows(table, cursor)) return false;
        *to = cursor->at;
    } while (take(cursor, ','));
    return take(cursor, '}') && found;
}

static bool read_fields(Table *table, PyObject *fields) {
    Py_ssize_t many = PyTuple_Size(fields);
    if (many < 0) return false;
    if (many < 1 || many > MOST_FIELDS) {
        PyErr_SetString(PyExc_ValueError, "no fields, or too many");
        return false;
    }
    for (; table->fields < many; table->fields++) {
        Field *field = &table->field[table->fields];
        PyObject *pair = PyTuple_GetItem(fields, table->fields);
        const char *name, *kind;
        Py_ssize_t name_length, kind_length;
        if (pair == NULL || !PyArg_ParseTuple(pair, "s#s#", &name, &name_length, &kind, &kind_length)) return false;
        if (name_length > (Py_ssize_t)sizeof field->text - 3 || kind_length < 1 || kind_length > 2 ||
            strchr("ifbrevx", kind[0]) == NULL || (kind_length == 2 && (kind[1] != '?' || strchr("erx", kind[0]) == NULL))) {
            PyErr_Format(PyExc_ValueError, "a field of no known kind: %s", name);
            return false;
        }
        field->length = (size_t)name_length;
        field->name = field->text + 1;
        field->text[0] = '"';
        memcpy(field->text + 1, name, field->length);
        memcpy(field->text + 1 + field->length, "\":", 2);
        field->kind = kind[0];
        field->optional = kind_length == 2;
    }
    return true;
}

static PyObject *column_of(Field *field) {
    if (field->kind == 'r') {
        PyObject *counts = field->counts == NULL ? PyList_New(0) : Py_NewRef(field->counts);
        return Py_BuildValue("(NNNN)", as_bytearray(&field->column), as_bytearray(&field->points),
                             as_bytearray(&field->rings), counts);
    }
    return strchr("ifbv", field->kind) != NULL ? as_bytearray(&field->column) : Py_NewRef(Py_None);
}

static PyObject *scan(PyObject *const *arguments, bool loose) {
    Table *table = calloc(1, sizeof(Table));
    Py_buffer view;
    const char *key = NULL;
    Py_ssize_t key_length = 0;
    PyObject *result = NULL, *columns = NULL;
    if (table == NULL) return PyErr_NoMemory();
    if (PyObject_GetBuffer(arguments[0], &view, PyBUF_SIMPLE) < 0) {
        free(table);
        return NULL;
    }
    if (arguments[1] != Py_None && !(key = PyUnicode_AsUTF8AndSize(arguments[1], &key_length))) goto end;
    if (!read_fields(table, arguments[2])) goto end;
    int others = loose ? 0 : PyObject_IsTrue(arguments[3]);
    if (others < 0) goto end;
    table->others = others;
    table->loose = loose;
    Cursor cursor = {.at = view.buf, .end = (const unsigned char *)view.buf + view.len};
    table->start = cursor.at;
    const unsigned char *from = cursor.at, *to = cursor.end;
    bool read = key == NULL ? read_rows(table, &cursor)
                            : read_member(table, &cursor, key, (size_t)key_length, &from, &to);
    skip_space(&cursor);
    if (PyErr_Occurred()) goto end;
    if (!read || cursor.at != cursor.end || (cursor.high && !is_utf8(table->start, cursor.end))) {
        result = Py_NewRef(Py_None);
        goto end;
    }
    columns = PyTuple_New(table->fields);
    if (columns == NULL) goto end;
    for (int i = 0; i < table->fields; i++) {
        PyObject *column = column_of(&table->field[i]);
        if (column == NULL || PyTuple_SetItem(columns, i, column) < 0) goto end;
    }
    Py_ssize_t start = from - table->start, stop = to - table->start;
    result = loose ? Py_BuildValue("(nnnON)", start, stop, table->rows, columns, as_bytearray(&table->rows_at))
                   : Py_BuildValue("(nnnO)", start, stop, table->rows, columns);
end:
    Py_XDECREF(columns);
    free(table->rows_at.data);
    for (int i = 0; i < table->fields; i++) {
        free(table->field[i].column.data);
        free(table->field[i].points.data);
        free(table->field[i].rings.data);
        Py_XDECREF(table->field[i].counts);
    }
    free(table);
    PyBuffer_Release(&view);
    return result;
}

/* scan(data, key, fields, others) -> None, or (start, end, rows, columns).

   The text is a list of objects, or, where `key` is a str, an object that has the list under it. `fields`: (name, kind)
   pairs. Kinds: i int64 of a whole number under 2**53; f float64; b four of them, from -2**53 to 2**53; v where the value
   starts and ends, int64; e an empty object; x any value; r a region. e, r and x may be marked `?`: they can be absent.
   `others`: keys that are no field are skipped. Columns come as bytearrays, None for e and x, and for r four: rows of four
   int64 (0; 1, height, width, area; 2, its first ring, rings, 0), points of rings (x y float64), where each ring ends (in
   points, int64), and a list of the run lengths as bytes. None: the text isn't so. */
PyObject *native_scan(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 4) return PyErr_Format(PyExc_TypeError, "scan takes 4 arguments, not %zd", count);
    return scan(arguments, false);
}

/* scan_loosely(data, key, fields) -> None, or (start, end, rows, columns, places).

   As `scan`, where any row may be something else: it then is 0 in all columns. `places`: three int64 a row, where its text
   starts and ends, and 1 if it was read. None: the text isn't JSON, or has a key twice in an object. */
PyObject *native_scan_loosely(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 3) return PyErr_Format(PyExc_TypeError, "scan_loosely takes 3 arguments, not %zd", count);
    return scan(arguments, true);
}

/* number(data) -> the float that the text is, or None: for tests of exactness. */
PyObject *native_number(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 1) return PyErr_Format(PyExc_TypeError, "number takes 1 argument, not %zd", count);
    Py_buffer view;
    if (PyObject_GetBuffer(arguments[0], &view, PyBUF_SIMPLE) < 0) return NULL;
    Cursor cursor = {.at = view.buf, .end = (const unsigned char *)view.buf + view.len};
    Number number;
    bool read = read_number(&cursor, &number) && cursor.at == cursor.end;
    PyBuffer_Release(&view);
    return read ? PyFloat_FromDouble(number.value) : Py_NewRef(Py_None);
}
