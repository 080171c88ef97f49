/* COCO's assignment over pairs that overlap (`evaluation.matching.assign`). */
#include "native.h"

typedef struct {
    const int64_t *prediction, *defect;
    const double *overlap;
    const int64_t *image, *label;
    const double *score, *box;
    const int64_t *other_label;
    const double *other_box;
    const bool *counts;
} Scene;

static inline int sign(double a, double b) { return (a > b) - (a < b); }

/* Whether the prediction a has its turn after b (> 0): by image, descending score, box, label, row. */
static int turn(const Scene *scene, int64_t a, int64_t b) {
    if (a == b) return 0;
    if (scene->image[a] != scene->image[b]) return scene->image[a] > scene->image[b] ? 1 : -1;
    int order = sign(scene->score[b], scene->score[a]);
    for (int side = 0; side < 4 && order == 0; side++) order = sign(scene->box[4 * a + side], scene->box[4 * b + side]);
    if (order == 0 && scene->label[a] != scene->label[b]) order = scene->label[a] > scene->label[b] ? 1 : -1;
    return order != 0 ? order : a > b ? 1 : -1;
}

/* Whether pair b stands before pair a: by the turn of the prediction; a defect that counts first, then the highest
   overlap, of equals the last in content order. */
static bool later(const Scene *scene, int64_t a, int64_t b) {
    int order = turn(scene, scene->prediction[a], scene->prediction[b]);
    if (order != 0) return order > 0;
    int64_t one = scene->defect[a], other = scene->defect[b];
    if (scene->counts[one] != scene->counts[other]) return scene->counts[other];
    order = sign(scene->overlap[b], scene->overlap[a]);
    for (int side = 0; side < 4 && order == 0; side++)
        order = sign(scene->other_box[4 * other + side], scene->other_box[4 * one + side]);
    if (order != 0) return order > 0;
    if (scene->other_label[one] != scene->other_label[other]) return scene->other_label[other] > scene->other_label[one];
    return other > one;
}

/* Stable; quick where the rows are nearly in order, which they mostly are. */
static void sort_pairs(int64_t *rows, int64_t *spare, Py_ssize_t count, const Scene *scene) {
    if (count <= 12) {
        for (Py_ssize_t i = 1; i < count; i++) {
            int64_t row = rows[i];
            Py_ssize_t j = i;
            for (; j > 0 && later(scene, rows[j - 1], row); j--) rows[j] = rows[j - 1];
            rows[j] = row;
        }
        return;
    }
    Py_ssize_t half = count / 2;
    sort_pairs(rows, spare, half, scene);
    sort_pairs(rows + half, spare, count - half, scene);
    if (!later(scene, rows[half - 1], rows[half])) return;
    memcpy(spare, rows, (size_t)half * sizeof(int64_t));
    Py_ssize_t left = 0, right = half, to = 0;
    while (left < half && right < count) rows[to++] = later(scene, spare[left], rows[right]) ? rows[right++] : spare[left++];
    while (left < half) rows[to++] = spare[left++];
}

/* assign(pairs, ours, theirs, least, by_label, prediction_of, defect_of, absorbed, iou, found_at)

   pairs: prediction, defect int64 and overlap float64, each (M,). ours: image, label int64, score float64 (P,), box (P, 4).
   theirs: label int64, box (G, 4), crowd and counts bool (G,). Pairs that overlap less than `least`, or with `by_label`
   are of two labels, are passed over. Fills for each defect: prediction_of int64 (-1: none), iou (0) and found_at (-inf)
   float64; for each prediction: defect_of int64 (-1) and absorbed bool. */
