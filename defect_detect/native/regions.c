/* Masks as sorted stretches of pixels, columns first; from run lengths or polygons, and how much two of them share. */
#include "regions.h"

#define MOST_PIXELS ((int64_t)1 << 30)
#define MOST_CHARACTERS 12 /* 12 x 5 bits hold any run of a picture; shifts stay below 64 */
#define FARTHEST 1048576.0 /* px */
#define SCALE 5.0          /* COCO draws polygons on a grid five times as fine */

bool next_run(Runs *runs, int64_t *run) {
    uint64_t bits = 0;
    int shift = 0;
    unsigned char digit;
    const unsigned char *start = runs->at;
    do {
        if (runs->at == runs->end || runs->at - start == MOST_CHARACTERS) return false;
        digit = (unsigned char)(*runs->at++ - '0');
        if (digit >= 64) return false;
        bits |= (uint64_t)(digit & 31) << shift;
        shift += 5;
    } while (digit & 32);
    if (digit & 16) bits |= ~(uint64_t)0 << shift;
    int64_t value = (int64_t)bits;
    if (runs->at - start > 1) {
        /* Without the last character the sign and the value would have to come out the same. */
        bool before = ((start[runs->at - start - 2] - '0') & 16) != 0;
        if ((digit == 0 && !before) || (digit == 31 && before)) runs->canonical = false;
    }
    if (runs->many > 2) value += runs->last[0];
    if (value < 0 || value > MOST_PIXELS) return false;
    runs->last[0] = runs->last[1];
    runs->last[1] = value;
    runs->many++;
    *run = value;
    return true;
}

int64_t canonical_area(const unsigned char *counts, size_t length, int64_t pixels) {
    Runs runs = {.at = counts, .end = counts + length, .canonical = true};
    int64_t area = 0, sum = 0, run;
    if (pixels < 0 || pixels > MOST_PIXELS) return -1;
    while (runs.at < runs.end) {
        if (!next_run(&runs, &run) || (run == 0 && runs.many > 1)) return -1;
        sum += run;
        if (sum > pixels) return -1;
        if (runs.many % 2 == 0) area += run;
    }
    return runs.canonical && sum == pixels ? area : -1;
}

/* canonical_counts(counts, pixels) -> the area, or None: the counts have to be looked at more closely. */
PyObject *native_canonical_counts(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 2) return PyErr_Format(PyExc_TypeError, "canonical_counts takes 2 arguments, not %zd", count);
    long long pixels = PyLong_AsLongLong(arguments[1]);
    if (PyErr_Occurred()) return NULL;
    Py_buffer view;
    if (PyObject_GetBuffer(arguments[0], &view, PyBUF_SIMPLE) < 0) return NULL;
    int64_t area = canonical_area(view.buf, (size_t)view.len, pixels);
    PyBuffer_Release(&view);
    return area < 0 ? Py_NewRef(Py_None) : PyLong_FromLongLong(area);
}

/* A stretch is its first pixel in the high 32 bits and the pixel after its last in the low ones, so numbers sort as
   stretches do. */
static uint64_t stretch(int64_t from, int64_t to) { return (uint64_t)from << 32 | (uint64_t)to; }
static int64_t from_of(uint64_t one) { return (int64_t)(one >> 32); }
static int64_t to_of(uint64_t one) { return (int64_t)(one & 0xFFFFFFFFu); }

static bool push(Buffer *buffer, uint64_t value) {
    if (!reserve(buffer, 8)) return false;
    memcpy(buffer->data + buffer->used, &value, 8);
    buffer->used += 8;
    return true;
}

/* Ascending; a heap sort, so that no input makes it slow. */
static void sort_numbers(uint64_t *values, size_t count) {
    if (count <= 24) {
        for (size_t i = 1; i < count; i++) {
            uint64_t value = values[i];
            size_t j = i;
            for (; j > 0 && values[j - 1] > value; j--) values[j] = values[j - 1];
            values[j] = value;
        }
        return;
    }
    for (size_t built = count / 2, left = count; left > 1;) {
        uint64_t value;
        if (built > 0) {
            value = values[--built];
        } else {
            value = values[--left];
            values[left] = values[0];
        }
        size_t at = built, child;
        while ((child = 2 * at + 1) < left) {
            if (child + 1 < left && values[child + 1] > values[child]) child++;
            if (values[child] <= value) break;
            values[at] = values[child];
            at = child;
        }
        values[at] = value;
    }
}

