/* COCO's ranking, its fates at every IoU and area at once, and the curves over them (`evaluation.average_precision`). */
#include "native.h"

/* coco_order(place, label, score, box, places, classes, cap, order, rank) -> how many rows are kept. Fills `order` with the rows by
   label, then place, then descending score and box, without those ranked `cap` or later in their label and place; `rank`
   with the ranks. */
PyObject *native_coco_order(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 9) return PyErr_Format(PyExc_TypeError, "coco_order takes 9 arguments, not %zd", count);
    Columns columns = {0};
    Groups images = {0}, labels = {0};
    int64_t *spare = NULL, *by_place = NULL, *sorted_label = NULL, *ranks = NULL;
    PyObject *result = NULL;
    const int64_t *place, *label;
    const double *score, *box;
    int64_t *order, *rank;
    if (!(place = open_column(&columns, arguments[0], 'i', -1, 1, false))) goto end;
    Py_ssize_t rows = rows_of(&columns, 1);
    if (!(label = open_column(&columns, arguments[1], 'i', rows, 1, false))) goto end;
    if (!(score = open_column(&columns, arguments[2], 'f', rows, 1, false))) goto end;
    if (!(box = open_column(&columns, arguments[3], 'f', rows, 4, false))) goto end;
    long long places = PyLong_AsLongLong(arguments[4]), classes = PyLong_AsLongLong(arguments[5]);
    long long cap = PyLong_AsLongLong(arguments[6]);
    if (PyErr_Occurred()) goto end;
    if (!(order = open_column(&columns, arguments[7], 'i', rows, 1, true))) goto end;
    if (!(rank = open_column(&columns, arguments[8], 'i', rows, 1, true))) goto end;
    if (!within(place, rows, places, "image") || !within(label, rows, classes, "label")) goto end;
    spare = malloc(((size_t)rows + 1) * sizeof(int64_t));
    by_place = malloc(((size_t)rows + 1) * sizeof(int64_t));
    sorted_label = malloc(((size_t)rows + 1) * sizeof(int64_t));
    ranks = malloc(((size_t)rows + 1) * sizeof(int64_t));
    if (spare == NULL || by_place == NULL || sorted_label == NULL || ranks == NULL) {
        PyErr_NoMemory();
        goto end;
    }
    if (!group_rows(&images, place, rows, places)) goto end;
    const Keys keys = {.label = label, .score = score, .box = box};
    Py_ssize_t kept = 0;
    for (int64_t image = 0; image < places; image++) {
        int64_t from = images.start[image], to = images.start[image + 1];
        sort_rows(images.rows + from, spare, (Py_ssize_t)(to - from), &keys);
        for (int64_t at = from, first = from; at < to; at++) {
            if (label[images.rows[at]] != label[images.rows[first]]) first = at;
            if (at - first >= cap) continue;
            by_place[kept] = images.rows[at];
            sorted_label[kept] = label[images.rows[at]];
            ranks[kept++] = at - first;
        }
    }
    if (!group_rows(&labels, sorted_label, kept, classes)) goto end;
    for (Py_ssize_t at = 0; at < kept; at++) {
        order[at] = by_place[labels.rows[at]];
        rank[at] = ranks[labels.rows[at]];
    }
    result = PyLong_FromSsize_t(kept);
end:
    free(spare);
    free(by_place);
    free(sorted_label);
    free(ranks);
    free_groups(&images);
    free_groups(&labels);
    close_columns(&columns);
    return result;
}

static bool read_thresholds(Columns *columns, PyObject *object, const double **thresholds, Py_ssize_t *many) {
    if (!(*thresholds = open_column(columns, object, 'f', -1, 1, false))) return false;
    *many = rows_of(columns, 1);
    return true;
}

/* Whether defect a stands after defect b in content order (box, label, row). */
static bool stands_after(const double *box, const int64_t *label, int64_t a, int64_t b) {
    for (int side = 0; side < 4; side++)
        if (box[4 * a + side] != box[4 * b + side]) return box[4 * a + side] > box[4 * b + side];
    return label[a] != label[b] ? label[a] > label[b] : a > b;
}

/* coco_fates(prediction, defect, overlap, label, box, crowd, counts, thresholds, hit, absorbed)

   The pairs come by ascending prediction, and predictions in the order of their turn. `counts` (A, G): which defects count
   when only those of area range a do. Bit a * T + t of hit[p] and absorbed[p] says what became of prediction p at area
   range a and threshold t. A * T <= 64. */
