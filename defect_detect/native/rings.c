/* Polygons of many regions at once: do they lie as they should, do their outlines cross themselves? */
#include "native.h"

#include <math.h>

#define MOST_PAIRS 256 /* of edges that are compared, for each edge of the ring, as in data/crossing.py */
#define FEW 4096

/* Whether the ends are ascending from 0 on and the last one is the number of corners. */
static bool sound_ends(const int64_t *end, Py_ssize_t rings, Py_ssize_t corners) {
    int64_t before = 0;
    for (Py_ssize_t ring = 0; ring < rings; ring++) {
        if (end[ring] < before || end[ring] > corners) {
            PyErr_Format(PyExc_ValueError, "ring %zd ends at %lld of %zd corners", ring, (long long)end[ring], corners);
            return false;
        }
        before = end[ring];
    }
    if (before != corners) {
        PyErr_SetString(PyExc_ValueError, "corners after the last ring");
        return false;
    }
    return true;
}

typedef struct {
    double a[2], b[2];
    double left, right, low, high;
} Edge;

/* Which side of the line pq the point r lies on; 0 where it is on it but for rounding. */
static inline double side(const double *p, const double *q, const double *r, double scale) {
    double turn = (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]);
    return fabs(turn) <= scale ? 0.0 : turn;
}

static inline double larger(double a, double b) { return a > b ? a : b; }

static bool cross(const Edge *one, const Edge *other) {
    const double *a = one->a, *b = one->b, *c = other->a, *d = other->b;
    double most = larger(larger(larger(fabs(a[0]), fabs(a[1])), larger(fabs(b[0]), fabs(b[1]))),
                         larger(larger(fabs(c[0]), fabs(c[1])), larger(fabs(d[0]), fabs(d[1]))));
    double scale = 1e-9 * ((1 + most) * (1 + most));
    return side(a, b, c, scale) * side(a, b, d, scale) < 0 && side(c, d, a, scale) * side(c, d, b, scale) < 0;
}

/* `edge` sorted by `left`, stable; `spare` has room for half. */
static void sort_edges(Edge *edge, Edge *spare, Py_ssize_t count) {
    if (count <= 12) {
        for (Py_ssize_t i = 1; i < count; i++) {
            Edge moved = edge[i];
            Py_ssize_t j = i;
            for (; j > 0 && edge[j - 1].left > moved.left; j--) edge[j] = edge[j - 1];
            edge[j] = moved;
        }
        return;
    }
    Py_ssize_t half = count / 2;
    sort_edges(edge, spare, half);
    sort_edges(edge + half, spare, count - half);
    memcpy(spare, edge, (size_t)half * sizeof(Edge));
    Py_ssize_t left = 0, right = half, to = 0;
    while (left < half && right < count) edge[to++] = spare[left].left > edge[right].left ? edge[right++] : spare[left++];
    while (left < half) edge[to++] = spare[left++];
}

/* Whether two of the ring's edges cross; `open` has room for `count` rows. */
static bool ring_crosses(const double *corner, Py_ssize_t count, Edge *edge, Edge *spare, Py_ssize_t *open) {
    double least[2] = {corner[0], corner[1]}, most[2] = {corner[0], corner[1]};
    for (Py_ssize_t at = 1; at < count; at++) {
        for (int axis = 0; axis < 2; axis++) {
            double value = corner[2 * at + axis];
            if (value < least[axis]) least[axis] = value;
            if (value > most[axis]) most[axis] = value;
        }
    }
    int along = most[1] - least[1] > most[0] - least[0];
    for (Py_ssize_t at = 0; at < count; at++) {
        const double *from = corner + 2 * at, *to = corner + 2 * (at + 1 < count ? at + 1 : 0);
        Edge *made = &edge[at];
        memcpy(made->a, from, sizeof made->a);
        memcpy(made->b, to, sizeof made->b);
        made->left = from[along] < to[along] ? from[along] : to[along];
        made->right = from[along] > to[along] ? from[along] : to[along];
        made->low = from[!along] < to[!along] ? from[!along] : to[!along];
        made->high = from[!along] > to[!along] ? from[!along] : to[!along];
    }
    sort_edges(edge, spare, count);
    int64_t left = (int64_t)count * MOST_PAIRS;
    Py_ssize_t many = count;
    for (Py_ssize_t at = 0; at < count; at++) open[at] = at;
    for (Py_ssize_t step = 1; many > 0 && left > 0; step++) {
        Py_ssize_t still = 0;
        for (Py_ssize_t i = 0; i < many; i++) {
            Py_ssize_t here = open[i], there = here + step;
            if (there >= count || edge[there].left > edge[here].right) continue;
            open[still++] = here;
            if (edge[here].low <= edge[there].high && edge[there].low <= edge[here].high && cross(&edge[here], &edge[there]))
                return true;
        }
        many = still;
        left -= many;
    }
    return false;
}

