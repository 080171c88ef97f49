/* Strings that stand in a text, as Python has them. */
#include "native.h"

/* Where strings start and end in the text: every pair within it, or an exception is set. */
static const int64_t *open_places(Columns *columns, PyObject *object, const char **text, Py_ssize_t *length, PyObject *data) {
    PyObject *bytes = data;
    char *start;
    if (PyBytes_AsStringAndSize(bytes, &start, length) < 0) return NULL;
    *text = start;
    const int64_t *place = open_column(columns, object, 'i', -1, 2, false);
    if (place == NULL) return NULL;
    for (Py_ssize_t row = 0; row < rows_of(columns, 2); row++) {
        if (place[2 * row] < 0 || place[2 * row] > place[2 * row + 1] || place[2 * row + 1] > *length) {
            PyErr_Format(PyExc_ValueError, "row %zd lies outside the text", row);
            return NULL;
        }
    }
    return place;
}

/* texts(data, places, prefix) -> a tuple of str: the prefix, then what stands in the bytes from place[row, 0] to
   place[row, 1] (int64). */
PyObject *native_texts(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 3) return PyErr_Format(PyExc_TypeError, "texts takes 3 arguments, not %zd", count);
    Columns columns = {0};
    Buffer joined = {0};
    PyObject *result = NULL;
    const char *text, *prefix;
    Py_ssize_t length, before;
    const int64_t *place = open_places(&columns, arguments[1], &text, &length, arguments[0]);
    if (place == NULL || !(prefix = PyUnicode_AsUTF8AndSize(arguments[2], &before))) goto end;
    Py_ssize_t rows = rows_of(&columns, 2);
    if (!(result = PyTuple_New(rows))) goto end;
    for (Py_ssize_t row = 0; row < rows; row++) {
        size_t own = (size_t)(place[2 * row + 1] - place[2 * row]);
        joined.used = 0;
        if (!reserve(&joined, (size_t)before + own + 1)) goto failed;
        memcpy(joined.data, prefix, (size_t)before);
        memcpy(joined.data + before, text + place[2 * row], own);
        PyObject *one = PyUnicode_FromStringAndSize(joined.data, before + (Py_ssize_t)own);
        if (one == NULL || PyTuple_SetItem(result, row, one) < 0) goto failed;
    }
    goto end;
failed:
    Py_CLEAR(result);
end:
    release(&joined);
    close_columns(&columns);
    return result;
}

/* wide(data, places) -> (width, bytearray): the strings as NumPy keeps them, `width` UCS4 characters each, at least 1.
   None: one isn't ASCII. */
PyObject *native_wide(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 2) return PyErr_Format(PyExc_TypeError, "wide takes 2 arguments, not %zd", count);
    Columns columns = {0};
    PyObject *result = NULL;
    const char *text;
    Py_ssize_t length, width = 1;
    const int64_t *place = open_places(&columns, arguments[1], &text, &length, arguments[0]);
    if (place == NULL) goto end;
    Py_ssize_t rows = rows_of(&columns, 2);
    for (Py_ssize_t row = 0; row < rows; row++)
        if (place[2 * row + 1] - place[2 * row] > width) width = (Py_ssize_t)(place[2 * row + 1] - place[2 * row]);
    if (rows > PY_SSIZE_T_MAX / 8 / width) {
        PyErr_NoMemory();
        goto end;
    }
    PyObject *array = PyByteArray_FromStringAndSize(NULL, rows * width * 4);
    if (array == NULL) goto end;
    char *to = PyByteArray_AsString(array);
    unsigned char all = 0;
    for (Py_ssize_t row = 0; row < rows; row++) {
        Py_ssize_t own = (Py_ssize_t)(place[2 * row + 1] - place[2 * row]);
        const unsigned char *from = (const unsigned char *)text + place[2 * row];
        for (Py_ssize_t i = 0; i < own; i++) {
            uint32_t sign = from[i];
            all |= from[i];
            memcpy(to + 4 * i, &sign, 4);
        }
        memset(to + 4 * own, 0, (size_t)(4 * (width - own)));
        to += 4 * width;
    }
    if (all < 0x80) {
        result = Py_BuildValue("(nN)", width, array);
    } else {
        Py_DECREF(array);
        result = Py_NewRef(Py_None);
    }
end:
    close_columns(&columns);
    return result;
}

/* equal_texts(data, places, others) -> whether each two strings are equal. */
PyObject *native_equal_texts(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 3) return PyErr_Format(PyExc_TypeError, "equal_texts takes 3 arguments, not %zd", count);
    Columns columns = {0};
    PyObject *result = NULL;
    const char *text;
    Py_ssize_t length;
    const int64_t *place = open_places(&columns, arguments[1], &text, &length, arguments[0]);
    if (place == NULL) goto end;
    Py_ssize_t rows = rows_of(&columns, 2);
    const int64_t *other = open_places(&columns, arguments[2], &text, &length, arguments[0]);
    if (other == NULL) goto end;
    bool equal = rows == rows_of(&columns, 2);
    for (Py_ssize_t row = 0; equal && row < rows; row++) {
        int64_t own = place[2 * row + 1] - place[2 * row];
        equal = own == other[2 * row + 1] - other[2 * row] &&
                memcmp(text + place[2 * row], text + other[2 * row], (size_t)own) == 0;
    }
    result = Py_NewRef(equal ? Py_True : Py_False);
end:
    close_columns(&columns);
    return result;
}

/* Whether a name leads to a file below its folder: no part is empty, `.` or `..`, and no sign is unusual. */
static bool leads_inside(const char *name, size_t length) {
    size_t part = 0;
    for (size_t at = 0; at <= length; at++) {
        if (at < length && name[at] != '/') {
            if ((unsigned char)name[at] < 0x20 || name[at] == 0x7F || name[at] == '\\') return false;
            continue;
        }
        size_t own = at - part;
        if (own == 0 || (own == 1 && name[part] == '.') || (own == 2 && name[part] == '.' && name[part + 1] == '.')) return false;
        part = at + 1;
    }
    return true;
}

/* lead_inside(data, places) -> 0: a string isn't the name of a file below a folder; 2: all are, and each sorts behind the
   one before it, so that none occurs twice; 1: they aren't sorted. */
PyObject *native_lead_inside(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 2) return PyErr_Format(PyExc_TypeError, "lead_inside takes 2 arguments, not %zd", count);
    Columns columns = {0};
    PyObject *result = NULL;
    const char *text;
    Py_ssize_t length;
    const int64_t *place = open_places(&columns, arguments[1], &text, &length, arguments[0]);
    if (place == NULL) goto end;
    Py_ssize_t rows = rows_of(&columns, 2);
    bool inside = true, sorted = true;
    size_t before = 0;
    for (Py_ssize_t row = 0; inside && row < rows; row++) {
        const char *name = text + place[2 * row];
        size_t own = (size_t)(place[2 * row + 1] - place[2 * row]);
        inside = leads_inside(name, own);
        if (sorted && row > 0) {
            int order = memcmp(text + place[2 * row - 2], name, before < own ? before : own);
            sorted = order < 0 || (order == 0 && before < own);
        }
        before = own;
    }
    result = PyLong_FromLong(!inside ? 0 : sorted ? 2 : 1);
end:
    close_columns(&columns);
    return result;
}
