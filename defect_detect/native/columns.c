/* Columns from NumPy and back, grouping and stable sorting. */
#include "native.h"

static bool format_fits(const char *format, char kind) {
    if (format == NULL) return false;
    if (*format == '@' || *format == '=' || *format == '<') format++;
    if (format[0] == '\0' || format[1] != '\0') return false;
    switch (kind) {
        case 'i': return *format == 'l' || *format == 'q';
        case 'u': return *format == 'L' || *format == 'Q';
        case 'f': return *format == 'd';
        case 'b': return *format == '?';
        default: return false;
    }
}

void *open_column(Columns *columns, PyObject *object, char kind, Py_ssize_t rows, int width, bool writable) {
    static char nothing[8];
    if (columns->count == MOST_COLUMNS) {
        PyErr_SetString(PyExc_SystemError, "too many columns");
        return NULL;
    }
    Py_buffer *view = &columns->view[columns->count];
    int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(object, view, flags) < 0) return NULL;
    columns->count++;
    Py_ssize_t size = kind == 'b' ? 1 : 8;
    if (view->itemsize != size || !format_fits(view->format, kind)) {
        PyErr_Format(PyExc_TypeError, "argument %d: not a column of the kind '%c'", columns->count, kind);
        return NULL;
    }
    if (view->len % (size * width) != 0 || (rows >= 0 && view->len / (size * width) != rows)) {
        PyErr_Format(PyExc_ValueError, "argument %d: %zd bytes where %zd rows of %d were expected", columns->count,
                     view->len, rows, width);
        return NULL;
    }
    return view->len == 0 ? nothing : view->buf;
}

Py_ssize_t rows_of(const Columns *columns, int width) {
    const Py_buffer *view = &columns->view[columns->count - 1];
    return view->len / (view->itemsize * width);
}

void close_columns(Columns *columns) {
    while (columns->count > 0) PyBuffer_Release(&columns->view[--columns->count]);
}

bool within(const int64_t *values, Py_ssize_t count, int64_t limit, const char *name) {
    for (Py_ssize_t row = 0; row < count; row++) {
        if (values[row] < 0 || values[row] >= limit) {
            PyErr_Format(PyExc_ValueError, "%s %lld in row %zd, expected 0 to %lld", name, (long long)values[row], row,
                         (long long)limit - 1);
            return false;
        }
    }
    return true;
}

bool group_rows(Groups *groups, const int64_t *key, Py_ssize_t count, int64_t keys) {
    groups->start = NULL;
    groups->rows = NULL;
    if (keys < 0 || keys > INT64_MAX / 16) {
        PyErr_SetString(PyExc_ValueError, "a number of groups that can't be");
        return false;
    }
    groups->start = calloc((size_t)keys + 2, sizeof(int64_t));
    groups->rows = malloc(((size_t)count + 1) * sizeof(int64_t));
    if (groups->start == NULL || groups->rows == NULL) {
        free_groups(groups);
        PyErr_NoMemory();
        return false;
    }
    /* start[k + 2] counts; after the running sum start[k + 1] is where key k begins, and ends up where it ends. */
    int64_t *place = groups->start + 1;
    for (Py_ssize_t row = 0; row < count; row++)
        if (key[row] + 1 < keys) place[key[row] + 1]++;
    for (int64_t k = 1; k < keys; k++) place[k] += place[k - 1];
    for (Py_ssize_t row = 0; row < count; row++) groups->rows[place[key[row]]++] = row;
    return true;
}

void free_groups(Groups *groups) {
    free(groups->start);
    free(groups->rows);
    groups->start = NULL;
    groups->rows = NULL;
}

/* Whether row b must stand before row a. False for equals and for what can't be compared. */
static bool later(const Keys *keys, int64_t a, int64_t b) {
    if (keys->label != NULL && keys->label[a] != keys->label[b]) return keys->label[b] < keys->label[a];
    if (keys->score != NULL) {
        if (keys->score[b] > keys->score[a]) return true;
        if (keys->score[b] < keys->score[a]) return false;
    }
    const double *first = keys->box + 4 * a, *second = keys->box + 4 * b;
    for (int side = 0; side < 4; side++) {
        if (second[side] < first[side]) return true;
        if (second[side] > first[side]) return false;
    }
    return keys->last != NULL && keys->last[b] < keys->last[a];
}

void sort_rows(int64_t *rows, int64_t *spare, Py_ssize_t count, const Keys *keys) {
    if (count <= 16) {
        for (Py_ssize_t i = 1; i < count; i++) {
            int64_t row = rows[i];
            Py_ssize_t j = i;
            for (; j > 0 && later(keys, rows[j - 1], row); j--) rows[j] = rows[j - 1];
            rows[j] = row;
        }
        return;
    }
    Py_ssize_t half = count / 2;
    sort_rows(rows, spare, half, keys);
    sort_rows(rows + half, spare, count - half, keys);
    if (!later(keys, rows[half - 1], rows[half])) return;
    memcpy(spare, rows, (size_t)half * sizeof(int64_t));
    Py_ssize_t left = 0, right = half, to = 0;
    while (left < half && right < count) rows[to++] = later(keys, spare[left], rows[right]) ? rows[right++] : spare[left++];
    while (left < half) rows[to++] = spare[left++];
}

#define LARGE (1 << 18)

bool reserve(Buffer *buffer, size_t more) {
    if (more <= buffer->room - buffer->used) return true;
    size_t room = buffer->room < 4096 ? 4096 : buffer->room;
    while (room - buffer->used < more) {
        if (room > (size_t)PY_SSIZE_T_MAX / 4) {
            PyErr_NoMemory();
            return false;
        }
        room *= 2;
    }
    if (buffer->owner != NULL || room >= LARGE) {
        /* Large storage is a bytearray from the beginning, which saves a copy of it. */
        if (buffer->owner == NULL) {
            PyObject *owner = PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)room);
            if (owner == NULL) return false;
            if (buffer->used > 0) memcpy(PyByteArray_AsString(owner), buffer->data, buffer->used);
            free(buffer->data);
            buffer->owner = owner;
        } else if (PyByteArray_Resize(buffer->owner, (Py_ssize_t)room) < 0) {
            return false;
        }
        buffer->data = PyByteArray_AsString(buffer->owner);
        buffer->room = room;
        return true;
    }
    char *data = realloc(buffer->data, room);
    if (data == NULL) {
        PyErr_NoMemory();
        return false;
    }
    buffer->data = data;
    buffer->room = room;
    return true;
}

void release(Buffer *buffer) {
    if (buffer->owner == NULL) free(buffer->data);
    Py_CLEAR(buffer->owner);
    buffer->data = NULL;
    buffer->used = buffer->room = 0;
}

/* The buffer is empty afterwards. */
PyObject *as_bytearray(Buffer *buffer) {
    PyObject *result = NULL;
    if (buffer->owner == NULL) {
        result = PyByteArray_FromStringAndSize(buffer->data == NULL ? "" : buffer->data, (Py_ssize_t)buffer->used);
    } else if (PyByteArray_Resize(buffer->owner, (Py_ssize_t)buffer->used) == 0) {
        result = buffer->owner;
        buffer->owner = NULL;
        buffer->data = NULL;
    }
    release(buffer);
    return result;
}
