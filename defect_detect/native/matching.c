/* COCO's assignment of predictions to defects, as `evaluation.matching` defines it, picture by picture. */
#include "native.h"

typedef struct {
    Py_ssize_t predictions, defects;
    const int64_t *image, *label, *defect_image, *defect_label;
    const double *box, *score, *defect_box;
    const bool *crowd, *counts;
    double least;
    bool class_aware;
    int64_t *defect_of;
    double *overlap;
} Scene;

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

static void match_image(const Scene *scene, const int64_t *said, Py_ssize_t many, const int64_t *true_, Py_ssize_t few,
                        bool *taken) {
    for (Py_ssize_t i = 0; i < many; i++) {
        int64_t prediction = said[i], best = -1;
        double most = 0;
        for (Py_ssize_t j = 0; j < few; j++) {
            int64_t defect = true_[j];
            if (taken[defect]) continue;
            if (scene->class_aware && scene->label[prediction] != scene->defect_label[defect]) continue;
            double found = overlap(scene->box + 4 * prediction, scene->defect_box + 4 * defect, scene->crowd[defect]);
            if (!(found > 0) || !(found >= scene->least)) continue;
            /* Of equals the last in content order wins, and one that counts before one that doesn't. */
            if (best < 0 || (scene->counts[defect] == scene->counts[best] ? found >= most : scene->counts[defect])) {
                best = defect;
                most = found;
            }
        }
        scene->defect_of[prediction] = best;
        scene->overlap[prediction] = best < 0 ? 0 : most;
        if (best >= 0) taken[best] = !scene->crowd[best];
    }
}

static bool match_all(const Scene *scene, int64_t images) {
    Groups said = {0}, true_ = {0};
    size_t longest = (size_t)(scene->predictions > scene->defects ? scene->predictions : scene->defects) + 1;
    int64_t *spare = malloc(longest * sizeof(int64_t));
    bool *taken = calloc((size_t)scene->defects + 1, sizeof(bool));
    bool done = false;
    if (spare == NULL || taken == NULL) {
        PyErr_NoMemory();
    } else if (group_rows(&said, scene->image, scene->predictions, images) &&
               group_rows(&true_, scene->defect_image, scene->defects, images)) {
        const Keys turn = {.score = scene->score, .box = scene->box, .last = scene->label};
        const Keys place = {.box = scene->defect_box, .last = scene->defect_label};
        for (int64_t image = 0; image < images; image++) {
            int64_t *mine = said.rows + said.start[image], *other = true_.rows + true_.start[image];
            Py_ssize_t many = said.start[image + 1] - said.start[image];
            Py_ssize_t few = true_.start[image + 1] - true_.start[image];
            if (many == 0 || few == 0) continue;
            sort_rows(mine, spare, many, &turn);
            sort_rows(other, spare, few, &place);
            match_image(scene, mine, many, other, few, taken);
        }
        done = true;
    }
    free_groups(&said);
    free_groups(&true_);
    free(spare);
    free(taken);
    return done;
}

/* match_boxes(image, label, box, score, defect_image, defect_label, defect_box, crowd, counts, images, least,
   class_aware, defect_of, overlap): fills the last two, which come in as -1 and 0. */
PyObject *native_match_boxes(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 14) return PyErr_Format(PyExc_TypeError, "match_boxes takes 14 arguments, not %zd", count);
    Columns columns = {0};
    Scene scene = {0};
    PyObject *result = NULL;
    if (!(scene.image = open_column(&columns, arguments[0], 'i', -1, 1, false))) goto end;
    scene.predictions = rows_of(&columns, 1);
    if (!(scene.label = open_column(&columns, arguments[1], 'i', scene.predictions, 1, false))) goto end;
    if (!(scene.box = open_column(&columns, arguments[2], 'f', scene.predictions, 4, false))) goto end;
    if (!(scene.score = open_column(&columns, arguments[3], 'f', scene.predictions, 1, false))) goto end;
    if (!(scene.defect_image = open_column(&columns, arguments[4], 'i', -1, 1, false))) goto end;
    scene.defects = rows_of(&columns, 1);
    if (!(scene.defect_label = open_column(&columns, arguments[5], 'i', scene.defects, 1, false))) goto end;
    if (!(scene.defect_box = open_column(&columns, arguments[6], 'f', scene.defects, 4, false))) goto end;
    if (!(scene.crowd = open_column(&columns, arguments[7], 'b', scene.defects, 1, false))) goto end;
    if (!(scene.counts = open_column(&columns, arguments[8], 'b', scene.defects, 1, false))) goto end;
    long long images = PyLong_AsLongLong(arguments[9]);
    scene.least = PyFloat_AsDouble(arguments[10]);
    int class_aware = PyObject_IsTrue(arguments[11]);
    if (PyErr_Occurred()) goto end;
    scene.class_aware = class_aware;
    if (!(scene.defect_of = open_column(&columns, arguments[12], 'i', scene.predictions, 1, true))) goto end;
    if (!(scene.overlap = open_column(&columns, arguments[13], 'f', scene.predictions, 1, true))) goto end;
    if (!within(scene.image, scene.predictions, images, "image")) goto end;
    if (!within(scene.defect_image, scene.defects, images, "image")) goto end;
    if (match_all(&scene, images)) result = Py_NewRef(Py_None);
