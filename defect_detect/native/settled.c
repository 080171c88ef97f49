/* What a split's file and a file of results promise, checked row by row; what isn't so is left to Python, which explains. */
#include "native.h"

#define WIDEST 64 /* A table by id is made while it is at most so many times as long as there are ids. */
#define EDGE 1e-6 /* px by which x + width may round past the edge, as in data/soundness.py */
#define MOST_ID ((int64_t)1 << 62)
#define MOST_SIDE ((int64_t)1 << 31)

typedef struct {
    int64_t low;
    int64_t span;
    int32_t *row; /* of each id from `low` on, or -1 */
} Ids;

/* 1; 0 where the ids lie too far apart or one occurs twice; -1 with an exception. */
static int open_ids(Ids *table, const int64_t *ids, Py_ssize_t count) {
    table->row = NULL;
    if (count > INT32_MAX / 2) return 0;
    int64_t low = count > 0 ? ids[0] : 0, high = low;
    for (Py_ssize_t row = 1; row < count; row++) {
        if (ids[row] < low) low = ids[row];
        if (ids[row] > high) high = ids[row];
    }
    if (low < -MOST_ID || high > MOST_ID || high - low >= WIDEST * ((int64_t)count + 16)) return 0;
    table->low = low;
    table->span = high - low + 1;
    table->row = malloc((size_t)table->span * sizeof(int32_t));
    if (table->row == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memset(table->row, 0xFF, (size_t)table->span * sizeof(int32_t));
    for (Py_ssize_t row = 0; row < count; row++) {
        if (table->row[ids[row] - low] >= 0) return 0;
        table->row[ids[row] - low] = (int32_t)row;
    }
    return 1;
}

static inline int64_t row_of(const Ids *table, int64_t id) {
    if (id < table->low || id - table->low >= table->span) return -1;
    return table->row[id - table->low];
}

/* rows_of(known, asked, rows) -> whether all `asked` are among the ids `known`, whose rows then fill `rows`. None: the ids
   known lie far apart, or one occurs twice. */
PyObject *native_rows_of(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 3) return PyErr_Format(PyExc_TypeError, "rows_of takes 3 arguments, not %zd", count);
    Columns columns = {0};
    Ids table = {0};
    PyObject *result = NULL;
    const int64_t *known, *asked;
    int64_t *rows;
    if (!(known = open_column(&columns, arguments[0], 'i', -1, 1, false))) goto end;
    Py_ssize_t many = rows_of(&columns, 1);
    if (!(asked = open_column(&columns, arguments[1], 'i', -1, 1, false))) goto end;
    Py_ssize_t wanted = rows_of(&columns, 1);
    if (!(rows = open_column(&columns, arguments[2], 'i', wanted, 1, true))) goto end;
    int opened = open_ids(&table, known, many);
    if (opened < 0) goto end;
    if (opened == 0) {
        result = Py_NewRef(Py_None);
        goto end;
    }
    int64_t least = 0;
    for (Py_ssize_t i = 0; i < wanted; i++) {
        rows[i] = row_of(&table, asked[i]);
        least = rows[i] < least ? rows[i] : least;
    }
    result = Py_NewRef(least < 0 ? Py_False : Py_True);
end:
    free(table.row);
    close_columns(&columns);
    return result;
}

/* same_ids(ids, column) -> whether the tuple's items are ints, none of a class of its own, equal to the column (N,) int64. */
PyObject *native_same_ids(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 2) return PyErr_Format(PyExc_TypeError, "same_ids takes 2 arguments, not %zd", count);
    Columns columns = {0};
    PyObject *result = NULL;
    Py_ssize_t many = PyTuple_Size(arguments[0]);
    if (many < 0) return NULL;
    const int64_t *id = open_column(&columns, arguments[1], 'i', many, 1, false);
    if (id == NULL) goto end;
    bool same = true;
    for (Py_ssize_t row = 0; same && row < many; row++) {
        PyObject *one = PyTuple_GetItem(arguments[0], row);
        int over = 0;
        same = PyLong_CheckExact(one) && PyLong_AsLongLongAndOverflow(one, &over) == id[row] && over == 0;
    }
    result = Py_NewRef(same ? Py_True : Py_False);
end:
    close_columns(&columns);
    return result;
}

/* said_right(box, score) -> whether no width or height is negative and all scores lie in [0, 1]; if so x y width height
   have become x0 y0 x1 y1. */
PyObject *native_said_right(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 2) return PyErr_Format(PyExc_TypeError, "said_right takes 2 arguments, not %zd", count);
    Columns columns = {0};
    PyObject *result = NULL;
    const double *score;
    double *box = open_column(&columns, arguments[0], 'f', -1, 4, true);
    if (box == NULL) goto end;
    Py_ssize_t rows = rows_of(&columns, 4);
    if (!(score = open_column(&columns, arguments[1], 'f', rows, 1, false))) goto end;
    bool right = true;
    for (Py_ssize_t row = 0; row < rows; row++)
        right &= box[4 * row + 2] >= 0 && box[4 * row + 3] >= 0 && score[row] >= 0 && score[row] <= 1;
    for (Py_ssize_t row = 0; right && row < rows; row++) {
        box[4 * row + 2] += box[4 * row];
        box[4 * row + 3] += box[4 * row + 1];
    }
    result = Py_NewRef(right ? Py_True : Py_False);