PyObject *native_coco_fates(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 10) return PyErr_Format(PyExc_TypeError, "coco_fates takes 10 arguments, not %zd", count);
    Columns columns = {0};
    PyObject *result = NULL;
    uint64_t *taken = NULL, *counting = NULL, *hit, *absorbed;
    int64_t *near = NULL;
    const int64_t *prediction, *defect, *label;
    const double *overlap, *box, *thresholds;
    const bool *crowd, *counts;
    Py_ssize_t steps;
    if (!(prediction = open_column(&columns, arguments[0], 'i', -1, 1, false))) goto end;
    Py_ssize_t pairs = rows_of(&columns, 1);
    if (!(defect = open_column(&columns, arguments[1], 'i', pairs, 1, false))) goto end;
    if (!(overlap = open_column(&columns, arguments[2], 'f', pairs, 1, false))) goto end;
    if (!(label = open_column(&columns, arguments[3], 'i', -1, 1, false))) goto end;
    Py_ssize_t defects = rows_of(&columns, 1);
    if (!(box = open_column(&columns, arguments[4], 'f', defects, 4, false))) goto end;
    if (!(crowd = open_column(&columns, arguments[5], 'b', defects, 1, false))) goto end;
    if (!(counts = open_column(&columns, arguments[6], 'b', -1, 1, false))) goto end;
    Py_ssize_t ranges = defects > 0 ? rows_of(&columns, 1) / defects : 0;
    if (!read_thresholds(&columns, arguments[7], &thresholds, &steps)) goto end;
    if (steps < 1 || ranges > 64 / steps || rows_of(&columns, 1) != steps) {
        PyErr_SetString(PyExc_ValueError, "more than 64 area ranges x thresholds");
        goto end;
    }
    if (columns.view[6].len != ranges * defects) {
        PyErr_SetString(PyExc_ValueError, "counts is not (ranges, defects)");
        goto end;
    }
    if (!(hit = open_column(&columns, arguments[8], 'u', -1, 1, true))) goto end;
    Py_ssize_t predictions = rows_of(&columns, 1);
    if (!(absorbed = open_column(&columns, arguments[9], 'u', predictions, 1, true))) goto end;
    if (!within(prediction, pairs, predictions, "prediction") || !within(defect, pairs, defects, "defect")) goto end;
    taken = calloc((size_t)defects + 1, sizeof(uint64_t));
    counting = calloc((size_t)defects + 1, sizeof(uint64_t));
    near = malloc(((size_t)pairs + 1) * sizeof(int64_t));
    if (taken == NULL || counting == NULL || near == NULL) {
        PyErr_NoMemory();
        goto end;
    }
    const uint64_t one_range = steps == 64 ? ~(uint64_t)0 : ((uint64_t)1 << steps) - 1;
    uint64_t everywhere = 0;
    for (Py_ssize_t range = 0; range < ranges; range++) everywhere |= one_range << (range * steps);
    for (Py_ssize_t range = 0; range < ranges; range++)
        for (Py_ssize_t row = 0; row < defects; row++)
            if (counts[range * defects + row]) counting[row] |= one_range << (range * steps);

    for (Py_ssize_t first = 0, next; first < pairs; first = next) {
        int64_t said = prediction[first];
        for (next = first; next < pairs && prediction[next] == said; next++) {
            /* By descending overlap, of equals the last in content order first. */
            Py_ssize_t at = next;
            for (; at > first; at--) {
                int64_t other = near[at - 1];
                if (overlap[other] > overlap[next]) break;
                if (overlap[other] == overlap[next] && stands_after(box, label, defect[other], defect[next])) break;
                near[at] = other;
            }
            near[at] = next;
        }
        uint64_t open = everywhere, hits = 0, absorptions = 0;
        for (int counted = 1; counted >= 0; counted--) {
            for (Py_ssize_t at = first; at < next && open; at++) {
                int64_t found = defect[near[at]];
                uint64_t reached = 0;
                for (Py_ssize_t t = 0; t < steps; t++)
                    if (overlap[near[at]] >= thresholds[t]) reached |= (uint64_t)1 << t;
                uint64_t spread = 0;
                for (Py_ssize_t range = 0; range < ranges; range++) spread |= reached << (range * steps);
                uint64_t now = open & spread & ~taken[found] & (counted ? counting[found] : ~counting[found]);
                if (counted) hits |= now;
                else absorptions |= now;
                if (!crowd[found]) taken[found] |= now;
                open &= ~now;
            }
        }
        hit[said] = hits;
        absorbed[said] = absorptions;
    }
    result = Py_NewRef(Py_None);
end:
    free(taken);
    free(counting);
    free(near);
    close_columns(&columns);
    return result;
}

typedef struct {
    uint64_t key;
    int64_t row;
} Ranked;

/* A number that sorts ascending as the score does descending; -0 and 0 are equal. */
static uint64_t descending(double score) {
    uint64_t bits;
    score += 0.0;
    memcpy(&bits, &score, 8);
    return bits >> 63 ? bits : ~bits & ~((uint64_t)1 << 63);
}

/* Stable, by key; eleven bits at a time, leaving out digits that all rows share. Returns where the result lies. */
static Ranked *sorted_by_key(Ranked *from, Ranked *to, Py_ssize_t count) {
    uint64_t all = 0, any = ~(uint64_t)0;
    for (Py_ssize_t i = 0; i < count; i++) {
        all |= from[i].key;
        any &= from[i].key;
    }
    for (int shift = 0; shift < 64; shift += 11) {
        if (((all ^ any) >> shift & 2047) == 0) continue;
        Py_ssize_t place[2048] = {0};
        for (Py_ssize_t i = 0; i < count; i++) place[from[i].key >> shift & 2047]++;
        for (Py_ssize_t i = 0, sum = 0; i < 2048; i++) {
            Py_ssize_t many = place[i];
            place[i] = sum;
            sum += many;
        }
        for (Py_ssize_t i = 0; i < count; i++) to[place[from[i].key >> shift & 2047]++] = from[i];
        Ranked *swap = from;
        from = to;
        to = swap;
    }
    return from;
}

