/* Defects in one order, whatever order they are listed in (`data.ordering`). */
#include "native.h"

static bool alike(const double *first, const double *second) {
    for (int side = 0; side < 4; side++)
        if (first[side] != second[side]) return false;
    return true;
}

/* order_rows(place, label, box, places, order, again): fills `order` with the rows by place, label and box, ascending
   and stable, and `again` with whether each is like the one before it in that order. */
PyObject *native_order_rows(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 6) return PyErr_Format(PyExc_TypeError, "order_rows takes 6 arguments, not %zd", count);
    Columns columns = {0};
    Groups images = {0};
    int64_t *spare = NULL;
    PyObject *result = NULL;
    const int64_t *place, *label;
    const double *box;
    int64_t *order;
    bool *again;
    if (!(place = open_column(&columns, arguments[0], 'i', -1, 1, false))) goto end;
    Py_ssize_t rows = rows_of(&columns, 1);
    if (!(label = open_column(&columns, arguments[1], 'i', rows, 1, false))) goto end;
    if (!(box = open_column(&columns, arguments[2], 'f', rows, 4, false))) goto end;
    long long places = PyLong_AsLongLong(arguments[3]);
    if (places == -1 && PyErr_Occurred()) goto end;
    if (!(order = open_column(&columns, arguments[4], 'i', rows, 1, true))) goto end;
    if (!(again = open_column(&columns, arguments[5], 'b', rows, 1, true))) goto end;
    if (!within(place, rows, places, "place")) goto end;
    spare = malloc(((size_t)rows + 1) * sizeof(int64_t));
    if (spare == NULL) {
        PyErr_NoMemory();
        goto end;
    }
    if (!group_rows(&images, place, rows, places)) goto end;
    const Keys keys = {.label = label, .box = box};
    for (int64_t image = 0; image < places; image++) {
        int64_t from = images.start[image], to = images.start[image + 1];
        sort_rows(images.rows + from, spare, (Py_ssize_t)(to - from), &keys);
        for (int64_t at = from; at < to; at++) {
            int64_t row = images.rows[at], before = at > from ? images.rows[at - 1] : -1;
            order[at] = row;
            again[at] = before >= 0 && label[row] == label[before] && alike(box + 4 * row, box + 4 * before);
        }
    }
    result = Py_NewRef(Py_None);
end:
    free_groups(&images);
    free(spare);
    close_columns(&columns);
    return result;
}