/* crossing(corners, end, crossed): which rings cross themselves.

   corners (C, 2) float64, end (R,) int64 where each ring's corners end, crossed (R,) bool, written to. */
PyObject *native_crossing(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 3) return PyErr_Format(PyExc_TypeError, "crossing takes 3 arguments, not %zd", count);
    Columns columns = {.count = 0};
    PyObject *result = NULL;
    Edge *edge = NULL, *spare = NULL;
    Py_ssize_t *open = NULL, corners, rings;
    const double *corner = open_column(&columns, arguments[0], 'f', -1, 2, false);
    if (corner == NULL) goto done;
    corners = rows_of(&columns, 2);
    const int64_t *end = open_column(&columns, arguments[1], 'i', -1, 1, false);
    if (end == NULL) goto done;
    rings = rows_of(&columns, 1);
    bool *crossed = open_column(&columns, arguments[2], 'b', rings, 1, true);
    if (crossed == NULL || !sound_ends(end, rings, corners)) goto done;
    Py_ssize_t most = 0;
    for (Py_ssize_t ring = 0; ring < rings; ring++) {
        Py_ssize_t many = (Py_ssize_t)(end[ring] - (ring > 0 ? end[ring - 1] : 0));
        if (many > most) most = many;
    }
    edge = malloc(((size_t)most + 1) * sizeof(Edge));
    spare = malloc(((size_t)most / 2 + 1) * sizeof(Edge));
    open = malloc(((size_t)most + 1) * sizeof(Py_ssize_t));
    if (edge == NULL || spare == NULL || open == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    for (Py_ssize_t ring = 0; ring < rings; ring++) {
        if (ring % FEW == FEW - 1 && PyErr_CheckSignals() < 0) goto done;
        Py_ssize_t start = ring > 0 ? (Py_ssize_t)end[ring - 1] : 0, many = (Py_ssize_t)end[ring] - start;
        crossed[ring] = many > 3 && ring_crosses(corner + 2 * start, many, edge, spare, open);
    }
    result = Py_NewRef(Py_None);
done:
    free(edge);
    free(spare);
    free(open);
    close_columns(&columns);
    return result;
}

/* extents(corners, end, first, rings, around, outline): how far regions reach, and how long their outlines are.

   corners (C, 2) float64, end (R,) int64 where each ring's corners end; of each of M regions first, rings (M,) int64 its first
   ring and how many, at least one; written to: around (M, 4) float64 x0 y0 x1 y1, outline (M,) float64, the sum over the edges of
   the longer of their two extents. */
PyObject *native_extents(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 6) return PyErr_Format(PyExc_TypeError, "extents takes 6 arguments, not %zd", count);
    Columns columns = {.count = 0};
    PyObject *result = NULL;
    const double *corner = open_column(&columns, arguments[0], 'f', -1, 2, false);
    if (corner == NULL) goto done;
    Py_ssize_t corners = rows_of(&columns, 2);
    const int64_t *end = open_column(&columns, arguments[1], 'i', -1, 1, false);
    if (end == NULL) goto done;
    Py_ssize_t rings = rows_of(&columns, 1);
    const int64_t *first = open_column(&columns, arguments[2], 'i', -1, 1, false);
    if (first == NULL) goto done;
    Py_ssize_t regions = rows_of(&columns, 1);
    const int64_t *many = open_column(&columns, arguments[3], 'i', regions, 1, false);
    if (many == NULL) goto done;
    double *around = open_column(&columns, arguments[4], 'f', regions, 4, true);
    if (around == NULL) goto done;
    double *outline = open_column(&columns, arguments[5], 'f', regions, 1, true);
    if (outline == NULL || !sound_ends(end, rings, corners) || !within(first, regions, rings, "first ring")) goto done;
    for (Py_ssize_t row = 0; row < regions; row++) {
        if (many[row] < 1 || many[row] > rings - first[row]) {
            PyErr_Format(PyExc_ValueError, "%lld rings in row %zd", (long long)many[row], row);
            goto done;
        }
        double *box = around + 4 * row, length = 0;
        box[0] = box[1] = INFINITY;
        box[2] = box[3] = -INFINITY;
        for (int64_t ring = first[row]; ring < first[row] + many[row]; ring++) {
            int64_t start = ring > 0 ? end[ring - 1] : 0;
            for (int64_t at = start; at < end[ring]; at++) {
                const double *here = corner + 2 * at, *next = corner + 2 * (at + 1 < end[ring] ? at + 1 : start);
                for (int axis = 0; axis < 2; axis++) {
                    if (here[axis] < box[axis]) box[axis] = here[axis];
                    if (here[axis] > box[2 + axis]) box[2 + axis] = here[axis];
                }
                length += larger(fabs(next[0] - here[0]), fabs(next[1] - here[1]));
            }
        }
        outline[row] = length;
    }
    result = Py_NewRef(Py_None);
done:
    close_columns(&columns);
    return result;
}