/* coco_curves(label, score, hit, ignored, counted, cells, recalls, precision): the best precision at each of `recalls`
   or beyond it. Rows come by label. `counted` (A * T, K) int64: how many defects of the class count. `precision`
   (A * T, K, R) comes in as -1 and keeps it where none counts. */
PyObject *native_coco_curves(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 9) return PyErr_Format(PyExc_TypeError, "coco_curves takes 9 arguments, not %zd", count);
    Columns columns = {0};
    Ranked *ranked = NULL, *spare = NULL;
    double *best = NULL;
    PyObject *result = NULL;
    const int64_t *label, *counted;
    const double *score, *recalls;
    const uint64_t *hit, *ignored;
    double *precision;
    if (!(label = open_column(&columns, arguments[0], 'i', -1, 1, false))) goto end;
    Py_ssize_t rows = rows_of(&columns, 1);
    if (!(score = open_column(&columns, arguments[1], 'f', rows, 1, false))) goto end;
    if (!(hit = open_column(&columns, arguments[2], 'u', rows, 1, false))) goto end;
    if (!(ignored = open_column(&columns, arguments[3], 'u', rows, 1, false))) goto end;
    long long classes = PyLong_AsLongLong(arguments[5]), cells = PyLong_AsLongLong(arguments[6]);
    if (PyErr_Occurred()) goto end;
    if (cells < 1 || cells > 64 || classes < 0 || classes > PY_SSIZE_T_MAX / 4096) {
        PyErr_SetString(PyExc_ValueError, "cells must be 1 to 64, classes not negative");
        goto end;
    }
    if (!(counted = open_column(&columns, arguments[4], 'i', (Py_ssize_t)(cells * classes), 1, false))) goto end;
    if (!(recalls = open_column(&columns, arguments[7], 'f', -1, 1, false))) goto end;
    Py_ssize_t points = rows_of(&columns, 1);
    if (points > 4096) {
        PyErr_SetString(PyExc_ValueError, "more than 4096 recalls");
        goto end;
    }
    if (!(precision = open_column(&columns, arguments[8], 'f', (Py_ssize_t)(cells * classes) * points, 1, true))) goto end;
    if (!within(label, rows, classes, "label")) goto end;
    Py_ssize_t longest = 0;
    for (Py_ssize_t first = 0, next; first < rows; first = next) {
        for (next = first; next < rows && label[next] == label[first]; next++) {}
        if (next < rows && label[next] < label[first]) {
            PyErr_SetString(PyExc_ValueError, "rows are not sorted by label");
            goto end;
        }
        if (next - first > longest) longest = next - first;
    }
    ranked = malloc(((size_t)longest + 1) * sizeof(Ranked));
    spare = malloc(((size_t)longest + 1) * sizeof(Ranked));
    best = malloc(((size_t)longest + 1) * sizeof(double));
    if (ranked == NULL || spare == NULL || best == NULL) {
        PyErr_NoMemory();
        goto end;
    }
    Py_ssize_t first = 0, next = 0;
    for (int64_t k = 0; k < classes; k++, first = next) {
        for (next = first; next < rows && label[next] == k; next++) {
            ranked[next - first].key = descending(score[next]);
            ranked[next - first].row = next;
        }
        Py_ssize_t many = next - first;
        const Ranked *turn = sorted_by_key(ranked, spare, many);
        for (int64_t cell = 0; cell < cells; cell++) {
            int64_t there = counted[cell * classes + k];
            if (there <= 0) continue;
            double *curve = precision + (cell * classes + k) * points;
            int64_t hits = 0, false_alarms = 0;
            for (Py_ssize_t i = 0; i < many; i++) {
                int64_t row = turn[i].row;
                if (hit[row] >> cell & 1) {
                    /* Added in COCOeval's order: the spacing of 1 last. */
                    hits++;
                    best[hits - 1] = (double)hits / ((double)(hits + false_alarms) + 2.220446049250313e-16);
                } else {
                    false_alarms += !(ignored[row] >> cell & 1);
                }
            }
            for (int64_t i = hits - 1; i > 0; i--)
                if (best[i - 1] < best[i]) best[i - 1] = best[i];
            int64_t at = 0;
            for (Py_ssize_t r = 0; r < points; r++) {
                if (r > 0 && recalls[r] < recalls[r - 1]) at = 0;
                while (at < hits && (double)(at + 1) / (double)there < recalls[r]) at++;
                curve[r] = at < hits ? best[at] : 0;
            }
        }
    }
    result = Py_NewRef(Py_None);
end:
    free(ranked);
    free(spare);
    free(best);
    close_columns(&columns);
    return result;
}