/* What a function here comes to: done, not for this code, or an exception. */
typedef enum { DONE, DECLINED, FAILED } Outcome;

static Outcome runs_to_stretches(const unsigned char *counts, size_t length, int64_t pixels, Buffer *out) {
    Runs runs = {.at = counts, .end = counts + length};
    int64_t sum = 0, run;
    while (runs.at < runs.end) {
        if (!next_run(&runs, &run) || run > pixels - sum) return DECLINED;
        if (runs.many % 2 == 0 && run > 0 && !push(out, stretch(sum, sum + run))) return FAILED;
        sum += run;
    }
    return sum == pixels ? DONE : DECLINED;
}

/* Where the boundary goes from fine column `left` to the next, at fine row `row`: the pixel from which on the mask turns. */
static bool turn(Buffer *turns, int64_t left, int64_t row, int64_t height, int64_t width) {
    int64_t column = (left - 2) / 5, y = (row + 2) / 5;
    if (column > width - 1) return true;
    return push(turns, (uint64_t)(column * height + (y < height ? y : height)));
}

/* COCO's line from (xs, ys) to (xe, ye) on the fine grid. Only steps from a column 5 c + 2 to the next turn the mask. */
static bool draw(Buffer *turns, int64_t xs, int64_t ys, int64_t xe, int64_t ye, int64_t height, int64_t width) {
    int64_t dx = xe > xs ? xe - xs : xs - xe, dy = ye > ys ? ye - ys : ys - ye;
    if (dx == 0) return true;
    if (dx >= dy ? xs > xe : ys > ye) {
        int64_t x = xs, y = ys;
        xs = xe, ys = ye;
        xe = x, ye = y;
    }
    if (dx >= dy) {
        double slope = (double)(ye - ys) / (double)dx;
        for (int64_t t = (7 - xs % 5) % 5; t < dx; t += 5) {
            int64_t row = (int64_t)((double)ys + slope * (double)t + .5);
            int64_t next = (int64_t)((double)ys + slope * (double)(t + 1) + .5);
            if (!turn(turns, xs + t, row < next ? row : next, height, width)) return false;
        }
        return true;
    }
    double slope = (double)(xe - xs) / (double)dy;
    int64_t least = xs < xe ? xs : xe, most = xs < xe ? xe : xs;
    for (int64_t left = least + (7 - least % 5) % 5; left < most; left += 5) {
        /* The first step t past the columns' border; rounding is monotonic, so a near guess is set right by walking. */
        double guess = ((double)left + .5 - (double)xs) / slope;
        int64_t t = guess < 1 ? 1 : guess > (double)dy ? dy : (int64_t)guess;
#define PAST(step) ((slope > 0) == ((int64_t)((double)xs + slope * (double)(step) + .5) > left))
        while (t > 1 && PAST(t - 1)) t--;
        while (t < dy && !PAST(t)) t++;
#undef PAST
        if (!turn(turns, left, ys + t - 1, height, width)) return false;
    }
    return true;
}

static int64_t fine(double pixels) { return (int64_t)(SCALE * pixels + .5); }

static Outcome ring_to_stretches(const double *points, Py_ssize_t many, int64_t height, int64_t width, Buffer *turns,
                                 Buffer *out) {
    turns->used = 0;
    for (Py_ssize_t i = 0; i < 2 * many; i++)
        if (!(points[i] >= 0 && points[i] <= FARTHEST)) return DECLINED;
    for (Py_ssize_t i = 0; i < many; i++) {
        const double *a = points + 2 * i, *b = points + 2 * (i + 1 < many ? i + 1 : 0);
        if (!draw(turns, fine(a[0]), fine(a[1]), fine(b[0]), fine(b[1]), height, width)) return FAILED;
    }
    size_t count = turns->used / 8;
    if (count % 2 == 1) {
        if (!push(turns, (uint64_t)(height * width))) return FAILED;
        count++;
    }
    uint64_t *at = (uint64_t *)(void *)turns->data;
    if (count > 0) sort_numbers(at, count);
    for (size_t i = 0; i < count; i += 2)
        if (at[i] < at[i + 1] && !push(out, stretch((int64_t)at[i], (int64_t)at[i + 1]))) return FAILED;
    return DONE;
}