PyObject *native_assign(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 10) return PyErr_Format(PyExc_TypeError, "assign takes 10 arguments, not %zd", count);
    PyObject *pair[3], *our[4], *their[4];
    if (!PyArg_ParseTuple(arguments[0], "OOO", &pair[0], &pair[1], &pair[2])) return NULL;
    if (!PyArg_ParseTuple(arguments[1], "OOOO", &our[0], &our[1], &our[2], &our[3])) return NULL;
    if (!PyArg_ParseTuple(arguments[2], "OOOO", &their[0], &their[1], &their[2], &their[3])) return NULL;
    Columns columns = {0};
    Scene scene = {0};
    PyObject *result = NULL;
    int64_t *rows = NULL, *spare = NULL, *prediction_of, *defect_of;
    bool *taken = NULL, *absorbed;
    const bool *crowd;
    double *iou, *found_at;
    if (!(scene.prediction = open_column(&columns, pair[0], 'i', -1, 1, false))) goto end;
    Py_ssize_t pairs = rows_of(&columns, 1);
    if (!(scene.defect = open_column(&columns, pair[1], 'i', pairs, 1, false))) goto end;
    if (!(scene.overlap = open_column(&columns, pair[2], 'f', pairs, 1, false))) goto end;
    if (!(scene.image = open_column(&columns, our[0], 'i', -1, 1, false))) goto end;
    Py_ssize_t predictions = rows_of(&columns, 1);
    if (!(scene.label = open_column(&columns, our[1], 'i', predictions, 1, false))) goto end;
    if (!(scene.score = open_column(&columns, our[2], 'f', predictions, 1, false))) goto end;
    if (!(scene.box = open_column(&columns, our[3], 'f', predictions, 4, false))) goto end;
    if (!(scene.other_label = open_column(&columns, their[0], 'i', -1, 1, false))) goto end;
    Py_ssize_t defects = rows_of(&columns, 1);
    if (!(scene.other_box = open_column(&columns, their[1], 'f', defects, 4, false))) goto end;
    if (!(crowd = open_column(&columns, their[2], 'b', defects, 1, false))) goto end;
    if (!(scene.counts = open_column(&columns, their[3], 'b', defects, 1, false))) goto end;
    double least = PyFloat_AsDouble(arguments[3]);
    int by_label = PyObject_IsTrue(arguments[4]);
    if (PyErr_Occurred()) goto end;
    if (!(prediction_of = open_column(&columns, arguments[5], 'i', defects, 1, true))) goto end;
    if (!(defect_of = open_column(&columns, arguments[6], 'i', predictions, 1, true))) goto end;
    if (!(absorbed = open_column(&columns, arguments[7], 'b', predictions, 1, true))) goto end;
    if (!(iou = open_column(&columns, arguments[8], 'f', defects, 1, true))) goto end;
    if (!(found_at = open_column(&columns, arguments[9], 'f', defects, 1, true))) goto end;
    if (!within(scene.prediction, pairs, predictions, "prediction")) goto end;
    if (!within(scene.defect, pairs, defects, "defect")) goto end;
    rows = malloc(((size_t)pairs + 1) * sizeof(int64_t));
    spare = malloc(((size_t)pairs + 1) * sizeof(int64_t));
    taken = calloc((size_t)defects + 1, sizeof(bool));
    if (rows == NULL || spare == NULL || taken == NULL) {
        PyErr_NoMemory();
        goto end;
    }
    Py_ssize_t close = 0;
    for (Py_ssize_t i = 0; i < pairs; i++) {
        bool alike = !by_label || scene.label[scene.prediction[i]] == scene.other_label[scene.defect[i]];
        if (alike && scene.overlap[i] >= least) rows[close++] = i;
    }
    sort_pairs(rows, spare, close, &scene);
    for (Py_ssize_t row = 0; row < defects; row++) {
        prediction_of[row] = -1;
        iou[row] = 0;
        found_at[row] = -Py_HUGE_VAL;
    }
    for (Py_ssize_t row = 0; row < predictions; row++) {
        defect_of[row] = -1;
        absorbed[row] = false;
    }
    int64_t busy = -1;
    for (Py_ssize_t i = 0; i < close; i++) {
        int64_t said = scene.prediction[rows[i]], found = scene.defect[rows[i]];
        if (said == busy || taken[found]) continue;
        busy = said;
        taken[found] = !crowd[found];
        if (!scene.counts[found]) {
            absorbed[said] = true;
            continue;
        }
        prediction_of[found] = said;
        defect_of[said] = found;
        iou[found] = scene.overlap[rows[i]];
        found_at[found] = scene.score[said];
    }
    result = Py_NewRef(Py_None);
end:
    free(rows);
    free(spare);
    free(taken);
    close_columns(&columns);
    return result;
}
