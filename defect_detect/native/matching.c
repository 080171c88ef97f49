/* The two inner steps of matching (`evaluation.kernels`): which boxes overlap, and who gets whom. */
#include "native.h"

static double area(const double *box) { return (box[2] - box[0]) * (box[3] - box[1]); }

/* IoU, or for a crowd the share of the prediction's area; 0 where nothing is shared. */
static double overlap(const double *ours, const double *theirs, bool crowd) {
    double width = (ours[2] < theirs[2] ? ours[2] : theirs[2]) - (ours[0] > theirs[0] ? ours[0] : theirs[0]);
    double height = (ours[3] < theirs[3] ? ours[3] : theirs[3]) - (ours[1] > theirs[1] ? ours[1] : theirs[1]);
    if (!(width > 0) || !(height > 0)) return 0;
    double shared = width * height;
    if (!(shared > 0)) return 0;
    return shared / (crowd ? area(ours) : area(ours) + area(theirs) - shared);
}

/* greedy(prediction, defect, crowd, chosen): walk the pairs in their order, those of one prediction one after the other;
   chosen[row] says whether both were free. */
PyObject *native_greedy(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 4) return PyErr_Format(PyExc_TypeError, "greedy takes 4 arguments, not %zd", count);
    Columns columns = {0};
    PyObject *result = NULL;
    bool *taken = NULL, *chosen;
    const int64_t *prediction, *defect;
    const bool *crowd;
    if (!(prediction = open_column(&columns, arguments[0], 'i', -1, 1, false))) goto end;
    Py_ssize_t pairs = rows_of(&columns, 1);
    if (!(defect = open_column(&columns, arguments[1], 'i', pairs, 1, false))) goto end;
    if (!(crowd = open_column(&columns, arguments[2], 'b', -1, 1, false))) goto end;
    Py_ssize_t defects = rows_of(&columns, 1);
    if (!(chosen = open_column(&columns, arguments[3], 'b', pairs, 1, true))) goto end;
    if (!within(defect, pairs, defects, "defect")) goto end;
    taken = calloc((size_t)defects + 1, sizeof(bool));
    if (taken == NULL) {
        PyErr_NoMemory();
        goto end;
    }
    bool busy = false;
    for (Py_ssize_t row = 0; row < pairs; row++) {
        if (row > 0 && prediction[row] != prediction[row - 1]) busy = false;
        chosen[row] = !busy && !taken[defect[row]];
        if (chosen[row]) {
            busy = true;
            taken[defect[row]] = !crowd[defect[row]];
        }
    }
    result = Py_NewRef(Py_None);
end:
    free(taken);
    close_columns(&columns);
    return result;
}

typedef struct {
    const double *ours;
    const double *theirs;
    const bool *crowd;
} Boxes;

/* Add the pairs of prediction `row` and each of `many` defects that overlap by `least` or more. */
static bool add_near(Buffer *out, const Boxes *boxes, int64_t row, const int64_t *by, int64_t many, double least) {
    for (int64_t at = 0; at < many; at++) {
        int64_t defect = by[at];
        double found = overlap(boxes->ours + 4 * row, boxes->theirs + 4 * defect, boxes->crowd[defect]);
        if (!(found > 0) || !(found >= least)) continue;
        for (int i = 0; i < 3; i++)
            if (out[i].room - out[i].used < 8 && !reserve(&out[i], 8)) return false;
        memcpy(out[0].data + out[0].used, &row, 8);
        memcpy(out[1].data + out[1].used, &defect, 8);
        memcpy(out[2].data + out[2].used, &found, 8);
        for (int i = 0; i < 3; i++) out[i].used += 8;
    }
    return true;
}

/* near(ours, theirs, crowd, first, count, by, least) -> bytearrays of prediction (int64, ascending), defect (int64) and
   overlap (float64 > 0 and >= least). Prediction p is held against by[first[p]] to by[first[p] + count[p] - 1]. */