/* The union of several rings' stretches, from byte `start` of `out` on. */
static void unite(Buffer *out, size_t start) {
    uint64_t *at = (uint64_t *)(void *)(out->data + start);
    size_t count = (out->used - start) / 8, kept = 0;
    if (count == 0) return;
    sort_numbers(at, count);
    for (size_t i = 1; i < count; i++) {
        if (from_of(at[i]) > to_of(at[kept])) at[++kept] = at[i];
        else if (to_of(at[i]) > to_of(at[kept])) at[kept] = stretch(from_of(at[kept]), to_of(at[i]));
    }
    out->used = start + (kept + 1) * 8;
}

static Outcome polygons_to_stretches(PyObject *rings, int64_t height, int64_t width, Buffer *turns, Buffer *out) {
    Py_ssize_t many = PyTuple_Size(rings);
    size_t start = out->used;
    for (Py_ssize_t i = 0; i < many; i++) {
        Columns columns = {0};
        const double *points = open_column(&columns, PyTuple_GetItem(rings, i), 'f', -1, 2, false);
        Outcome outcome = FAILED;
        if (points != NULL) outcome = ring_to_stretches(points, rows_of(&columns, 2), height, width, turns, out);
        close_columns(&columns);
        if (outcome != DONE) return outcome;
    }
    if (many > 1) unite(out, start);
    return DONE;
}

/* Area and the smallest box x0 y0 x1 y1 of the stretches; a stretch over several columns reaches all rows. */
static void measure(const uint64_t *at, size_t count, int64_t height, int64_t *measures) {
    int64_t area = 0, x0 = INT64_MAX, y0 = INT64_MAX, x1 = 0, y1 = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t from = from_of(at[i]), last = to_of(at[i]) - 1;
        int64_t column = from / height, end = last / height;
        int64_t top = column == end ? from - column * height : 0;
        int64_t bottom = column == end ? last - end * height + 1 : height;
        area += last + 1 - from;
        if (column < x0) x0 = column;
        if (end + 1 > x1) x1 = end + 1;
        if (top < y0) y0 = top;
        if (bottom > y1) y1 = bottom;
    }
    measures[0] = area;
    measures[1] = count > 0 ? x0 : 0;
    measures[2] = count > 0 ? y0 : 0;
    measures[3] = x1;
    measures[4] = y1;
}

/* stretches(regions, size) -> None, or bytearrays of stretches (uint64), of the end of each region's (int64), and of its
   area, x0, y0, x1, y1 (int64, N x 5).

   regions: a list of N, each bytes (run lengths) or a tuple of rings (float64, K x 2). size: (N, 2) int64 width height.
   None: something that pycocotools should look at. */
PyObject *native_stretches(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 2) return PyErr_Format(PyExc_TypeError, "stretches takes 2 arguments, not %zd", count);
    Columns columns = {0};
    Buffer out = {0}, turns = {0}, ends = {0}, measures = {0};
    PyObject *result = NULL;
    Py_ssize_t regions = PyList_Size(arguments[0]);
    if (regions < 0) return NULL;
    const int64_t *size = open_column(&columns, arguments[1], 'i', regions, 2, false);
    if (size == NULL || !reserve(&ends, (size_t)regions * 8) || !reserve(&measures, (size_t)regions * 40)) goto end;
    for (Py_ssize_t row = 0; row < regions; row++) {
        int64_t width = size[2 * row], height = size[2 * row + 1];
        PyObject *region = PyList_GetItem(arguments[0], row);
        Outcome outcome = DECLINED;
        size_t start = out.used;
        if (width < 1 || height < 1 || width > MOST_PIXELS / height) {
            outcome = DECLINED;
        } else if (PyBytes_Check(region)) {
            char *counts;
            Py_ssize_t length;
            if (PyBytes_AsStringAndSize(region, &counts, &length) < 0) goto end;
            outcome = runs_to_stretches((const unsigned char *)counts, (size_t)length, width * height, &out);
        } else if (PyTuple_Check(region)) {
            outcome = polygons_to_stretches(region, height, width, &turns, &out);
        }
        if (outcome == FAILED) goto end;
        if (outcome == DECLINED) {
            result = Py_NewRef(Py_None);
            goto end;
        }
        int64_t end = (int64_t)(out.used / 8);
        memcpy(ends.data + ends.used, &end, 8);
        ends.used += 8;
        measure((const uint64_t *)(const void *)(out.data + start), (out.used - start) / 8, height,
                (int64_t *)(void *)(measures.data + measures.used));
        measures.used += 40;
    }
    result = Py_BuildValue("(NNN)", as_bytearray(&out), as_bytearray(&ends), as_bytearray(&measures));
