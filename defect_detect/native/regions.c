/* Masks as sorted stretches of pixels, columns first; from run lengths or polygons, and how much two of them share. */
#include "regions.h"

#define MOST_PIXELS ((int64_t)1 << 30)
#define MOST_CHARACTERS 12 /* 12 x 5 bits hold any run of a picture; shifts stay below 64 */
#define FARTHEST 1048576.0 /* px */
#define SCALE 5.0          /* COCO draws polygons on a grid five times as fine */

/* Run lengths are read as pycocotools' rleFrString does: six bits a character from '0', low ones first, five of data and
   one that says that more follow; from the fourth run on, differences to the run two before. */
typedef struct {
    const unsigned char *at;
    const unsigned char *end;
    int64_t before; /* the run two before the next */
    int64_t last;
    size_t many;
    bool canonical; /* so far, each number took no more characters than it needs */
} Runs;

/* A number of several characters, the first of which is read. */
static bool next_long(Runs *runs, unsigned char digit, int64_t *value) {
    uint64_t bits = digit & 31;
    unsigned char before = digit;
    for (int shift = 5; shift < 5 * MOST_CHARACTERS; shift += 5) {
        if (runs->at == runs->end) return false;
        digit = (unsigned char)(*runs->at++ - '0');
        if (digit >= 64) return false;
        bits |= (uint64_t)(digit & 31) << shift;
        if (!(digit & 32)) {
            if (digit & 16) bits |= ~(uint64_t)0 << (shift + 5);
            /* Without its last character the number would have come out the same. */
            if (digit == (before & 16 ? 31 : 0)) runs->canonical = false;
            *value = (int64_t)bits;
            return true;
        }
        before = digit;
    }
    return false;
}