end:
    close_columns(&columns);
    return result;
}

typedef struct {
    const int64_t *id, *image_id, *category_id, *iscrowd, *ignore;
    const double *area;
    Py_ssize_t rows;
    int64_t classes;
} Annotations;

/* Whether an annotation is as it should be; its box x y width height becomes x0 y0 x1 y1. */
static inline bool settle_row(const Annotations *given, Py_ssize_t row, const int64_t *size, double *box) {
    if (given->id[row] < 1 || given->category_id[row] < 1 || given->category_id[row] > given->classes) return false;
    if ((given->iscrowd[row] | given->ignore[row] | 1) != 1) return false;
    if (!(given->area[row] >= 0 && given->area[row] - given->area[row] == 0)) return false;
    for (int axis = 0; axis < 2; axis++) {
        double from = box[axis], to = box[2 + axis] + box[axis], edge = (double)size[axis];
        if (!(from >= 0 && box[2 + axis] > 0 && to <= edge + EDGE)) return false;
        to = to < edge ? to : edge;
        if (!(to > from)) return false;
        box[2 + axis] = to;
    }
    return true;
}

/* settle(ids, width, height, classes, id, image_id, category_id, iscrowd, ignore, area, box, size, row, label, crowd, ignored)
   -> whether pictures and annotations are all as a split's should be, with ids that lie close together.

   Pictures (N,): ids, width, height int64; fills size (N, 2) int64. Annotations (G,): id, image_id, category_id, iscrowd,
   ignore int64, area float64, box (G, 4) float64, x y width height, which become x0 y0 x1 y1; fills row (of the picture)
   and label int64, crowd and ignored bool. */
PyObject *native_settle(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 16) return PyErr_Format(PyExc_TypeError, "settle takes 16 arguments, not %zd", count);
    Columns columns = {0};
    Ids pictures = {0}, own = {0};
    PyObject *result = NULL;
    const int64_t *ids, *width, *height;
    int64_t *size, *row, *label;
    double *box;
    bool *crowd, *ignored;
    Annotations given = {0};
    if (!(ids = open_column(&columns, arguments[0], 'i', -1, 1, false))) goto end;
    Py_ssize_t images = rows_of(&columns, 1);
    if (!(width = open_column(&columns, arguments[1], 'i', images, 1, false))) goto end;
    if (!(height = open_column(&columns, arguments[2], 'i', images, 1, false))) goto end;
    given.classes = PyLong_AsLongLong(arguments[3]);
    if (PyErr_Occurred()) goto end;
    if (!(given.id = open_column(&columns, arguments[4], 'i', -1, 1, false))) goto end;
    Py_ssize_t rows = given.rows = rows_of(&columns, 1);
    if (!(given.image_id = open_column(&columns, arguments[5], 'i', rows, 1, false))) goto end;
    if (!(given.category_id = open_column(&columns, arguments[6], 'i', rows, 1, false))) goto end;
    if (!(given.iscrowd = open_column(&columns, arguments[7], 'i', rows, 1, false))) goto end;
    if (!(given.ignore = open_column(&columns, arguments[8], 'i', rows, 1, false))) goto end;
    if (!(given.area = open_column(&columns, arguments[9], 'f', rows, 1, false))) goto end;
    if (!(box = open_column(&columns, arguments[10], 'f', rows, 4, true))) goto end;
    if (!(size = open_column(&columns, arguments[11], 'i', images, 2, true))) goto end;
    if (!(row = open_column(&columns, arguments[12], 'i', rows, 1, true))) goto end;
    if (!(label = open_column(&columns, arguments[13], 'i', rows, 1, true))) goto end;
    if (!(crowd = open_column(&columns, arguments[14], 'b', rows, 1, true))) goto end;
    if (!(ignored = open_column(&columns, arguments[15], 'b', rows, 1, true))) goto end;
    int opened = open_ids(&pictures, ids, images);
    if (opened > 0) opened = open_ids(&own, given.id, rows);
    if (opened < 0) goto end;
    bool right = opened > 0;
    for (Py_ssize_t image = 0; right && image < images; image++) {
        right = ids[image] > 0 && width[image] > 0 && width[image] < MOST_SIDE && height[image] > 0 && height[image] < MOST_SIDE;
        size[2 * image] = width[image];
        size[2 * image + 1] = height[image];
    }
    for (Py_ssize_t at = 0; right && at < rows; at++) {
        row[at] = row_of(&pictures, given.image_id[at]);
        right = row[at] >= 0 && settle_row(&given, at, size + 2 * row[at], box + 4 * at);
        label[at] = given.category_id[at] - 1;
        crowd[at] = given.iscrowd[at] != 0;
        ignored[at] = given.ignore[at] != 0;
    }
    result = Py_NewRef(right ? Py_True : Py_False);
end:
    free(pictures.row);
    free(own.row);
    close_columns(&columns);
    return result;
}