end:
    close_columns(&columns);
    return result;
}

/* greedy(prediction, defect, crowd, predictions, chosen): walk the pairs in their order; chosen[row] says whether both
   were free. */
PyObject *native_greedy(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 5) return PyErr_Format(PyExc_TypeError, "greedy takes 5 arguments, not %zd", count);
    Columns columns = {0};
    PyObject *result = NULL;
    bool *busy = NULL, *taken = NULL;
    const int64_t *prediction, *defect;
    const bool *crowd;
    bool *chosen;
    if (!(prediction = open_column(&columns, arguments[0], 'i', -1, 1, false))) goto end;
    Py_ssize_t pairs = rows_of(&columns, 1);
    if (!(defect = open_column(&columns, arguments[1], 'i', pairs, 1, false))) goto end;
    if (!(crowd = open_column(&columns, arguments[2], 'b', -1, 1, false))) goto end;
    Py_ssize_t defects = rows_of(&columns, 1);
    long long predictions = PyLong_AsLongLong(arguments[3]);
    if (PyErr_Occurred()) goto end;
    if (!(chosen = open_column(&columns, arguments[4], 'b', pairs, 1, true))) goto end;
    if (!within(prediction, pairs, predictions, "prediction") || !within(defect, pairs, defects, "defect")) goto end;
    if (predictions < 0) predictions = 0;
    busy = calloc((size_t)predictions + 1, sizeof(bool));
    taken = calloc((size_t)defects + 1, sizeof(bool));
    if (busy == NULL || taken == NULL) {
        PyErr_NoMemory();
        goto end;
    }
    for (Py_ssize_t row = 0; row < pairs; row++) {
        chosen[row] = !busy[prediction[row]] && !taken[defect[row]];
        if (chosen[row]) {
            busy[prediction[row]] = true;
            taken[defect[row]] = !crowd[defect[row]];
        }
    }
    result = Py_NewRef(Py_None);
end:
    free(busy);
    free(taken);
    close_columns(&columns);
    return result;
}

/* box_pairs(image, label, box, defect_image, defect_label, defect_box, crowd, images, least, class_aware) -> bytearrays
   of prediction (int64, ascending), defect (int64) and overlap (float64 > 0 and >= least). */
PyObject *native_box_pairs(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 10) return PyErr_Format(PyExc_TypeError, "box_pairs takes 10 arguments, not %zd", count);
    Columns columns = {0};
    Groups true_ = {0};
    Buffer out[3] = {{0}};
    PyObject *result = NULL;
    const int64_t *image, *label, *defect_image, *defect_label;
    const double *box, *defect_box;
    const bool *crowd;
    if (!(image = open_column(&columns, arguments[0], 'i', -1, 1, false))) goto end;
    Py_ssize_t predictions = rows_of(&columns, 1);
    if (!(label = open_column(&columns, arguments[1], 'i', predictions, 1, false))) goto end;
    if (!(box = open_column(&columns, arguments[2], 'f', predictions, 4, false))) goto end;
    if (!(defect_image = open_column(&columns, arguments[3], 'i', -1, 1, false))) goto end;
    Py_ssize_t defects = rows_of(&columns, 1);
    if (!(defect_label = open_column(&columns, arguments[4], 'i', defects, 1, false))) goto end;
    if (!(defect_box = open_column(&columns, arguments[5], 'f', defects, 4, false))) goto end;
    if (!(crowd = open_column(&columns, arguments[6], 'b', defects, 1, false))) goto end;
    long long images = PyLong_AsLongLong(arguments[7]);
    double least = PyFloat_AsDouble(arguments[8]);
    int class_aware = PyObject_IsTrue(arguments[9]);
    if (PyErr_Occurred()) goto end;
    if (!within(image, predictions, images, "image") || !within(defect_image, defects, images, "image")) goto end;
    if (!group_rows(&true_, defect_image, defects, images)) goto end;
    for (int64_t row = 0; row < predictions; row++) {
        for (int64_t at = true_.start[image[row]]; at < true_.start[image[row] + 1]; at++) {
            int64_t defect = true_.rows[at];
            if (class_aware && label[row] != defect_label[defect]) continue;
            double found = overlap(box + 4 * row, defect_box + 4 * defect, crowd[defect]);
            if (!(found > 0) || !(found >= least)) continue;
            if (!reserve(&out[0], 8) || !reserve(&out[1], 8) || !reserve(&out[2], 8)) goto end;
            memcpy(out[0].data + out[0].used, &row, 8);
            memcpy(out[1].data + out[1].used, &defect, 8);
            memcpy(out[2].data + out[2].used, &found, 8);
            for (int i = 0; i < 3; i++) out[i].used += 8;
        }
    }
    result = Py_BuildValue("(NNN)", as_bytearray(&out[0]), as_bytearray(&out[1]), as_bytearray(&out[2]));
end:
    for (int i = 0; i < 3; i++) free(out[i].data);
    free_groups(&true_);
    close_columns(&columns);
    return result;
}