/* The next run; there must be a character left. */
static inline bool next_run(Runs *runs, int64_t *run) {
    unsigned char digit = (unsigned char)(*runs->at++ - '0');
    int64_t value;
    if (digit < 32) value = digit < 16 ? digit : (int64_t)digit - 32;
    else if (digit >= 64 || !next_long(runs, digit, &value)) return false;
    if (runs->many > 2) value += runs->before;
    if (value < 0 || value > MOST_PIXELS) return false;
    runs->before = runs->last;
    runs->last = value;
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

/* Where the ascending run that begins at `first` ends. */
static size_t end_of_run(const uint64_t *values, size_t first, size_t count) {
    size_t at = first + 1;
    while (at < count && values[at - 1] <= values[at]) at++;
    return at < count ? at : count;
}

/* Ascending, by merging neighbouring runs: edges come as runs, so there are few. False where memory is out. */
static bool sort_numbers(uint64_t *values, size_t count, Buffer *spare) {
    if (count < 2 || end_of_run(values, 0, count) == count) return true;
    spare->used = 0;
    if (!reserve(spare, count * 8)) return false;
    uint64_t *from = values, *to = (uint64_t *)(void *)spare->data;
    for (size_t runs = 2; runs > 1;) {
        runs = 0;
        for (size_t first = 0, last; first < count; first = last, runs++) {
            size_t middle = end_of_run(from, first, count);
            last = middle < count ? end_of_run(from, middle, count) : count;
            size_t left = first, right = middle, at = first;
            while (left < middle && right < last) to[at++] = from[left] <= from[right] ? from[left++] : from[right++];
            while (left < middle) to[at++] = from[left++];
            while (right < last) to[at++] = from[right++];
        }
        uint64_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != values) memcpy(values, from, count * 8);
    return true;
}

/* What a function here comes to: done, not for this code, or an exception. */
typedef enum { DONE, DECLINED, FAILED } Outcome;

static Outcome runs_to_stretches(const unsigned char *counts, size_t length, int64_t pixels, Buffer *out) {
    Runs runs = {.at = counts, .end = counts + length};
    int64_t sum = 0, run;
    if (!reserve(out, (length / 2 + 1) * 8)) return FAILED;
    uint64_t *to = (uint64_t *)(void *)(out->data + out->used);
    while (runs.at < runs.end) {
        if (!next_run(&runs, &run) || run > pixels - sum) return DECLINED;
        if (runs.many % 2 == 0 && run > 0) *to++ = stretch(sum, sum + run);
        sum += run;
    }
    out->used = (size_t)((char *)to - out->data);
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
                                 Buffer *spare, Buffer *out) {
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
    if (!sort_numbers(at, count, spare)) return FAILED;
    for (size_t i = 0; i < count; i += 2)
        if (at[i] < at[i + 1] && !push(out, stretch((int64_t)at[i], (int64_t)at[i + 1]))) return FAILED;
    return DONE;
}

/* The union of several rings' stretches, from byte `start` of `out` on. */
static bool unite(Buffer *out, size_t start, Buffer *spare) {
    uint64_t *at = (uint64_t *)(void *)(out->data + start);
    size_t count = (out->used - start) / 8, kept = 0;
    if (count == 0) return true;
    if (!sort_numbers(at, count, spare)) return false;
    for (size_t i = 1; i < count; i++) {
        if (from_of(at[i]) > to_of(at[kept])) at[++kept] = at[i];
        else if (to_of(at[i]) > to_of(at[kept])) at[kept] = stretch(from_of(at[kept]), to_of(at[i]));
    }
    out->used = start + (kept + 1) * 8;
    return true;
}

/* Working storage, kept from region to region. */
typedef struct {
    Buffer turns;
    Buffer spare;
} Scratch;

static Outcome polygons_to_stretches(PyObject *rings, int64_t height, int64_t width, Scratch *scratch, Buffer *out) {
    Py_ssize_t many = PyTuple_Size(rings);
    size_t start = out->used;
    for (Py_ssize_t i = 0; i < many; i++) {
        Columns columns = {0};
        const double *points = open_column(&columns, PyTuple_GetItem(rings, i), 'f', -1, 2, false);
        Outcome outcome = FAILED;
        if (points != NULL)
            outcome = ring_to_stretches(points, rows_of(&columns, 2), height, width, &scratch->turns, &scratch->spare, out);
        close_columns(&columns);
        if (outcome != DONE) return outcome;
    }
    return many < 2 || unite(out, start, &scratch->spare) ? DONE : FAILED;
}

/* Area and the smallest box x0 y0 x1 y1 of the stretches; a stretch over several columns reaches all rows. */
static void measure(const uint64_t *at, size_t count, int64_t height, int64_t *measures) {
    int64_t area = 0, top = INT64_MAX, bottom = 0;
    int64_t start = count > 0 ? from_of(at[0]) / height * height : 0; /* the column's first pixel */
    int64_t first = start, end = start;
    for (size_t i = 0; i < count; i++) {
        int64_t from = from_of(at[i]), to = to_of(at[i]);
        /* The next column mostly, so that there is nothing to divide. */
        if (from >= start + height) start += from < start + 2 * height ? height : (from - start) / height * height;
        area += to - from;
        if (from - start < top) top = from - start;
        if (to - start > bottom) bottom = to - start;
        if (to > start + height) {
            top = 0;
            bottom = height;
        }
        end = to;
    }
    measures[0] = area;
    measures[1] = first / height;
    measures[2] = count > 0 ? top : 0;
    measures[3] = (end + height - 1) / height;
    measures[4] = bottom;
}

/* Whether the attribute of the region is the whole number `expected`; -1 with an exception. */
static int says(PyObject *region, PyObject *name, int64_t expected) {
    PyObject *value = PyObject_GetAttr(region, name);
    if (value == NULL) return -1;
    long long found = PyLong_AsLongLong(value);
    Py_DECREF(value);
    return PyErr_Occurred() ? -1 : found == expected;
}

typedef struct {
    PyObject *counts;
    PyObject *height;
    PyObject *width;
    PyObject *rings;
    PyObject *rle;
} Names;

static Outcome region_to_stretches(PyObject *region, int64_t height, int64_t width, const Names *names, Scratch *scratch,
                                   Buffer *out) {
    if (width < 1 || height < 1 || width > MOST_PIXELS / height) return DECLINED;
    int coded = PyObject_IsInstance(region, names->rle);
    if (coded < 0) return FAILED;
    PyObject *content = PyObject_GetAttr(region, coded ? names->counts : names->rings);
    Outcome outcome = DECLINED;
    if (content == NULL) return FAILED;
    if (coded && PyBytes_Check(content)) {
        int high = says(region, names->height, height), wide = high == 1 ? says(region, names->width, width) : high;
        char *counts;
        Py_ssize_t length;
        if (high < 0 || wide < 0 || PyBytes_AsStringAndSize(content, &counts, &length) < 0) outcome = FAILED;
        else if (wide) outcome = runs_to_stretches((const unsigned char *)counts, (size_t)length, width * height, out);
    } else if (!coded && PyTuple_Check(content)) {
        outcome = polygons_to_stretches(content, height, width, scratch, out);
    }
    Py_DECREF(content);
    return outcome;
}

/* stretches(regions, size, rle) -> None, or bytearrays of stretches (uint64), of the end of each region's (int64), and of
   its area, x0, y0, x1, y1 (int64, N x 5).

   regions: N instances of the class `rle` or of Polygons. size: (N, 2) int64, width and height of their pictures. None:
   something that pycocotools should look at. */
PyObject *native_stretches(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 3) return PyErr_Format(PyExc_TypeError, "stretches takes 3 arguments, not %zd", count);
    Columns columns = {0};
    Buffer out = {0}, ends = {0}, measures = {0};
    Scratch scratch = {{0}, {0}};
    PyObject *result = NULL;
    Py_ssize_t regions = PySequence_Size(arguments[0]);
    if (regions < 0) return NULL;
    const Names names = {
        PyUnicode_InternFromString("counts"), PyUnicode_InternFromString("height"),
        PyUnicode_InternFromString("width"), PyUnicode_InternFromString("rings"), arguments[2],
    };
    if (!names.counts || !names.height || !names.width || !names.rings) goto end;
    const int64_t *size = open_column(&columns, arguments[1], 'i', regions, 2, false);
    if (size == NULL || !reserve(&ends, (size_t)regions * 8) || !reserve(&measures, (size_t)regions * 40)) goto end;
    for (Py_ssize_t row = 0; row < regions; row++) {
        size_t start = out.used;
        PyObject *region = PySequence_GetItem(arguments[0], row);
        if (region == NULL) goto end;
        Outcome outcome = region_to_stretches(region, size[2 * row + 1], size[2 * row], &names, &scratch, &out);
        Py_DECREF(region);
        if (outcome == FAILED) goto end;
        if (outcome == DECLINED) {
            result = Py_NewRef(Py_None);
            goto end;
        }
        int64_t end = (int64_t)(out.used / 8);
        memcpy(ends.data + ends.used, &end, 8);
        ends.used += 8;
        measure((const uint64_t *)(const void *)(out.data + start), (out.used - start) / 8, size[2 * row + 1],
                (int64_t *)(void *)(measures.data + measures.used));
        measures.used += 40;
    }
    result = Py_BuildValue("(NNN)", as_bytearray(&out), as_bytearray(&ends), as_bytearray(&measures));
end:
    Py_XDECREF(names.counts);
    Py_XDECREF(names.height);
    Py_XDECREF(names.width);
    Py_XDECREF(names.rings);
    release(&out);
    release(&scratch.turns);
    release(&scratch.spare);
    release(&ends);
    release(&measures);
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

/* run_lengths(rle, rows, counts) -> a tuple of instances of the frozen class `rle`, one for each row (kind, height, width,
   area as `scan` gives them, all of them run lengths). Their fields are set as its __init__ would, without its detours. */
PyObject *native_run_lengths(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 3) return PyErr_Format(PyExc_TypeError, "run_lengths takes 3 arguments, not %zd", count);
    Columns columns = {0};
    PyObject *result = NULL, *nothing = PyTuple_New(0);
    PyObject *names[3] = {PyUnicode_InternFromString("height"), PyUnicode_InternFromString("width"),
                          PyUnicode_InternFromString("counts")};
    Py_ssize_t many = PyList_Size(arguments[2]);
    if (!nothing || !names[0] || !names[1] || !names[2] || many < 0) goto end;
    if (!PyType_Check(arguments[0])) {
        PyErr_SetString(PyExc_TypeError, "not a class");
        goto end;
    }
    const int64_t *rows = open_column(&columns, arguments[1], 'i', many, 4, false);
    if (rows == NULL || !(result = PyTuple_New(many))) goto end;
    for (Py_ssize_t row = 0; row < many; row++) {
        PyObject *one = PyType_GenericNew((PyTypeObject *)arguments[0], nothing, NULL);
        PyObject *values[3] = {PyLong_FromLongLong(rows[4 * row + 1]), PyLong_FromLongLong(rows[4 * row + 2]),
                               Py_XNewRef(PyList_GetItem(arguments[2], row))};
        bool set = one != NULL;
        for (int i = 0; i < 3; i++) {
            set = set && values[i] != NULL && PyObject_GenericSetAttr(one, names[i], values[i]) == 0;
            Py_XDECREF(values[i]);
        }
        if (!set) {
            Py_XDECREF(one);
            Py_CLEAR(result);
            goto end;
        }
        PyTuple_SetItem(result, row, one);
    }
end:
    Py_XDECREF(nothing);
    for (int i = 0; i < 3; i++) Py_XDECREF(names[i]);
    close_columns(&columns);
    return result;
}