PyObject *native_near(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 7) return PyErr_Format(PyExc_TypeError, "near takes 7 arguments, not %zd", count);
    Columns columns = {0};
    Buffer out[3] = {{0}};
    PyObject *result = NULL;
    const int64_t *first, *many, *by;
    const double *ours, *theirs;
    const bool *crowd;
    if (!(ours = open_column(&columns, arguments[0], 'f', -1, 4, false))) goto end;
    Py_ssize_t predictions = rows_of(&columns, 4);
    if (!(theirs = open_column(&columns, arguments[1], 'f', -1, 4, false))) goto end;
    Py_ssize_t defects = rows_of(&columns, 4);
    if (!(crowd = open_column(&columns, arguments[2], 'b', defects, 1, false))) goto end;
    if (!(first = open_column(&columns, arguments[3], 'i', predictions, 1, false))) goto end;
    if (!(many = open_column(&columns, arguments[4], 'i', predictions, 1, false))) goto end;
    if (!(by = open_column(&columns, arguments[5], 'i', -1, 1, false))) goto end;
    Py_ssize_t listed = rows_of(&columns, 1);
    double least = PyFloat_AsDouble(arguments[6]);
    if (PyErr_Occurred()) goto end;
    if (!within(by, listed, defects, "defect")) goto end;
    const Boxes boxes = {.ours = ours, .theirs = theirs, .crowd = crowd};
    for (int64_t row = 0; row < predictions; row++) {
        if (first[row] < 0 || many[row] < 0 || first[row] > listed || many[row] > listed - first[row]) {
            PyErr_Format(PyExc_ValueError, "row %lld is held against rows past the end", (long long)row);
            goto end;
        }
        if (!add_near(out, &boxes, row, by + first[row], many[row], least)) goto end;
    }
    result = Py_BuildValue("(NNN)", as_bytearray(&out[0]), as_bytearray(&out[1]), as_bytearray(&out[2]));
end:
    for (int i = 0; i < 3; i++) release(&out[i]);
    close_columns(&columns);
    return result;
}

/* near_alike(ours, theirs, crowd, image, label, other_image, other_label, images, classes, least) -> as `near`, each
   prediction held against the defects of its image and label, in ascending order. */
PyObject *native_near_alike(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 10) return PyErr_Format(PyExc_TypeError, "near_alike takes 10 arguments, not %zd", count);
    Columns columns = {0};
    Buffer out[3] = {{0}};
    Groups groups = {0};
    int64_t *key = NULL;
    PyObject *result = NULL;
    Boxes boxes = {0};
    const int64_t *image, *label, *other_image, *other_label;
    if (!(boxes.ours = open_column(&columns, arguments[0], 'f', -1, 4, false))) goto end;
    Py_ssize_t predictions = rows_of(&columns, 4);
    if (!(boxes.theirs = open_column(&columns, arguments[1], 'f', -1, 4, false))) goto end;
    Py_ssize_t defects = rows_of(&columns, 4);
    if (!(boxes.crowd = open_column(&columns, arguments[2], 'b', defects, 1, false))) goto end;
    if (!(image = open_column(&columns, arguments[3], 'i', predictions, 1, false))) goto end;
    if (!(label = open_column(&columns, arguments[4], 'i', predictions, 1, false))) goto end;
    if (!(other_image = open_column(&columns, arguments[5], 'i', defects, 1, false))) goto end;
    if (!(other_label = open_column(&columns, arguments[6], 'i', defects, 1, false))) goto end;
    long long images = PyLong_AsLongLong(arguments[7]), classes = PyLong_AsLongLong(arguments[8]);
    double least = PyFloat_AsDouble(arguments[9]);
    if (PyErr_Occurred()) goto end;
    if (images < 0 || classes < 0 || images > INT32_MAX || classes > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "more images or classes than can be");
        goto end;
    }
    if (!within(image, predictions, images, "image") || !within(label, predictions, classes, "label")) goto end;
    if (!within(other_image, defects, images, "image") || !within(other_label, defects, classes, "label")) goto end;
    key = malloc(((size_t)defects + 1) * sizeof(int64_t));
    if (key == NULL) {
        PyErr_NoMemory();
        goto end;
    }
    for (Py_ssize_t row = 0; row < defects; row++) key[row] = other_image[row] * classes + other_label[row];
    if (!group_rows(&groups, key, defects, images * classes)) goto end;
    for (Py_ssize_t row = 0; row < predictions; row++) {
        int64_t own = image[row] * classes + label[row];
        int64_t from = groups.start[own], to = groups.start[own + 1];
        if (to > from && !add_near(out, &boxes, row, groups.rows + from, to - from, least)) goto end;
    }
    result = Py_BuildValue("(NNN)", as_bytearray(&out[0]), as_bytearray(&out[1]), as_bytearray(&out[2]));
end:
    free(key);
    free_groups(&groups);
    for (int i = 0; i < 3; i++) release(&out[i]);
    close_columns(&columns);
    return result;
}