end:
    free(out.data);
    free(turns.data);
    free(ends.data);
    free(measures.data);
    close_columns(&columns);
    return result;
}

typedef struct {
    const uint64_t *stretch;
    const int64_t *end;
    const int64_t *measure;
    Py_ssize_t regions;
} Masks;

static bool open_masks(Columns *columns, PyObject *const *arguments, Masks *masks) {
    if (!(masks->stretch = open_column(columns, arguments[0], 'u', -1, 1, false))) return false;
    Py_ssize_t stretches = rows_of(columns, 1);
    if (!(masks->end = open_column(columns, arguments[1], 'i', -1, 1, false))) return false;
    masks->regions = rows_of(columns, 1);
    if (!(masks->measure = open_column(columns, arguments[2], 'i', masks->regions, 5, false))) return false;
    for (Py_ssize_t row = 0; row < masks->regions; row++) {
        if (masks->end[row] < (row > 0 ? masks->end[row - 1] : 0) || masks->end[row] > stretches) {
            PyErr_SetString(PyExc_ValueError, "ends of regions out of order");
            return false;
        }
    }
    return true;
}

static int64_t shared(const Masks *a, int64_t row, const Masks *b, int64_t other) {
    const int64_t *first = a->measure + 5 * row, *second = b->measure + 5 * other;
    if (first[1] >= second[3] || second[1] >= first[3] || first[2] >= second[4] || second[2] >= first[4]) return 0;
    int64_t i = row > 0 ? a->end[row - 1] : 0, j = other > 0 ? b->end[other - 1] : 0, sum = 0;
    while (i < a->end[row] && j < b->end[other]) {
        int64_t from = from_of(a->stretch[i]) > from_of(b->stretch[j]) ? from_of(a->stretch[i]) : from_of(b->stretch[j]);
        bool ends_first = to_of(a->stretch[i]) < to_of(b->stretch[j]);
        int64_t to = ends_first ? to_of(a->stretch[i]) : to_of(b->stretch[j]);
        if (to > from) sum += to - from;
        if (ends_first) i++;
        else j++;
    }
    return sum;
}

/* shared_pixels(stretches, ends, measures, stretches, ends, measures, row, other, pixels): fills `pixels` (M,) int64 with
   how many the regions row[m] of the first and other[m] of the second share. */
PyObject *native_shared_pixels(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 9) return PyErr_Format(PyExc_TypeError, "shared_pixels takes 9 arguments, not %zd", count);
    Columns columns = {0};
    Masks a, b;
    PyObject *result = NULL;
    const int64_t *row, *other;
    int64_t *pixels;
    if (!open_masks(&columns, arguments, &a) || !open_masks(&columns, arguments + 3, &b)) goto end;
    if (!(row = open_column(&columns, arguments[6], 'i', -1, 1, false))) goto end;
    Py_ssize_t pairs = rows_of(&columns, 1);
    if (!(other = open_column(&columns, arguments[7], 'i', pairs, 1, false))) goto end;
    if (!(pixels = open_column(&columns, arguments[8], 'i', pairs, 1, true))) goto end;
    if (!within(row, pairs, a.regions, "region") || !within(other, pairs, b.regions, "region")) goto end;
    for (Py_ssize_t pair = 0; pair < pairs; pair++) pixels[pair] = shared(&a, row[pair], &b, other[pair]);
    result = Py_NewRef(Py_None);
end:
    close_columns(&columns);
    return result;
}
