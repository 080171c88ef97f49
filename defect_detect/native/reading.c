/* A JSON list of like objects into columns. */
#include "reading.h"

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

static bool read_field(Table *table, Field *field, Cursor *cursor) {
    Number number;
    skip_space(cursor);
    const unsigned char *start = cursor->at;
    size_t length;
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
        case 't': return read_string(cursor, false, &start, &length);
        case 's':
            if (!read_string(cursor, true, &start, &length)) return false;
            span[0] = start - table->start;
            span[1] = span[0] + (int64_t)length;
            return append(&field->column, span, sizeof span);
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
    Pattern *pattern = &table->pattern;
    pattern->steps = 0;
    pattern->known = false;
    skip_space(cursor);
    const unsigned char *from = cursor->at;
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
            skip_space(cursor);
            add_step(pattern, from, cursor->at, i);
            if (i < 0) {
                if (!table->others || others == MOST_FIELDS) return false;
                for (int j = 0; j < others; j++)
                    if (other_length[j] == length && memcmp(other[j], key, length) == 0) return false;
                other[others] = key;
                other_length[others++] = length;
                if (!skip_value(cursor, 0)) return false;
                from = cursor->at;
                continue;
            }
            if (seen >> i & 1) return false;
            seen |= (uint32_t)1 << i;
            if (!read_field(table, &table->field[i], cursor)) return false;
            from = cursor->at;
            expected = i + 1 < table->fields ? i + 1 : 0;
        } while (take(cursor, ','));
        if (!take(cursor, '}')) return false;
    }
    for (int i = 0; i < table->fields; i++) {
        if (seen >> i & 1) continue;
        if (!table->field[i].optional) return false;
        if (table->field[i].kind == 'r' && !append_nothing(&table->field[i])) return false;
    }
    add_step(pattern, from, cursor->at, -1);
    pattern->known = pattern->steps <= MOST_STEPS;
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
    return field->size == 0 || append(&field->column, zeros, field->size);
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
    bool fine = read_alike(table, cursor) || (!PyErr_Occurred() && read_row(table, cursor));
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
        if (table->loose) {
            if (!read_loosely(table, cursor)) return false;
        } else if (!read_alike(table, cursor) && (PyErr_Occurred() || !read_row(table, cursor))) {
            return false;
        }
    } while (take(cursor, ','));
    return take(cursor, ']');
}

typedef struct {
    Table table;
    const char *key;
    size_t length;
    bool found;
    const unsigned char *from; /* where its text lies */
    const unsigned char *to;
} List;

/* The lists under their keys of the one object of the text; one object may hold other keys, too. */
static bool read_members(List *list, int lists, Cursor *cursor) {
    if (!take(cursor, '{')) return false;
    do {
        const unsigned char *key;
        size_t length;
        int i = 0;
        if (!read_string(cursor, true, &key, &length) || !take(cursor, ':')) return false;
        skip_space(cursor);
        while (i < lists && (length != list[i].length || memcmp(key, list[i].key, length) != 0)) i++;
        if (i == lists) {
            if (!skip_value(cursor, 0)) return false;
            continue;
        }
        if (list[i].found) return false;
        list[i].found = true;
        list[i].from = cursor->at;
        if (!read_rows(&list[i].table, cursor)) return false;
        list[i].to = cursor->at;
    } while (take(cursor, ','));
    if (!take(cursor, '}')) return false;
    for (int i = 0; i < lists; i++)
        if (!list[i].found) return false;
    return true;
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
            strchr("ifbrevxst", kind[0]) == NULL || (kind_length == 2 && (kind[1] != '?' || strchr("erx", kind[0]) == NULL))) {
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
        field->size = strchr("br", field->kind) ? 32 : strchr("vs", field->kind) ? 16 : strchr("if", field->kind) ? 8 : 0;
    }
    return true;
}

static PyObject *column_of(Field *field) {
    if (field->kind == 'r') {
        PyObject *counts = field->counts == NULL ? PyList_New(0) : Py_NewRef(field->counts);
        return Py_BuildValue("(NNNN)", as_bytearray(&field->column), as_bytearray(&field->points),
                             as_bytearray(&field->rings), counts);
    }
    return field->size > 0 ? as_bytearray(&field->column) : Py_NewRef(Py_None);
}

#define MOST_LISTS 4

static void free_lists(List *list, int lists) {
    for (int i = 0; i < lists; i++) {
        Table *table = &list[i].table;
        release(&table->rows_at);
        for (int j = 0; j < table->fields; j++) {
            release(&table->field[j].column);
            release(&table->field[j].points);
            release(&table->field[j].rings);
            Py_XDECREF(table->field[j].counts);
        }
    }
    free(list);
}

/* (start, end, rows, columns) of a list that was read. */
static PyObject *columns_of(List *list) {
    Table *table = &list->table;
    PyObject *columns = PyTuple_New(table->fields);
    if (columns == NULL) return NULL;
    for (int i = 0; i < table->fields; i++) {
        PyObject *column = column_of(&table->field[i]);
        if (column == NULL || PyTuple_SetItem(columns, i, column) < 0) {
            Py_DECREF(columns);
            return NULL;
        }
    }
    Py_ssize_t start = list->from - table->start, stop = list->to - table->start;
    return table->loose ? Py_BuildValue("(nnnNN)", start, stop, table->rows, columns, as_bytearray(&table->rows_at))
                        : Py_BuildValue("(nnnN)", start, stop, table->rows, columns);
}

/* What the lists of the text are, each (start, end, rows, columns); None if they aren't so. A key NULL: the text is it. */
static PyObject *read_text(PyObject *data, List *list, int lists, bool single) {
    Py_buffer view;
    PyObject *result = NULL;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) return NULL;
    Cursor cursor = {.at = view.buf, .end = (const unsigned char *)view.buf + view.len};
    const unsigned char *start = cursor.at;
    for (int i = 0; i < lists; i++) list[i].table.start = start;
    bool read;
    if (list[0].key == NULL) {
        list[0].from = start;
        list[0].to = cursor.end;
        read = read_rows(&list[0].table, &cursor);
    } else {
        read = read_members(list, lists, &cursor);
    }
    skip_space(&cursor);
    if (PyErr_Occurred()) goto end;
    if (!read || cursor.at != cursor.end || (cursor.high && !is_utf8(start, cursor.end))) {
        result = Py_NewRef(Py_None);
    } else if (single) {
        result = columns_of(&list[0]);
    } else {
        result = PyTuple_New(lists);
        for (int i = 0; result != NULL && i < lists; i++) {
            PyObject *one = columns_of(&list[i]);
            if (one == NULL || PyTuple_SetItem(result, i, one) < 0) Py_CLEAR(result);
        }
    }
end:
    PyBuffer_Release(&view);
    return result;
}

static bool read_key(List *list, PyObject *key) {
    Py_ssize_t length = 0;
    if (key == Py_None) return true;
    list->key = PyUnicode_AsUTF8AndSize(key, &length);
    list->length = (size_t)length;
    return list->key != NULL;
}

static PyObject *scan(PyObject *const *arguments, bool loose) {
    List *list = calloc(1, sizeof(List));
    PyObject *result = NULL;
    if (list == NULL) return PyErr_NoMemory();
    if (read_key(list, arguments[1]) && read_fields(&list->table, arguments[2])) {
        int others = loose ? 0 : PyObject_IsTrue(arguments[3]);
        list->table.others = others > 0;
        list->table.loose = loose;
        if (others >= 0) result = read_text(arguments[0], list, 1, true);
    }
    free_lists(list, 1);
    return result;
}

/* scan(data, key, fields, others) -> None, or (start, end, rows, columns).

   The text is a list of objects, or, where `key` is a str, an object that has the list under it. `fields`: (name, kind)
   pairs. Kinds: i int64 of a whole number under 2**53; f float64; b four of them, from -2**53 to 2**53; v where the value
   starts and ends, int64; s the same of the inside of a string without escapes; t a string; e an empty object; x any value;
   r a region. e, r and x may be marked `?`: they can be absent.
   `others`: keys that are no field are skipped. Columns come as bytearrays, None for e, t and x, and for r four: rows of four
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

/* scan_lists(data, lists) -> None, or a tuple of (start, end, rows, columns).

   As `scan` of an object with several lists, each given as (key, fields, others), in one pass. */
PyObject *native_scan_lists(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 2) return PyErr_Format(PyExc_TypeError, "scan_lists takes 2 arguments, not %zd", count);
    Py_ssize_t lists = PyTuple_Size(arguments[1]);
    if (lists < 0) return NULL;
    if (lists < 1 || lists > MOST_LISTS) return PyErr_Format(PyExc_ValueError, "%zd lists", lists);
    List *list = calloc((size_t)lists, sizeof(List));
    if (list == NULL) return PyErr_NoMemory();
    PyObject *result = NULL;
    for (Py_ssize_t i = 0; i < lists; i++) {
        PyObject *key, *fields;
        int others;
        PyObject *one = PyTuple_GetItem(arguments[1], i);
        if (one == NULL || !PyArg_ParseTuple(one, "UOp", &key, &fields, &others)) goto end;
        if (!read_key(&list[i], key) || !read_fields(&list[i].table, fields)) goto end;
        list[i].table.others = others;
    }
    result = read_text(arguments[0], list, (int)lists, false);
end:
    free_lists(list, (int)lists);
    return result;
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
